"""What a model raises, as an outcome: with and without `await`, whole or streamed, and what it was read from is closed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from llama_guard_core.drive import acatching, acatching_stream, catching, catching_stream

BROKEN = LookupError("out of order")


def named(error: Exception) -> str:
    return type(error).__name__


def refused(error: Exception) -> str:
    raise error


class Chunks:
    """Two chunks, sync and async, and then perhaps an exception. It knows whether it was closed."""

    def __init__(self, *, breaks: bool) -> None:
        self.closed = False
        self._breaks = breaks

    def __iter__(self) -> Iterator[str]:
        yield from "ab"
        if self._breaks:
            raise BROKEN

    async def __aiter__(self) -> AsyncIterator[str]:
        for chunk in self:
            yield chunk

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.close()


async def synchronous(open_stream: Callable[[], Any], failed: Callable[[Exception], str]) -> list[str]:
    return list(catching_stream(open_stream, failed))


async def asynchronous(open_stream: Callable[[], Any], failed: Callable[[Exception], str]) -> list[str]:
    return [chunk async for chunk in acatching_stream(open_stream, failed)]


Read = Callable[[Callable[[], Any], Callable[[Exception], str]], Awaitable[list[str]]]
both_ways = pytest.mark.parametrize("read", [synchronous, asynchronous])


def breaking() -> Any:
    raise BROKEN


async def abreaking() -> str:
    raise BROKEN


async def awhole() -> str:
    return "whole"


async def test_an_exception_of_a_call_is_its_outcome() -> None:
    assert ("whole", "LookupError") == (catching(lambda: "whole", named)(), catching(breaking, named)())
    assert ("whole", "LookupError") == (await acatching(awhole, named)(), await acatching(abreaking, named)())


async def test_an_exception_that_is_no_outcome_is_raised() -> None:
    with pytest.raises(LookupError) as raised:
        catching(breaking, refused)()
    with pytest.raises(LookupError) as araised:
        await acatching(abreaking, refused)()
    assert (BROKEN, BROKEN) == (raised.value, araised.value)


@both_ways
async def test_an_exception_of_a_stream_is_its_last_chunk_and_the_stream_is_closed(read: Read) -> None:
    broken, whole = Chunks(breaks=True), Chunks(breaks=False)
    assert ["a", "b", "LookupError"] == await read(lambda: broken, named)
    assert ["a", "b"] == await read(lambda: whole, named)
    assert (True, True) == (broken.closed, whole.closed)


@both_ways
async def test_an_exception_where_a_stream_is_opened_is_its_only_chunk(read: Read) -> None:
    assert ["LookupError"] == await read(breaking, named)


@both_ways
async def test_an_exception_of_a_stream_that_is_no_outcome_is_raised_and_the_stream_is_closed(read: Read) -> None:
    broken = Chunks(breaks=True)
    with pytest.raises(LookupError):
        await read(lambda: broken, refused)
    assert broken.closed


async def test_a_stream_that_is_left_is_closed() -> None:
    left, aleft = Chunks(breaks=False), Chunks(breaks=False)
    chunks, achunks = catching_stream(lambda: left, named), acatching_stream(lambda: aleft, named)
    assert ("a", "a") == (next(chunks), await anext(achunks))
    chunks.close()
    await achunks.aclose()
    assert (True, True) == (left.closed, aleft.closed)
