"""A question that was answered is not put again, and nothing but verdicts is kept."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from fake_provider import FakeProvider, Fault

from llama_guard_core import Host, verdict_cache
from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.errors import GuardUnavailable
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.verdict import Verdict
from llama_guard_core.verdict_cache import VerdictCache

Makes = Callable[..., LlamaGuard]


@pytest.fixture
def guard(provider: FakeProvider) -> Makes:
    def make(**settings: Any) -> LlamaGuard:
        clients = {"http_client": provider.client(), "http_async_client": provider.async_client()}
        return LlamaGuard(**{"api_key": "sk-or-v1-test", **clients, **settings})

    return make


def test_the_same_question_is_asked_once(guard: Makes, provider: FakeProvider) -> None:
    judge = guard()
    first, second = judge.check("a KNIFE"), judge.check("a KNIFE")
    assert 1 == len(provider.guard_questions)
    assert (first.safe, first.categories) == (second.safe, second.categories)
    assert (False, True) == (first.cached, second.cached)


async def test_the_same_question_is_asked_once_of_both_colours(guard: Makes, provider: FakeProvider) -> None:
    judge = guard()
    await judge.acheck("a KNIFE")
    assert judge.check("a KNIFE").cached
    assert (await judge.acheck("a KNIFE")).cached
    assert 1 == len(provider.guard_questions)


def test_a_cached_verdict_took_no_time_and_cost_nothing(guard: Makes) -> None:
    judge = guard()
    fresh, cached = judge.check("rain"), judge.check("rain")
    assert fresh.latency is not None
    assert fresh.usage is not None
    assert (None, None) == (cached.latency, cached.usage)


def test_a_cached_verdict_is_told_like_any_other(guard: Makes) -> None:
    told: list[Verdict] = []
    judge = guard(on_verdict=told.append)
    judge.check("rain")
    judge.check("rain")
    assert [False, True] == [verdict.cached for verdict in told]


def test_a_verdict_is_of_the_stage_that_was_asked_about(guard: Makes, provider: FakeProvider) -> None:
    judge = guard()
    assert "prompt" == judge.check("rain", stage="prompt").stage.value
    assert "document" == judge.check("rain", stage="document").stage.value
    assert 1 == len(provider.guard_questions)


def test_another_context_is_another_question(guard: Makes, provider: FakeProvider) -> None:
    judge = guard()
    judge.check([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])
    judge.check([{"role": "user", "content": "c"}, {"role": "assistant", "content": "b"}])
    assert 2 == len(provider.guard_questions)


def test_guards_that_share_a_cache_share_verdicts_of_one_model_at_one_host(
    guard: Makes, provider: FakeProvider
) -> None:
    cache = VerdictCache()
    guard(cache=cache).check("rain")
    assert guard(cache=cache).check("rain").cached
    assert not guard(cache=cache, model="meta-llama/llama-guard-3-8b").check("rain").cached
    assert 2 == len(provider.guard_questions)


def test_the_same_guard_under_another_policy_has_the_same_verdicts(guard: Makes) -> None:
    judge = guard()
    judge.check("rain")
    assert judge.with_policy(Policy(mode="monitor")).check("rain").cached


def test_without_a_cache_every_question_is_asked(guard: Makes, provider: FakeProvider) -> None:
    judge = guard(cache=False)
    judge.check("rain")
    assert not judge.check("rain").cached
    assert 2 == len(provider.guard_questions)


def test_a_failure_is_not_kept(guard: Makes, provider: FakeProvider) -> None:
    provider.fail(Fault.status(400), first=1)
    judge = guard(max_retries=0)
    with pytest.raises(GuardUnavailable):
        judge.check("rain")
    assert judge.check("rain").safe


def test_the_verdict_used_least_recently_is_forgotten_first(guard: Makes) -> None:
    judge = guard(cache=VerdictCache(max_entries=2))
    for text in ("a", "b", "a", "c"):
        judge.check(text)
    assert [True, False] == [judge.check(text).cached for text in ("a", "b")]


def test_an_old_verdict_is_asked_for_again(guard: Makes, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(verdict_cache, "monotonic", lambda: now[0])
    judge = guard(cache=VerdictCache(max_age=60))
    judge.check("rain")
    now[0] = 60.0
    assert judge.check("rain").cached
    now[0] = 60.1
    assert not judge.check("rain").cached


def test_a_cache_holds_no_judged_text(guard: Makes) -> None:
    cache = VerdictCache()
    guard(cache=cache).check("the darling of the KNIFE")
    assert "darling" not in repr(vars(cache))
    assert "VerdictCache(max_entries=4096, max_age=None)" == repr(cache)


def test_a_copy_in_another_process_begins_with_an_empty_cache() -> None:
    cache = VerdictCache(max_entries=7, max_age=3)
    cache.put("key", Verdict(safe=True))
    copied = pickle.loads(pickle.dumps(cache))  # noqa: S301 - made here
    assert (0, 7, 3) == (len(copied), copied.max_entries, copied.max_age)


def test_what_is_forgotten_is_asked_again(guard: Makes) -> None:
    cache = VerdictCache()
    judge = guard(cache=cache)
    judge.check("rain")
    cache.clear()
    assert not judge.check("rain").cached


@pytest.mark.parametrize("answer", ["unsafe", "unsafe\nS1 and more", "unsafe\nS1,"])
def test_a_verdict_whose_list_of_hazards_may_be_incomplete_is_not_kept(provider: FakeProvider, answer: str) -> None:
    provider = FakeProvider(guard=lambda *_: answer)
    with LlamaGuard(api_key="k", http_client=provider.client()) as judge:
        first, second = judge.check("rain"), judge.check("rain")
    assert first.all_named is second.cached


def test_what_monitor_mode_lets_pass_is_an_unsafe_verdict_in_the_cache(guard: Makes) -> None:
    cache = VerdictCache()
    watching = guard(cache=cache, policy=Policy(mode="monitor"))
    watching.check("a KNIFE")
    enforced = guard(cache=cache).check("a KNIFE")
    assert (True, False) == (enforced.cached, enforced.safe)


class NotStarted:
    """A server of this process that stands by in case the others fail."""

    is_running = False


@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_while_a_server_in_the_list_is_yet_to_start_the_others_verdicts_are_known(
    provider: FakeProvider, colour: str
) -> None:
    standing_by: Any = NotStarted()
    settings = {"guard_model": "meta-llama/llama-guard-4-12b", "api_key": "k"}
    hosts = [
        Host(name="one", base_url="http://one.test/api/v1", **settings),
        Host(name="two", base_url="embedded", server=standing_by, **settings),
    ]
    judge = LlamaGuard(host=hosts, http_client=provider.client(), http_async_client=provider.async_client())
    verdicts = [judge.check("rain") if colour == "sync" else await judge.acheck("rain") for _ in range(2)]
    assert [False, True] == [verdict.cached for verdict in verdicts]
    assert 1 == len(provider.guard_questions)
