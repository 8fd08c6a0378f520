"""Many checks at once: so many under way at a time, in order or as they come, and none that fails stops the others."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from queue import SimpleQueue
from typing import TypeVar, cast

from llama_guard_core.drive import cancelled, in_background
from llama_guard_core.errors import ConfigurationError, GuardUnavailable
from llama_guard_core.guardrail.screening import Check, check_of
from llama_guard_core.guardrail.verdict import Stage, Verdict
from llama_guard_core.messages import ConversationLike, as_conversation

C = TypeVar("C")
Checkable = ConversationLike | Check
"""What is checked: what `LlamaGuard.check` takes, or a question that says its own stage."""

_LOOK_AHEAD = 4  # times as many as are under way may be read, or be done and not yet be handed out


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of one of many checks.

    Attributes:
        index: its place in what was given, from 0.
        outcome: the verdict, or the `GuardUnavailable` that `check` would have raised.
    """

    index: int
    outcome: Verdict | GuardUnavailable

    @property
    def verdict(self) -> Verdict:
        """The verdict.

        Raises:
            GuardUnavailable: if there is none.
        """
        if isinstance(self.outcome, GuardUnavailable):
            raise self.outcome
        return self.outcome


class ChecksMany:
    """The part of a guard that puts many questions, a bounded number at a time."""

    def judge(self, question: Check) -> Verdict:
        """Put one question to the guard."""
        raise NotImplementedError

    async def ajudge(self, question: Check) -> Verdict:
        """Put one question to the guard."""
        raise NotImplementedError

    def check_many(
        self,
        conversations: Iterable[Checkable],
        *,
        stage: Stage | str | None = None,
        concurrency: int = 32,
        as_completed: bool = False,
    ) -> Generator[Checked, None, None]:
        """Check many, a bounded number at a time, each in a thread.

        They are read as they are needed, so there may be any number of them. Checks that are under way when the
        iteration is left are waited for. `acheck_many` does the same without threads.

        Args:
            conversations: texts, conversations or `Check`s; see `check`.
            stage: what the last turn of each is; see `check`. A `Check` says its own.
            concurrency: how many are under way at once.
            as_completed: yield each as it is done, and not in the order given. In order, one that takes long holds back
                those behind it; they go on.

        Yields:
            One `Checked` for each. One that could not be judged, or is no conversation, stops nothing.

        Raises:
            ConfigurationError: if nothing can be judged, for want of a key or because of a wrong setting.
        """
        at_hand = enumerate(_checkable(conversations, concurrency))
        done: SimpleQueue[Future[Checked]] = SimpleQueue()
        in_order, taken = _InOrder(), 0
        with ThreadPoolExecutor(concurrency, thread_name_prefix="llama-guard") as pool:
            try:
                for index, item in islice(at_hand, concurrency):
                    _submit(pool, self._checked, index, item, stage).add_done_callback(done.put)
                    taken += 1
                while taken:
                    checked = done.get().result()
                    taken -= 1
                    ready = [checked] if as_completed else [*in_order.receive(checked)]
                    for index, item in islice(at_hand, 0 if in_order.holds_back(concurrency) else concurrency - taken):
                        _submit(pool, self._checked, index, item, stage).add_done_callback(done.put)
                        taken += 1
                    yield from ready
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    async def acheck_many(
        self,
        conversations: Iterable[Checkable] | AsyncIterable[Checkable],
        *,
        stage: Stage | str | None = None,
        concurrency: int = 32,
        as_completed: bool = False,
    ) -> AsyncGenerator[Checked, None]:
        """Check many, a bounded number at a time, each in a task; see `check_many`.

        Checks that are under way when the iterator is closed are cancelled.
        """
        items, in_order = _aiter(_checkable(conversations, concurrency)), _InOrder()
        room = asyncio.Semaphore(concurrency * _LOOK_AHEAD)
        done: asyncio.Queue[Checked | asyncio.Task[None]] = asyncio.Queue()
        reading, taken = asyncio.Lock(), 0

        async def work() -> None:
            nonlocal taken
            while True:
                await room.acquire()
                async with reading:
                    item = await anext(items, _NO_MORE)
                    index, taken = taken, taken + 1
                if item is _NO_MORE:
                    return
                done.put_nowait(await self._achecked(index, cast("Checkable", item), stage))

        workers = [in_background(work(), then=done.put_nowait) for _ in range(concurrency)]
        try:
            at_work = concurrency
            while at_work:
                told = await done.get()
                if isinstance(told, asyncio.Task):
                    at_work -= 1
                    told.result()
                    room.release()
                    continue
                for checked in (told,) if as_completed else in_order.receive(told):
                    room.release()
                    yield checked
        finally:
            await cancelled(workers)
            await items.aclose()

    def _checked(self, index: int, item: Checkable, stage: Stage | str | None) -> Checked:
        try:
            return Checked(index, self.judge(_question(item, stage)))
        except GuardUnavailable as error:
            return Checked(index, error)

    async def _achecked(self, index: int, item: Checkable, stage: Stage | str | None) -> Checked:
        try:
            return Checked(index, await self.ajudge(_question(item, stage)))
        except GuardUnavailable as error:
            return Checked(index, error)


class _InOrder:
    """Holds back what came before its turn."""

    def __init__(self) -> None:
        self._next = 0
        self._early: dict[int, Checked] = {}

    def receive(self, checked: Checked) -> Iterator[Checked]:
        self._early[checked.index] = checked
        while (following := self._early.pop(self._next, None)) is not None:
            self._next += 1
            yield following

    def holds_back(self, concurrency: int) -> bool:
        """Whether it holds so much that no more should be begun."""
        return len(self._early) >= concurrency * (_LOOK_AHEAD - 1)


_NO_MORE = object()


def _question(item: Checkable, stage: Stage | str | None) -> Check:
    if isinstance(item, Check):
        return item
    try:
        return check_of(as_conversation(item), stage)
    except ConfigurationError as error:  # of one among many; alone it would be the caller's mistake
        raise GuardUnavailable(str(error), reason="not_judgeable") from error


def _submit(
    pool: ThreadPoolExecutor, checked: Callable[..., Checked], index: int, item: Checkable, stage: Stage | str | None
) -> Future[Checked]:
    """In the caller's context, in which LlamaIndex finds the span that a check belongs to."""
    return pool.submit(contextvars.copy_context().run, checked, index, item, stage)


async def _aiter(items: Iterable[Checkable] | AsyncIterable[Checkable]) -> AsyncGenerator[Checkable, None]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


def _checkable(conversations: C, concurrency: int) -> C:
    if concurrency < 1:
        msg = "concurrency: at least 1 check has to be under way"
        raise ConfigurationError(msg)
    if isinstance(conversations, (str, bytes)):
        msg = "check_many takes many conversations, and this is one text: check takes that"
        raise ConfigurationError(msg)
    return conversations
