"""The two shells: they carry out what the flows decide, with and without `await`.

`run` and `arun` drive a flow of `llama_guard_core.guardrail.screening`, `arun_all` several; `drive_streams` does the
same for streams. `catching` and its like turn what a model raises into an outcome. They know neither Llama Guard nor a
framework: a check is a function from a question to a verdict, a model is a function, a stream is an iterator.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterable, Iterator
from typing import Any, TypeVar, cast

from llama_guard_core.errors import GuardUnavailable
from llama_guard_core.guardrail.screening import Check, Effect, Flow, StartModel
from llama_guard_core.guardrail.verdict import Verdict

C = TypeVar("C")
F = TypeVar("F")
T = TypeVar("T")
Asks = Callable[[Check], Verdict]
AsksAsync = Callable[[Check], Awaitable[Verdict]]


def run(flow: Flow[T], check: Asks, call: Callable[[], Any] | None = None) -> T:
    """Carry out a flow.

    One thing is done after the other: a model that could be started beside a check is called after it.

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
        step, outcome = flow.send, None
        if isinstance(effect, StartModel):
            continue
        try:
            outcome = check(effect) if isinstance(effect, Check) else _told(call)()
        except GuardUnavailable as error:
            outcome, step = error, flow.throw


async def arun(flow: Flow[T], check: AsksAsync, call: Callable[[], Coroutine[Any, Any, Any]] | None = None) -> T:
    """Carry out a flow, awaiting each step; see `run`. A model that is started runs beside what follows."""
    step: Callable[[Any], Effect] = flow.send
    outcome: object = None
    started: asyncio.Task[Any] | None = None
    try:
        while True:
            try:
                effect = step(outcome)
            except StopIteration as returned:
                return cast("T", returned.value)
            step, outcome = flow.send, None
            if isinstance(effect, StartModel):
                started = in_background(_told(call)())
                continue
            try:
                outcome = await (check(effect) if isinstance(effect, Check) else started or _told(call)())
            except GuardUnavailable as error:
                outcome, step = error, flow.throw
    finally:
        if started:
            await cancelled([started])


async def arun_all(flows: Iterable[Flow[T]], check: AsksAsync, *, at_once: int) -> list[T]:
    """Carry out flows side by side, at most so many at a time.

    Returns:
        What they return, in their order. If one raises, the others are cancelled.
    """
    slots = asyncio.Semaphore(at_once)

    async def in_turn(flow: Flow[T]) -> T:
        async with slots:
            return await arun(flow, check)

    if not (tasks := [in_background(in_turn(flow)) for flow in flows]):
        return []
    try:
        # Not `gather`, which would cancel them, too: what a task does when it is cancelled, a second time interrupts.
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in filter(done.__contains__, tasks):
            task.result()
        return [task.result() for task in tasks]
    finally:
        await cancelled(tasks)


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
    is_left = False
    try:
        source = open_stream()
        try:
            for chunk in source:  # noqa: UP028 - `yield from` would close the source itself
                yield chunk
        except GeneratorExit:
            is_left = True
            raise
        finally:
            if close := getattr(source, "close", None):
                close()
    except Exception as error:  # noqa: BLE001 - as above
        if not is_left:  # who leaves has nobody to tell what the source's closing raised
            yield failed(error)


async def acatching_stream(
    open_stream: Callable[[], AsyncIterator[C]], failed: Callable[[Exception], F]
) -> AsyncGenerator[C | F, None]:
    """The chunks of an async stream; see `catching_stream`."""
    is_left = False
    try:
        source = open_stream()
        try:
            async for chunk in source:
                yield chunk
        except (GeneratorExit, asyncio.CancelledError):
            is_left = True
            raise
        finally:
            if close := getattr(source, "aclose", None):
                await close()
    except Exception as error:  # noqa: BLE001 - as above
        if not is_left:
            yield failed(error)


def in_background(work: Awaitable[T], then: Callable[[asyncio.Task[T]], None] | None = None) -> asyncio.Task[T]:
    """Begin to do something, and have its end told."""
    task = asyncio.ensure_future(work)
    if then:
        task.add_done_callback(then)
    return task


async def cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel what still runs, and wait until nothing does; what it raises has nobody left to tell."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    if not tasks:
        return
    import anyio  # noqa: PLC0415 (sync users need not pay for it)

    # A cancel scope around the caller would interrupt this wait, too.
    with anyio.CancelScope(shield=True):
        await asyncio.gather(*tasks, return_exceptions=True)


def _told(call: Callable[[], T] | None) -> Callable[[], T]:
    if call is None:
        msg = "this flow calls a model, and none was given"
        raise TypeError(msg)
    return call
