"""A host that failed rests; what each host of a list has of its own: its rest, its verdicts, its key, its patience."""

from __future__ import annotations

from typing import Any

import pytest
from hosts.fakes import LlamaCpp, faults
from hosts.sites import InProcess
from hosts.three_hosts import Three, both_colours, check

from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.errors import ConfigurationError, GuardUnavailable
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.verdict import Verdict
from llama_guard_core.provider.hosts import Host
from llama_guard_core.verdict_cache import VerdictCache


@both_colours
async def test_a_host_that_failed_is_not_asked_until_it_has_rested(three: Three, colour: str) -> None:
    guard = three.guard(cache=False)
    three.first.fail(faults.down)
    for _ in range(3):
        await check(guard, "A BOMB.", colour)
    assert [1, 3, 0] == three.calls
    three.first.recover()
    three.now = 29.9
    assert "Together" == (await check(guard, "A BOMB.", colour)).host
    three.now = 30.0
    assert "vLLM" == (await check(guard, "A BOMB.", colour)).host


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        (faults.overloaded, 30),
        (faults.status(429, "wait", retry_after=120), 120),
        (faults.status(503, "wait", retry_after=7), 30),
        (faults.withdrawn, 600),
        (faults.unpaid, 600),
    ],
    ids=["down", "at its limit for long", "down for a moment", "withdrawn", "unpaid"],
)
def test_it_rests_as_long_as_it_asks_and_longer_where_nothing_changes_soon(
    three: Three, fault: Any, seconds: int
) -> None:
    guard = three.guard(cache=False)
    three.first.fail(fault, first=1)
    guard.check("A BOMB.")
    three.now = seconds - 0.1
    assert "Together" == guard.check("A BOMB.").host
    three.now = seconds
    assert "vLLM" == guard.check("A BOMB.").host


def test_how_long_it_rests_can_be_set_for_each(three: Three) -> None:
    guard = three.guard(Host.named("vllm", rest=0), "together", cache=False)
    three.first.fail(faults.down)
    guard.check("A BOMB.")
    guard.check("A BOMB.")
    assert [2, 2, 0] == three.calls


def test_the_rest_is_the_guards_and_holds_under_another_policy(three: Three) -> None:
    guard = three.guard(cache=False)
    three.first.fail(faults.down)
    guard.check("A BOMB.")
    guard.with_policy(Policy(mode="monitor")).check("A BOMB.")
    assert [1, 2, 0] == three.calls


def test_hosts_that_all_rest_are_asked_all_the_same(three: Three) -> None:
    guard = three.guard(cache=False)
    for host in three.hosts:
        host.fail(faults.down, first=1)
    with pytest.raises(GuardUnavailable):
        guard.check("A BOMB.")
    assert "vLLM" == guard.check("A BOMB.").host


def test_nobody_waits_long_for_a_host_while_another_is_left(three: Three, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    three.first.fail(faults.status(429, "wait", retry_after=45))
    assert "Together" == three.guard(max_retries=2).check("A BOMB.").host
    assert [1, 1, 0] == three.calls
    assert [] == [seconds for seconds in waits if seconds > 2]


# Caches


@both_colours
async def test_a_verdict_is_remembered_with_the_host_that_gave_it(three: Three, colour: str) -> None:
    guard = three.guard()
    three.first.fail(faults.down, first=1)
    await check(guard, "A BOMB.", colour)
    again = await check(guard, "A BOMB.", colour)
    assert (True, "Together", [1, 1, 0]) == (again.cached, again.host, three.calls)


def test_hosts_share_no_verdicts(three: Three) -> None:
    cache = VerdictCache()
    assert "Together" == three.guard("together", cache=cache).check("A BOMB.").host
    verdict = three.guard("openrouter", cache=cache).check("A BOMB.")
    assert (False, "OpenRouter") == (verdict.cached, verdict.host)


def test_a_failure_of_all_is_not_remembered(three: Three) -> None:
    guard = three.guard("vllm", "together")
    for host in three.hosts:
        host.fail(faults.down, first=1)
    with pytest.raises(GuardUnavailable):
        guard.check("A BOMB.")
    assert not guard.check("A BOMB.").cached


@both_colours
async def test_one_verdict_is_told_of_and_it_is_the_last_hosts(three: Three, colour: str) -> None:
    told: list[Verdict] = []
    three.first.fail(faults.down)
    await check(three.guard(on_verdict=told.append), "A BOMB.", colour)
    assert ["Together"] == [verdict.host for verdict in told]


# Keys and settings of each


def test_each_is_shown_its_own_key_alone(three: Three, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOGETHER_API_KEY")
    three.second.key = "sk-own"
    three.first.fail(faults.down)
    three.second.fail(faults.overloaded, first=1)
    guard = three.guard("vllm", Host.named("together", api_key="sk-own"), "openrouter", cache=False)
    assert "OpenRouter" == guard.check("A BOMB.").host
    three.now = 30.0
    assert "Together" == guard.check("A BOMB.").host
    assert "sk-own" not in repr(guard)


def test_one_key_for_several_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"Host\.named\('together', api_key="):
        LlamaGuard(host=["together", "openrouter"], api_key="sk-1")


@both_colours
@pytest.mark.parametrize("variable", ["TOGETHER_API_KEY", "CLOUDFLARE_API_TOKEN", "CLOUDFLARE_ACCOUNT_ID"])
async def test_what_is_missing_for_any_of_them_is_told_at_once_and_not_when_it_is_needed(
    three: Three, variable: str, colour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(variable)
    guard = three.guard("vllm", "together", "cloudflare")
    with pytest.raises(ConfigurationError, match=variable):
        await check(guard, "A BOMB.", colour)
    assert [0, 0, 0] == three.calls


def test_each_may_have_its_own_retries(three: Three, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    three.first.fail(faults.overloaded)
    three.guard(Host.named("vllm", max_retries=3), "together").check("A BOMB.")
    assert [4, 1, 0] == three.calls


def test_a_model_file_at_the_end_of_a_list_is_not_loaded_before_it_is_needed(three: Three) -> None:
    class Dormant(InProcess):
        is_running = False
        starts = 0

        def start(self) -> Any:
            Dormant.starts += 1
            return super().start()

    three.others = [LlamaCpp(InProcess.base_url, key=InProcess.api_key)]
    guard = three.guard("vllm", Dormant("Llama-Guard-3-8B.gguf"), cache=False)
    guard.check("A BOMB.")
    assert 0 == Dormant.starts
    three.first.fail(faults.down)
    assert "llama.cpp (Llama-Guard-3-8B.gguf, embedded)" == guard.check("A BOMB.").host
    assert 0 < Dormant.starts
