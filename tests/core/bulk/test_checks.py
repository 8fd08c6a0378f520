"""Many checks at once: all of them, in order or as they come, so many at a time, and each with its own outcome."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Any

import pytest
from fake_provider import FakeProvider, Fault

from llama_guard_core import ConfigurationError, GuardUnavailable, LlamaGuard, Stage
from llama_guard_core.bulk.checks import Checked
from llama_guard_core.guardrail.screening import Check
from llama_guard_core.messages import assistant, user

Many = Callable[..., Iterable[Checked]]


class Counting:
    """A guard's host that knows how many ask at once, and keeps the texts it is told to keep until others were asked."""

    def __init__(self) -> None:
        self.most = 0
        self.slow: dict[str, threading.Event] = {}
        self.at_once = 0
        self._lock = threading.Lock()

    def __call__(self, _: str, text: str) -> Any:
        with self._lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        if text in self.slow:
            assert self.slow[text].wait(10)
        else:
            threading.Event().wait(0.002)
        with self._lock:
            self.at_once -= 1
        return Fault.status(500) if "BROKEN" in text else "unsafe\nS9" if "BOMB" in text else "safe"


@pytest.fixture
def host() -> Counting:
    return Counting()


@pytest.fixture
def provider(host: Counting) -> FakeProvider:
    return FakeProvider(guard=host)


@pytest.fixture
def guard(provider: FakeProvider) -> Iterator[LlamaGuard]:
    with provider.serve() as base_url, LlamaGuard(base_url=base_url, api_key="k", max_retries=0) as guard:
        yield guard


@pytest.fixture(params=["sync", "async"])
def many(guard: LlamaGuard, request: pytest.FixtureRequest) -> Many:
    """All that `check_many` or `acheck_many` gives."""
    if request.param == "sync":
        return lambda *args, **settings: list(guard.check_many(*args, **settings))

    async def acheck_all(*args: Any, **settings: Any) -> list[Checked]:
        try:
            return [checked async for checked in guard.acheck_many(*args, **settings)]
        finally:
            await guard.aclose()

    return lambda *args, **settings: asyncio.run(acheck_all(*args, **settings))


def _texts(count: int) -> list[str]:
    return [f"text {number}" + (" BOMB" if number % 3 == 0 else "") for number in range(count)]


def test_each_has_its_own_verdict_in_the_order_given(many: Many):
    checked = list(many(_texts(50), concurrency=8))

    assert list(range(50)) == [each.index for each in checked]
    assert [number % 3 != 0 for number in range(50)] == [each.verdict.safe for each in checked]


def test_as_completed_all_come_once_and_one_that_takes_long_comes_last(many: Many, host: Counting):
    texts = _texts(20)
    host.slow[texts[0]] = threading.Event()
    source = _opening_at(texts, 19, host.slow[texts[0]])

    checked = list(many(source, concurrency=4, as_completed=True))

    assert sorted(each.index for each in checked) == list(range(20))
    assert 0 != checked[0].index


def _opening_at(texts: Sequence[str], at: int, event: threading.Event) -> Iterator[str]:
    """The texts; when one of them is read, something slow may go on."""
    for number, text in enumerate(texts):
        if number == at:
            event.set()
        yield text


def test_in_order_those_behind_one_that_takes_long_are_asked_meanwhile(many: Many, host: Counting):
    texts = _texts(12)
    host.slow[texts[0]] = threading.Event()

    checked = list(many(_opening_at(texts, 11, host.slow[texts[0]]), concurrency=4))

    assert list(range(12)) == [each.index for each in checked]


def test_what_an_endless_wait_holds_back_is_bounded(guard: LlamaGuard, host: Counting):
    texts = _texts(500)
    host.slow[texts[0]] = threading.Event()
    read: list[str] = []

    def source() -> Iterator[str]:
        for text in texts:
            read.append(text)
            yield text

    async def main() -> int:
        checks = guard.acheck_many(source(), concurrency=4)
        first = asyncio.ensure_future(anext(checks))
        while host.at_once != 1 or len(read) < 16:  # noqa: ASYNC110 - until only the slow one is under way
            await asyncio.sleep(0.01)
        read_by_then = len(read)
        host.slow[texts[0]].set()
        await first
        await checks.aclose()
        await guard.aclose()
        return read_by_then

    assert 16 == asyncio.run(main())


def test_no_more_than_so_many_are_under_way_at_once(many: Many, host: Counting):
    list(many(_texts(60), concurrency=5))

    assert 2 <= host.most <= 5


def test_one_that_fails_has_its_error_and_stops_nothing(many: Many):
    texts = ["one", "BROKEN", "BOMB", {"no": "conversation"}, "last"]

    checked = list(many(texts, concurrency=2))

    assert ["safe", "server", "unsafe", "not_judgeable", "safe"] == [_said(each) for each in checked]
    with pytest.raises(GuardUnavailable):
        _ = checked[1].verdict


def _said(checked: Checked) -> str:
    if isinstance(checked.outcome, GuardUnavailable):
        return str(checked.outcome.reason)
    return "safe" if checked.outcome.safe else "unsafe"


def test_a_check_says_its_own_stage_and_the_rest_have_the_one_given(many: Many):
    given = [Check(Stage.DOCUMENT, (user("a"),)), (user("b"), assistant("c")), "d"]

    assert [Stage.DOCUMENT, Stage.REPLY, Stage.PROMPT] == [each.verdict.stage for each in many(given)]
    assert [Stage.TOOL_RESULT] == [each.verdict.stage for each in many(["d"], stage="tool_result")]


def test_nothing_gives_nothing(many: Many):
    assert [] == list(many([]))


def test_a_missing_key_is_raised_and_not_told_a_million_times(provider: FakeProvider, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
    guard = LlamaGuard(http_client=provider.client())

    with pytest.raises(ConfigurationError, match="OPENROUTER_API_KEY"):
        list(guard.check_many(_texts(100)))


def test_what_the_source_raises_comes_out(many: Many):
    def source() -> Iterator[str]:
        yield "one"
        raise LookupError

    with pytest.raises(LookupError):
        list(many(source()))


@pytest.mark.parametrize("wrong", ["one text", b"one text"])
def test_one_text_is_not_taken_for_many(many: Many, wrong: Any):
    with pytest.raises(ConfigurationError, match="check takes that"):
        list(many(wrong))


def test_at_least_one_has_to_be_under_way(many: Many):
    with pytest.raises(ConfigurationError, match="concurrency"):
        list(many(["a"], concurrency=0))


async def test_an_async_source_is_read_as_it_comes(guard: LlamaGuard):
    async def source() -> AsyncIterator[str]:
        for text in _texts(10):
            await asyncio.sleep(0)
            yield text

    assert 10 == len([checked async for checked in guard.acheck_many(source())])
    await guard.aclose()


async def test_whoever_leaves_has_no_task_left(guard: LlamaGuard):
    before = asyncio.all_tasks()
    async for _ in (checks := guard.acheck_many(_texts(500), concurrency=8)):
        break
    await checks.aclose()

    assert before == asyncio.all_tasks()
    await guard.aclose()


def test_whoever_leaves_has_no_thread_left(guard: LlamaGuard):
    checks = guard.check_many(_texts(500), concurrency=8)
    next(checks)
    checks.close()

    assert [] == [thread for thread in threading.enumerate() if thread.name.startswith("llama-guard")]


def test_the_same_text_many_times_is_asked_about_once_at_a_time(many: Many, provider: FakeProvider):
    assert 30 == len(list(many(["the same"] * 30, concurrency=10)))
    assert 1 == len(provider.guard_questions)
