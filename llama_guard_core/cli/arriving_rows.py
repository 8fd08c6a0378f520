"""Rows that arrive over a pipe, perhaps never: nothing waits for them but who asked for them."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from functools import partial
from typing import IO, TypeVar

T = TypeVar("T")


def standard_input() -> IO[bytes]:
    """A reader of standard input that is not Python's own, which the interpreter would wait for when it ends."""
    try:
        return os.fdopen(sys.stdin.fileno(), "rb", closefd=False)
    except io.UnsupportedOperation:  # it was replaced by something that is no file
        return sys.stdin.buffer


async def as_they_come(rows: Iterator[T]) -> AsyncGenerator[T, None]:
    """Rows of a stream. Neither other work nor the end of the program waits for the next one."""
    while (row := await _in_daemon_thread(lambda: next(rows, None))) is not None:
        yield row


async def _in_daemon_thread(call: Callable[[], T]) -> T:
    """What a call gives. `asyncio.to_thread` would do, if its threads were not waited for at the end."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def settle(give: Callable[[], None]) -> None:
        if not outcome.done():  # or whoever waited has left
            give()

    def run() -> None:
        try:
            result = call()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told to who waits
            told = partial(outcome.set_exception, error)
        else:
            told = partial(outcome.set_result, result)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, told)

    threading.Thread(target=run, name="llama-guard-input", daemon=True).start()
    return await outcome
