"""The two shells: they carry out what the flows and the stream guard decide, with and without `await`.

`run` and `arun` drive a flow of `llama_guard_core.guardrail.screening`, `arun_all` several; `guard_stream` and
`aguard_stream` drive a `StreamGuard`. `catching` and its like turn what a model raises into an outcome. They know
neither Llama Guard nor a framework: a check is a function from a question to a verdict, a model is a function, a
stream is an iterator.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterable, Iterator
from typing import Any, Final, TypeVar, cast

from llama_guard_core.errors import GuardUnavailable
from llama_guard_core.guardrail.screening import Check, Effect, Flow
from llama_guard_core.guardrail.stream_guard import Finished, Halted, NeedChunk, NeedVerdict, Release, StreamGuard
from llama_guard_core.guardrail.verdict import Verdict

C = TypeVar("C")
F = TypeVar("F")
T = TypeVar("T")
_END: Final = object()
Asks = Callable[[Check], Verdict]
AsksAsync = Callable[[Check], Awaitable[Verdict]]


def run(flow: Flow[T], check: Asks, call: Callable[[], Any] | None = None) -> T:
    """Carry out a flow.

    Args:
        flow: what is to be done.
        check: puts one question to the guard.
        call: calls the model under guard, for flows that do.
    """
    step: Callable[[Any], Effect] = flow.send
    outcome: object = None
    while True:
        try:
            effect = step(outcome)
        except StopIteration as returned:
            return cast("T", returned.value)
        try:
            outcome = check(effect) if isinstance(effect, Check) else _told(call)()
            step = flow.send
        except GuardUnavailable as error:
            outcome, step = error, flow.throw


async def arun(flow: Flow[T], check: AsksAsync, call: Callable[[], Awaitable[Any]] | None = None) -> T:
    """Carry out a flow, awaiting each step; see `run`."""
    step: Callable[[Any], Effect] = flow.send
    outcome: object = None
    while True:
        try:
            effect = step(outcome)
        except StopIteration as returned:
            return cast("T", returned.value)
        try:
            outcome = await (check(effect) if isinstance(effect, Check) else _told(call)())
            step = flow.send
        except GuardUnavailable as error:
            outcome, step = error, flow.throw


async def arun_all(flows: Iterable[Flow[T]], check: AsksAsync, *, at_once: int) -> list[T]:
    """Carry out flows side by side, at most so many at a time.

    Returns:
        What they return, in their order. If one raises, the others are cancelled.
    """
    import asyncio  # noqa: PLC0415 - sync users need not pay for it

    slots = asyncio.Semaphore(at_once)

    async def in_turn(flow: Flow[T]) -> T:
        async with slots:
            return await arun(flow, check)

    tasks = [asyncio.ensure_future(in_turn(flow)) for flow in flows]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


def guard_stream(guard: StreamGuard[C], source: Iterator[C], check: Asks) -> Generator[Release[C] | Halted]:
    """Carry out a stream guard over a source, which is closed however this ends.

    Yields:
        `Release` for chunks that may be shown; at most one `Halted`, last, with a refusal.

    Raises:
        UnsafeContent: the reply is unsafe, and the policy says raise.
        GuardUnavailable: no verdict could be had, and the policy says raise.
    """
    try:
        while not isinstance(event := guard.next_event(), Finished | Halted):
            match event:
                case NeedChunk():
                    chunk = next(source, _END)
                    guard.end() if chunk is _END else guard.receive(cast("C", chunk))
                case NeedVerdict(question):
                    try:
                        guard.judge(check(question))
                    except GuardUnavailable as error:
                        guard.cannot_judge(error)
                case Release():
                    yield event
    finally:
        if close := getattr(source, "close", None):
            close()
    if isinstance(event, Halted):
        yield event


async def aguard_stream(
    guard: StreamGuard[C], source: AsyncIterator[C], check: AsksAsync
) -> AsyncGenerator[Release[C] | Halted]:
    """Carry out a stream guard over an async source; see `guard_stream`."""
    try:
        while not isinstance(event := guard.next_event(), Finished | Halted):
            match event:
                case NeedChunk():
                    chunk = await anext(source, _END)
                    guard.end() if chunk is _END else guard.receive(cast("C", chunk))
                case NeedVerdict(question):
                    try:
                        guard.judge(await check(question))
                    except GuardUnavailable as error:
                        guard.cannot_judge(error)
                case Release():
                    yield event
    finally:
        if close := getattr(source, "aclose", None):
            await close()
    if isinstance(event, Halted):
        yield event


def catching(call: Callable[[], T], failed: Callable[[Exception], F]) -> Callable[[], T | F]:
    """A call whose exception is an outcome, to be judged like any other.

    Args:
        call: calls the model under guard.
        failed: makes the outcome of an exception, or raises it where it is not to be judged.
    """

    def caught() -> T | F:
        try:
            return call()
        except Exception as error:  # noqa: BLE001 - judged like any output, then raised again
            return failed(error)

    return caught


def acatching(
    call: Callable[[], Awaitable[T]], failed: Callable[[Exception], F]
) -> Callable[[], Coroutine[Any, Any, T | F]]:
    """An async call whose exception is an outcome; see `catching`."""

    async def caught() -> T | F:
        try:
            return await call()
        except Exception as error:  # noqa: BLE001 - as above
            return failed(error)

    return caught


def catching_stream(
    open_stream: Callable[[], Iterator[C]], failed: Callable[[Exception], F]
) -> Generator[C | F, None, None]:
    """The chunks of a stream that is opened by the first `next`; an exception is the last of them, see `catching`."""
    try:
        source = open_stream()
        try:
            yield from source
        finally:
            if close := getattr(source, "close", None):
                close()
    except Exception as error:  # noqa: BLE001 - as above
        yield failed(error)


async def acatching_stream(
    open_stream: Callable[[], AsyncIterator[C]], failed: Callable[[Exception], F]
) -> AsyncGenerator[C | F, None]:
    """The chunks of an async stream; see `catching_stream`."""
    try:
        source = open_stream()
        try:
            async for chunk in source:
                yield chunk
        finally:
            if close := getattr(source, "aclose", None):
                await close()
    except Exception as error:  # noqa: BLE001 - as above
        yield failed(error)


def _told(call: Callable[[], T] | None) -> Callable[[], T]:
    if call is None:
        msg = "this flow calls a model, and none was given"
        raise TypeError(msg)
    return call
