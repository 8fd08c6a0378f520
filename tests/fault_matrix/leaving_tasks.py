"""How a task comes to be ended while it waits for a verdict: cancelled, cancelled again, out of time."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import anyio

from fault_matrix.marks import MARK
from fault_matrix.stand import PATIENT, Hosts

Going = Coroutine[Any, Any, Any]
Moment = Callable[[Hosts], Awaitable[None]]
Ends = Callable[[Going, Awaitable[None]], Awaitable["asyncio.Task[Any]"]]
"""Starts something, ends it when a moment has come, and gives its task."""


async def _at_once(hosts: Hosts) -> None:
    await asyncio.sleep(0)


async def _when_asked(hosts: Hosts) -> None:
    # The host is another thread's, and sets no event of this loop.
    while not any(MARK in question.text for question in list(hosts.provider.guard_questions)):  # noqa: ASYNC110
        await asyncio.sleep(0.001)


async def _a_little_later(hosts: Hosts) -> None:
    await _when_asked(hosts)
    await asyncio.sleep(0.01)


async def _cancelled(going: Going, moment: Awaitable[None]) -> asyncio.Task[Any]:
    task = asyncio.ensure_future(going)
    await moment
    task.cancel()
    return task


async def _cancelled_twice(going: Going, moment: Awaitable[None]) -> asyncio.Task[Any]:
    """Cancel it once more while it cleans up."""
    task = await _cancelled(going, moment)
    await asyncio.sleep(0)
    task.cancel()
    return task


async def _cancelled_at_every_step(going: Going, moment: Awaitable[None]) -> asyncio.Task[Any]:
    """Cancel it again at each turn of the loop, so that no step of what it cleans up gets by."""
    task = await _cancelled(going, moment)
    for _ in range(20):
        await asyncio.sleep(0)
        task.cancel()
    return task


async def _out_of_time(going: Going, moment: Awaitable[None]) -> asyncio.Task[Any]:
    """What `asyncio.timeout` does, with a deadline that is now."""
    limit = asyncio.timeout(PATIENT)

    async def bounded() -> None:
        async with limit:
            await going

    task = asyncio.ensure_future(bounded())
    await moment
    limit.reschedule(asyncio.get_running_loop().time())
    return task


async def _moved_on(going: Going, moment: Awaitable[None]) -> asyncio.Task[Any]:
    """What `anyio.move_on_after` does, which cancels whatever is awaited, until the block is left."""
    scope = anyio.CancelScope()

    async def bounded() -> None:
        with scope:
            await going
        if scope.cancelled_caught:
            raise TimeoutError

    task = asyncio.ensure_future(bounded())
    await moment
    scope.deadline = anyio.current_time()
    return task


ENDED_AGAIN = ("cancelled twice", "cancelled at every step", "out of time, anyio")
TASK_ENDS: dict[str, tuple[Ends, Moment]] = {
    "cancelled at once": (_cancelled, _at_once),
    "cancelled when the guard is asked": (_cancelled, _when_asked),
    "cancelled while it stalls": (_cancelled, _a_little_later),
    "cancelled twice": (_cancelled_twice, _a_little_later),
    "cancelled at every step": (_cancelled_at_every_step, _a_little_later),
    "out of time, anyio": (_moved_on, _a_little_later),
}
if sys.version_info >= (3, 11):
    TASK_ENDS["out of time, asyncio"] = (_out_of_time, _a_little_later)
