"""Calls that fail, and what their exceptions show."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from key_hunt.hosts import FailingHost, broken_wire
from key_hunt.places import EXCEPTION_PLACES, QUICK_PLACES
from key_hunt.tally import Tally

Call = Callable[[], Any]
"""Fails: at once, or when it is awaited."""


class Interruption(RuntimeError):
    """Nobody has foreseen this."""


WIRE: dict[str, tuple[str, Callable[[], BaseException]]] = {
    f"{kind.__name__} at {step}": (step, kind)
    for kind in (KeyboardInterrupt, Interruption)
    for step in ("write", "read")
}
HOST = (
    "401 that quotes the key",
    "400 that quotes it in plain text",
    "error that quotes it, with status 200",
    "500",
    "cut",
    "stall",
    "malformed",
    "web page",
    "redirect",
)
STREAMED = ("error that quotes it, in a stream",)
FAULTS = (*HOST, *STREAMED, *WIRE, "connection refused", "cancelled")


@contextlib.contextmanager
def nobody() -> Iterator[str]:
    """An address that refuses connections."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/api/v1"


_CANCELLED = {"cancelled": "stall", "cancelled before a repetition": "429 that quotes it"}


def failed(host: FailingHost, fault: str, call: Call) -> BaseException | None:
    """What a call raises under a fault."""
    host.fault = "fine" if fault in WIRE or fault == "connection refused" else _CANCELLED.get(fault, fault)
    if fault in _CANCELLED:
        return asyncio.run(_cancelled(host, call))
    if fault in WIRE:
        with broken_wire(*WIRE[fault]):
            return raised(call)
    return raised(call)


def raised(call: Call) -> BaseException | None:
    """What a call raises, at once or when it is awaited."""
    try:
        outcome = call()
        if isinstance(outcome, Awaitable):
            asyncio.run(_awaited(outcome))
    except BaseException as error:  # noqa: BLE001 - whatever it is
        return error
    return None


async def _awaited(outcome: Awaitable[Any]) -> Any:
    return await outcome


async def _cancelled(host: FailingHost, call: Call) -> BaseException | None:
    host.was_asked.clear()
    task = asyncio.ensure_future(call())
    while not host.was_asked.is_set() and not task.done():  # noqa: ASYNC110 - another thread sets it
        await asyncio.sleep(0.002)
    await asyncio.sleep(0.05)  # until the answer, if there is one, has been read
    task.cancel()
    try:
        await task
    except BaseException as error:  # noqa: BLE001 - whatever it is
        return error
    return None


def look_at(tally: Tally, error: BaseException, kind: str, how: str, *, slowly: bool = False) -> None:
    """Look for the key in an exception, wherever it may be written out; `slowly`: also where that takes its time."""
    for place, written in (EXCEPTION_PLACES if slowly else QUICK_PLACES).items():
        tally.look(place, kind, written(error), how)
