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
        self._of_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, _Shared[T]]] = (
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
        shared = self._of_running_loop()
        flight = shared.get(about)
        if is_mine := flight is None:
            flight = shared[about] = _Shared(in_background(ask(), then=lambda task: _land(shared, about, task)))
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task), not is_mine
        except LlamaGuardError as error:
            if is_mine:
                raise
            failed = copy.copy(error)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                _land(shared, about, flight.task)
                await cancelled([flight.task])
        raise failed

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

    def _of_running_loop(self) -> dict[str, _Shared[T]]:
        with self._lock:
            return self._of_loops.setdefault(asyncio.get_running_loop(), {})


class _Shared(Generic[T]):
    """A task, and how many wait for it."""

    def __init__(self, task: asyncio.Task[T]) -> None:
        self.task = task
        self.waiting = 0


def _land(shared: dict[str, _Shared[T]], about: str, task: asyncio.Task[T]) -> None:
    """Nobody joins it any more. By now another one may be under way about the same."""
    if about in shared and shared[about].task is task:
        del shared[about]


def _waited_for(others: Future[T | None], until: float | None) -> T | None:
    failed: Exception
    try:
        return others.result(None if until is None else max(0.0, until - monotonic()))
    except NotInTime:
        failed = TimeoutError()
    except LlamaGuardError as error:
        failed = copy.copy(error)
    raise failed
