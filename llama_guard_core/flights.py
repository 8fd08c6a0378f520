"""Identical checks that are under way at the same time: one is carried out, and the others have its outcome too.

Threads share with threads, and the tasks of an event loop with each other. No thread waits for a loop, nor a loop for
another one: a loop that is itself blocked until that thread is done would never answer.
"""

from __future__ import annotations

import asyncio
import copy
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime  # Python's own only since 3.11
from time import monotonic
from typing import Any, Generic, TypeVar

from llama_guard_core.drive import cancelled, in_background
from llama_guard_core.errors import LlamaGuardError

T = TypeVar("T")


class Flights(Generic[T]):
    """What is under way, by what it is about."""

    def __init__(self) -> None:
        self._of_threads: dict[str, Future[T | None]] = {}
        self._of_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Flight[T]]] = (
            weakref.WeakKeyDictionary()
        )
        self._lock = threading.Lock()

    def joined(self, about: str, ask: Callable[[], T], until: float | None) -> tuple[T, bool]:
        """Ask, or wait for who asks the same already.

        Who asks and is interrupted leaves the question to one of those who wait.

        Args:
            about: what is asked.
            ask: asks it.
            until: how long somebody else's outcome is waited for, by the monotonic clock.

        Returns:
            The outcome, and whether it was asked for by somebody else.

        Raises:
            LlamaGuardError: what it failed with; to each of them an error of their own.
            TimeoutError: if the other's outcome does not come in time.
        """
        while True:
            with self._lock:
                others = self._of_threads.get(about)
                if others is None:
                    mine = self._of_threads[about] = Future()
            if others is None:
                return self._carried_out(about, mine, ask), False
            outcome = _waited_for(others, until)
            if outcome is not None:
                return outcome, True

    async def ajoined(self, about: str, ask: Callable[[], Coroutine[Any, Any, T]]) -> tuple[T, bool]:
        """Ask, or wait for who asks the same already; see `joined`.

        It is asked by a task of its own. Who is cancelled leaves it to the others, and the last one ends it.
        """
        loop = asyncio.get_running_loop()
        under_way = self._of_loop(loop)
        flight = under_way.get(about)
        if is_mine := flight is None:
            flight = under_way[about] = _Flight()
            flight.task = in_background(flight.fly(ask, about, under_way))
        landed = loop.create_future()
        flight.waiting.add(landed)
        try:
            await landed
        finally:
            flight.waiting.discard(landed)
            if not flight.waiting and not flight.has_landed:
                flight.land(about, under_way)
                await cancelled([flight.task])
        return flight.outcome_for(is_mine=is_mine), not is_mine

    def _carried_out(self, about: str, mine: Future[T | None], ask: Callable[[], T]) -> T:
        try:
            outcome = ask()
        except LlamaGuardError as error:
            self._ended(about)
            mine.set_exception(copy.copy(error))
            raise
        except BaseException:
            self._ended(about)
            mine.set_result(None)
            raise
        self._ended(about)
        mine.set_result(outcome)
        return outcome

    def _ended(self, about: str) -> None:
        with self._lock:
            del self._of_threads[about]

    def _of_loop(self, loop: asyncio.AbstractEventLoop) -> dict[str, _Flight[T]]:
        with self._lock:
            return self._of_loops.setdefault(loop, {})


class _Flight(Generic[T]):
    """A question that a task asks, and those who wait until that has landed.

    They are woken by hand: `asyncio.shield` takes three times as long.
    """

    task: asyncio.Task[None]
    _outcome: T

    def __init__(self) -> None:
        self.waiting: set[asyncio.Future[None]] = set()
        self.has_landed = False
        self._failed: BaseException | None = None

    async def fly(
        self, ask: Callable[[], Coroutine[Any, Any, T]], about: str, under_way: dict[str, _Flight[T]]
    ) -> None:
        try:
            self._outcome = await ask()
        except BaseException as error:
            self._failed = error
            if not isinstance(error, Exception):
                raise
        finally:
            self.land(about, under_way)
            for landed in self.waiting:
                if not landed.done():
                    landed.set_result(None)

    def land(self, about: str, under_way: dict[str, _Flight[T]]) -> None:
        """Nobody joins it any more. By now another one may be under way about the same."""
        self.has_landed = True
        if under_way.get(about) is self:
            del under_way[about]

    def outcome_for(self, *, is_mine: bool) -> T:
        if self._failed is None:
            return self._outcome
        is_shared = not is_mine and isinstance(self._failed, LlamaGuardError)
        raise copy.copy(self._failed) if is_shared else self._failed


def _waited_for(others: Future[T | None], until: float | None) -> T | None:
    failed: Exception
    try:
        return others.result(None if until is None else max(0.0, until - monotonic()))
    except NotInTime:
        failed = TimeoutError()
    except LlamaGuardError as error:
        failed = copy.copy(error)
    raise failed
