"""A pace lets so many requests through in so many seconds, and says how long the next one waits."""

from __future__ import annotations

import pickle
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from fake_provider import FakeProvider, Fault

from llama_guard_core import ConfigurationError, GuardUnavailable, Host, LlamaGuard, Pace

GUARD = "meta-llama/llama-guard-4-12b"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_requests_are_spread_evenly(clock: Clock) -> None:
    pace = Pace(4, per=2, clock=clock)
    assert [0.0, 0.5, 1.0, 1.5] == [pace.turn() for _ in range(4)]


def test_after_a_pause_a_burst_goes_through_and_no_more(clock: Clock) -> None:
    pace = Pace(2, burst=3, clock=clock)
    clock.now = 100.0
    assert [0.0, 0.0, 0.0, 0.5, 1.0] == [pace.turn() for _ in range(5)]


def test_who_would_wait_too_long_takes_no_turn(clock: Clock) -> None:
    pace = Pace(1, clock=clock)
    assert [0.0, None, 1.0] == [pace.turn(0.5), pace.turn(0.5), pace.turn()]


def test_in_any_stretch_of_time_there_are_no_more_than_its_rate_and_its_burst(clock: Clock) -> None:
    pace = Pace(10, burst=5, clock=clock)
    sent = []
    for _ in range(200):
        clock.now += 0.03
        if (wait := pace.turn(1.0)) is not None:
            sent.append(clock.now + wait)
    for begin in sent:
        assert sum(begin <= at < begin + 1.0 for at in sent) <= 10 + 5


@pytest.mark.parametrize("settings", [{"requests": 0}, {"requests": 1, "per": 0}, {"requests": 1, "burst": 0}])
def test_a_pace_of_nothing_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError):
        Pace(**settings)


def test_a_copy_in_another_process_counts_for_itself() -> None:
    pace = Pace(30, per=60, burst=2)
    pace.turn()
    assert repr(pace) == repr(pickle.loads(pickle.dumps(pace))) == "Pace(30, per=60, burst=2)"  # noqa: S301


def _guard(provider: FakeProvider, pace: Pace, **settings: float) -> LlamaGuard:
    host = Host(name="h", base_url="http://h.test/api/v1", api_key="k", guard_model=GUARD, pace=pace)
    clients = {"http_client": provider.client(), "http_async_client": provider.async_client()}
    return LlamaGuard(host=host, cache=False, **clients, **settings)


async def test_threads_and_tasks_share_the_pace_of_a_host(provider: FakeProvider) -> None:
    pace = Pace(50)
    guard, other = _guard(provider, pace), _guard(provider, pace)
    begun = time.monotonic()
    guard.check("a")
    await other.acheck("b")
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(guard.check, "cdef"))
    assert time.monotonic() - begun >= 5 / 50


def test_repetitions_have_their_turn_like_others(provider: FakeProvider) -> None:
    provider.fail(Fault.status(429, retry_after=0.001), first=2)
    begun = time.monotonic()
    assert _guard(provider, Pace(20)).check("a").safe
    assert time.monotonic() - begun >= 2 / 20


@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_a_turn_that_comes_too_late_is_no_verdict_and_nothing_is_sent(
    provider: FakeProvider, colour: str
) -> None:
    guard = _guard(provider, Pace(1, per=3600), deadline=5.0)
    guard.check("a")
    with pytest.raises(GuardUnavailable, match="its pace, set here, is used up") as caught:
        guard.check("b") if colour == "sync" else await guard.acheck("b")
    assert ("rate_limit", 1) == (caught.value.reason, len(provider.requests))


def test_in_a_list_the_next_host_is_asked_when_the_pace_of_one_is_used_up(provider: FakeProvider) -> None:
    settings = {"guard_model": GUARD, "api_key": "k"}
    slow = Host(name="slow", base_url="http://a.test/api/v1", pace=Pace(1, per=3600), **settings)
    next_one = Host(name="next", base_url="http://b.test/api/v1", **settings)
    guard = LlamaGuard(host=[slow, next_one], http_client=provider.client())
    assert ["slow", "next"] == [guard.check(text).host for text in ("a", "b")]
