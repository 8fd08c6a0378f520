"""Identical checks that are under way at once share one request and one failure, and nobody else's fate."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest
from fake_provider import FakeProvider, Fault

from llama_guard_core import GuardUnavailable, LlamaGuard, Policy
from llama_guard_core.guardrail.verdict import Verdict

AT_ONCE = 20


class Gate:
    """A guard's host that answers nothing before it is opened, so that checks are known to be under way at once."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.asked = threading.Semaphore(0)
        self.says: Any = None

    def __call__(self, _: str, text: str) -> Any:
        self.asked.release()
        assert self.opened.wait(10)
        return self.says or ("unsafe\nS9" if "BOMB" in text else "safe")


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def provider(gate: Gate) -> FakeProvider:
    return FakeProvider(guard=gate)


@pytest.fixture
def make(provider: FakeProvider, gate: Gate) -> Iterator[Callable[..., LlamaGuard]]:
    with provider.serve() as base_url:
        yield lambda **settings: LlamaGuard(
            **{"base_url": base_url, "api_key": "k", "max_retries": 0, "timeout": 10, **settings}
        )
        gate.opened.set()


async def _under_way(gate: Gate, tasks: list[asyncio.Task[Any]]) -> None:
    """Wait until the host was asked, and everybody else had the time to ask."""
    await asyncio.to_thread(gate.asked.acquire)
    assert not any(task.done() for task in tasks)


async def test_tasks_share_one_request(make: Callable[..., LlamaGuard], gate: Gate, provider: FakeProvider) -> None:
    async with make() as guard:
        tasks = [asyncio.create_task(guard.acheck("a BOMB")) for _ in range(AT_ONCE)]
        await _under_way(gate, tasks)
        gate.opened.set()
        verdicts = await asyncio.gather(*tasks)
    assert 1 == len(provider.guard_questions)
    assert [False] * AT_ONCE == [verdict.safe for verdict in verdicts]
    assert 1 == sum(not verdict.cached for verdict in verdicts)
    assert 1 == sum(verdict.usage is not None for verdict in verdicts)


def test_threads_share_one_request(make: Callable[..., LlamaGuard], gate: Gate, provider: FakeProvider) -> None:
    begun = threading.Barrier(AT_ONCE + 1)

    def ask() -> Verdict:
        begun.wait()
        return guard.check("a BOMB")

    with make() as guard, ThreadPoolExecutor(AT_ONCE) as threads:
        asked = [threads.submit(ask) for _ in range(AT_ONCE)]
        begun.wait()
        gate.asked.acquire()
        gate.opened.set()
        verdicts = [each.result() for each in asked]
    assert 1 == len(provider.guard_questions)
    assert [False] * AT_ONCE == [verdict.safe for verdict in verdicts]


async def test_different_checks_and_policies_that_ask_otherwise_share_nothing(
    make: Callable[..., LlamaGuard], gate: Gate, provider: FakeProvider
) -> None:
    async with make() as guard:
        other = guard.with_policy(Policy(excluded_categories=("S9",)))
        tasks = [
            asyncio.create_task(each) for each in (guard.acheck("a BOMB"), other.acheck("a BOMB"), guard.acheck("b"))
        ]
        await _under_way(gate, tasks)
        gate.opened.set()
        assert [False, True, True] == [verdict.safe for verdict in await asyncio.gather(*tasks)]
    assert 3 == len(provider.guard_questions)


async def test_tasks_share_one_failure_and_the_next_one_asks_again(
    make: Callable[..., LlamaGuard], gate: Gate, provider: FakeProvider
) -> None:
    gate.says = Fault.status(503)
    async with make() as guard:
        tasks = [asyncio.create_task(guard.acheck("a BOMB")) for _ in range(AT_ONCE)]
        await _under_way(gate, tasks)
        gate.opened.set()
        failures = await asyncio.gather(*tasks, return_exceptions=True)
        assert 1 == len(provider.guard_questions)
        assert {("server", GuardUnavailable)} == {(each.reason, type(each)) for each in failures}
        assert AT_ONCE == len({id(each.__cause__) for each in failures})
        gate.says = None
        assert not (await guard.acheck("a BOMB")).safe


def test_threads_share_one_failure_and_the_next_one_asks_again(
    make: Callable[..., LlamaGuard], gate: Gate, provider: FakeProvider
) -> None:
    gate.says = Fault.status(503)
    begun = threading.Barrier(AT_ONCE + 1)

    def ask() -> Exception | None:
        begun.wait()
        try:
            guard.check("a BOMB")
        except GuardUnavailable as error:
            return error
        return None

    with make() as guard, ThreadPoolExecutor(AT_ONCE) as threads:
        asked = [threads.submit(ask) for _ in range(AT_ONCE)]
        begun.wait()
        gate.asked.acquire()
        gate.opened.set()
        failures = [each.result() for each in asked]
        assert AT_ONCE == len({id(each) for each in failures if each})
        assert len(provider.guard_questions) < AT_ONCE
        gate.says = None
        assert not guard.check("a BOMB").safe


@pytest.mark.parametrize("leaving", ["the first", "another"])
async def test_who_is_cancelled_does_not_cancel_the_others(
    make: Callable[..., LlamaGuard], gate: Gate, provider: FakeProvider, leaving: str
) -> None:
    async with make() as guard:
        tasks = [asyncio.create_task(guard.acheck("a BOMB")) for _ in range(3)]
        await _under_way(gate, tasks)
        left = tasks.pop(0 if leaving == "the first" else 1)
        left.cancel()
        await asyncio.wait([left])
        assert left.cancelled()
        gate.opened.set()
        assert [False, False] == [verdict.safe for verdict in await asyncio.gather(*tasks)]
    assert 1 == len(provider.guard_questions)


@pytest.mark.parametrize("by", ["task", "anyio"])
async def test_who_leaves_last_ends_it(
    make: Callable[..., LlamaGuard], gate: Gate, provider: FakeProvider, by: str
) -> None:
    async def ask() -> None:
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            await guard.acheck("a BOMB")

    scopes: list[anyio.CancelScope] = []
    before = asyncio.all_tasks()
    async with make() as guard:
        tasks = [asyncio.create_task(ask()) for _ in range(3)]
        await _under_way(gate, tasks)
        for each in tasks if by == "task" else scopes:
            each.cancel()
        await asyncio.wait(tasks)
        assert before == asyncio.all_tasks()
        gate.opened.set()
        assert not (await guard.acheck("a BOMB")).safe
    assert 2 == len(provider.guard_questions)
    assert provider.wait_for_connections(0)


def test_who_asks_and_is_interrupted_leaves_it_to_who_waits(
    make: Callable[..., LlamaGuard], gate: Gate, provider: FakeProvider
) -> None:
    with make() as guard, ThreadPoolExecutor(2) as threads:
        gate.says = Fault.status(503)
        flights = guard._clients._flights
        first_is_in = threading.Event()

        def interrupted() -> Verdict:
            first_is_in.set()
            assert gate.opened.wait(10)
            raise KeyboardInterrupt

        first = threads.submit(flights.joined, "about", interrupted, None)
        first_is_in.wait()
        second = threads.submit(flights.joined, "about", lambda: Verdict(safe=True), None)
        gate.opened.set()
        assert isinstance(first.exception(), KeyboardInterrupt)
        assert (True, False) == (second.result()[0].safe, second.result()[1])


def test_who_waits_for_another_waits_no_longer_than_its_own_deadline(
    make: Callable[..., LlamaGuard], gate: Gate
) -> None:
    with make(deadline=0.2, timeout=0.2) as guard:
        flights = guard._clients._flights
        held = threading.Thread(target=lambda: flights.joined(_about(guard), lambda: gate("", "x"), None))
        held.start()
        gate.asked.acquire()
        with pytest.raises(GuardUnavailable, match=r"no verdict within 0\.2 seconds") as caught:
            guard.check("a BOMB")
        assert "timeout" == caught.value.reason
        gate.opened.set()
        held.join()


def _about(guard: LlamaGuard) -> str:
    from llama_guard_core.guardrail.screening import Check  # noqa: PLC0415
    from llama_guard_core.guardrail.verdict import Stage  # noqa: PLC0415
    from llama_guard_core.messages import user  # noqa: PLC0415

    question = Check(Stage.PROMPT, (user("a BOMB"),))
    about = guard._asking(question, guard._questions(question), 0.0).about
    assert about
    return about


async def test_without_a_cache_every_check_is_asked(
    make: Callable[..., LlamaGuard], gate: Gate, provider: FakeProvider
) -> None:
    gate.opened.set()
    async with make(cache=False) as guard:
        await asyncio.gather(*(guard.acheck("a BOMB") for _ in range(3)))
    assert 3 == len(provider.guard_questions)


def test_loops_of_several_threads_share_a_guard(
    make: Callable[..., LlamaGuard], gate: Gate, provider: FakeProvider
) -> None:
    gate.opened.set()
    guard = make()

    async def ask() -> list[bool]:
        async with guard:
            return [(await guard.acheck(text)).safe for text in ("a BOMB", "rain")]

    with ThreadPoolExecutor(4) as threads:
        assert [[False, True]] * 4 == list(threads.map(lambda _: asyncio.run(ask()), range(4)))
