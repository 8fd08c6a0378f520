"""Who calls under load: 400 threads and 600 tasks on three event loops, all through one guard object."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from llama_index.core.base.llms.types import ChatMessage

from benchmarks.load_host import AtOnce
from benchmarks.load_texts import SAFE, is_right, question, refusal_of, reply_to, right_verdict
from langchain_llama_guard import ChatLlamaScout
from llama_guard_core import Host, LlamaGuard, Policy, Verdict, VerdictCache
from llama_guard_core.messages import assistant, user
from llamaindex_llama_guard import LlamaScout, guarded

THREADS, TASKS_OF_A_LOOP = 400, 200
LOOPS = ("loop1", "loop2", "loop3")
CALLS = THREADS + TASKS_OF_A_LOOP * len(LOOPS)
ROUND_APART = 1000  # numbers
_STREAMED_EVERY, _TWICE_EVERY, _CANCELLED_EVERY = 10, 10, 5  # calls
_LATEST_CANCEL = 0.1  # seconds
_PATIENCE = 60.0  # seconds
_REMEMBERED, _AT_ONCE_TO_FILL = 1024, 32  # texts


@dataclass(slots=True)
class Tally:
    """What came of the calls.

    Attributes:
        calls: that were made.
        wrong: whose verdict or answer was not theirs.
        failed: that raised something else than their own cancellation, by its name.
        cancelled: that were cancelled.
        under_way: at once.
    """

    calls: int = 0
    wrong: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    cancelled: int = 0
    under_way: AtOnce = field(default_factory=AtOnce)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def began(self) -> None:
        """Count a call that is made."""
        with self._lock:
            self.calls += 1
            self.under_way.add(1)

    def ended(self, outcome: bool | BaseException) -> None:  # noqa: FBT001 (what it is about)
        """Count what came of it: whether it was right, or what it raised."""
        with self._lock:
            self.under_way.add(-1)
            if isinstance(outcome, asyncio.CancelledError):
                self.cancelled += 1
            elif isinstance(outcome, BaseException):
                name = f"{type(outcome).__name__}: {outcome}"
                self.failed[name] = self.failed.get(name, 0) + 1
            elif not outcome:
                self.wrong += 1


class Callers:
    """One guard, two guarded models, and everybody who calls them.

    Args:
        host: the guard's and the models'.
    """

    def __init__(self, host: Host) -> None:
        policy = Policy(refusal=lambda verdict: refusal_of(_said(verdict)))
        self._guard = LlamaGuard(host=host, policy=policy, cache=VerdictCache(max_entries=_REMEMBERED))
        self._scout = ChatLlamaScout(host=host, guard=self._guard)
        self._inner = LlamaScout(host=host)
        self._llm = guarded(self._inner, self._guard)
        self._loops = {name: _LoopThread() for name in LOOPS[:-1]}
        self.tasks_left = 0

    def round(self, number: int, *, cancels: bool = False) -> Tally:
        """Have everybody call at once, and wait until all are done; the last loop is a new one each time."""
        tally, begun = Tally(), threading.Barrier(THREADS + len(LOOPS))
        first = number * ROUND_APART
        asked = {name: partial(self._group, name, first, tally, begun, cancels=cancels) for name in LOOPS}
        with ThreadPoolExecutor(THREADS + 1) as threads:
            running = [loop.begin(asked[name]()) for name, loop in self._loops.items()]
            running.append(threads.submit(asyncio.run, asked[LOOPS[-1]]()))
            running += [threads.submit(self._call, at, first, tally, begun) for at in range(THREADS)]
            for each in running:
                each.result(_PATIENCE)
        return tally

    def fill_caches(self) -> None:
        """Have all that is remembered of texts, up to some number of them, remember that many."""
        with ThreadPoolExecutor(_AT_ONCE_TO_FILL) as threads:
            list(threads.map(self._check_reply, range(_REMEMBERED)))

    def _check_reply(self, number: int) -> None:
        text = question("nobody", number)
        self._guard.check([user(text), assistant(reply_to(text))])

    def close(self) -> None:
        """Close everything; `tasks_left` says how many tasks that left."""
        for closable in (self._scout, self._inner, self._guard):
            closable.close()
        for loop in self._loops.values():
            loop.begin(self._aclose()).result(_PATIENCE)
            self.tasks_left += loop.begin(_others()).result(_PATIENCE)
            loop.end()

    async def _aclose(self) -> None:
        for closable in (self._scout, self._inner, self._guard):
            await closable.aclose()

    def _call(self, at: int, first: int, tally: Tally, begun: threading.Barrier) -> None:
        text = question("threads", first + _number(at))
        begun.wait(_PATIENCE)
        tally.began()
        try:
            tally.ended(self._kind(at)(text))
        except Exception as error:  # noqa: BLE001 - counted
            tally.ended(error)

    def _kind(self, at: int) -> Callable[[str], bool]:
        return {0: self._stream, 1: self._llama_index_stream}.get(at % (2 * _STREAMED_EVERY), self._check)

    def _akind(self, at: int) -> Callable[[str], Awaitable[bool]]:
        return {0: self._astream, 1: self._allama_index_stream}.get(at % (2 * _STREAMED_EVERY), self._acheck)

    async def _group(self, name: str, first: int, tally: Tally, begun: threading.Barrier, *, cancels: bool) -> None:
        """The tasks of one loop; it stands still until everybody is there."""
        chance = random.Random(first)
        begun.wait(_PATIENCE)
        tasks = [
            asyncio.create_task(self._acall(at, question(name, first + _number(at)), tally))
            for at in range(TASKS_OF_A_LOOP)
        ]
        if cancels:
            for task in tasks[::_CANCELLED_EVERY]:
                asyncio.get_running_loop().call_later(chance.random() * _LATEST_CANCEL, task.cancel)
        await asyncio.gather(*tasks, return_exceptions=True)
        self.tasks_left += await _others()

    async def _acall(self, at: int, text: str, tally: Tally) -> None:
        tally.began()
        try:
            tally.ended(await self._akind(at)(text))
        except BaseException as error:
            tally.ended(error)
            raise

    def _check(self, text: str) -> bool:
        return _said(self._guard.check(text)) == right_verdict(text)

    async def _acheck(self, text: str) -> bool:
        return _said(await self._guard.acheck(text)) == right_verdict(text)

    def _stream(self, text: str) -> bool:
        return is_right(text, "".join(chunk.text for chunk in self._scout.stream(text)))

    async def _astream(self, text: str) -> bool:
        return is_right(text, "".join([chunk.text async for chunk in self._scout.astream(text)]))

    def _llama_index_stream(self, text: str) -> bool:
        return is_right(text, [*self._llm.stream_chat([ChatMessage(text)])][-1].message.content or "")

    async def _allama_index_stream(self, text: str) -> bool:
        responses = [each async for each in await self._llm.astream_chat([ChatMessage(text)])]
        return is_right(text, responses[-1].message.content or "")


def asked_at_once() -> int:
    """How many questions the host is asked at once when everybody calls: the same ones of one group are asked once."""
    return sum(len({_number(at) for at in range(size)}) for size in (THREADS, *[TASKS_OF_A_LOOP] * len(LOOPS)))


def _number(at: int) -> int:
    """Which question a caller asks: now and then the one of the caller before."""
    return at - 1 if at % _TWICE_EVERY == _TWICE_EVERY - 1 else at


def _said(verdict: Verdict) -> str:
    return SAFE if verdict.safe else ",".join(category.code for category in verdict.categories)


async def _others() -> int:
    """How many tasks there are beside this one, once all that is due is done."""
    await asyncio.sleep(0.01)
    return len(asyncio.all_tasks()) - 1


class _LoopThread:
    """An event loop in a thread of its own, that lives through all rounds."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def begin(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Begin to do something there; gives its future."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def end(self) -> None:
        """Stop it."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()
