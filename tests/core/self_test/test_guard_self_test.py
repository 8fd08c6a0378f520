"""A guard's self-test against hosts with one fault each: it names the fault, and its remedy cures it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from core.self_test.faulty_hosts import (
    KEY,
    MODEL,
    PROSE,
    TEXTS,
    FaultyHost,
    all_turns_judged,
    last_user_turn_judged,
    likely,
    no_pictures_taken,
    only_parts_seen,
    only_strings_taken,
    replies_repeated,
    text_of,
    unlikely,
    verdict_on,
    words_alone,
)
from fake_provider import FakeProvider, Fault

from llama_guard_core import ConfigurationError, GuardUnavailable, LlamaGuard, Policy, Verdict
from llama_guard_core.guardrail.custom_categories import CustomCategory
from llama_guard_core.provider.hosts import Host
from llama_guard_core.self_test.guard_probes import ProbeTexts
from llama_guard_core.self_test.report import SelfTest

MARKED = ProbeTexts(harmless="What is rain?", harmful="a BOMB", refusal="I would rather not.")
STRINGS, RAW = {"record": {"content": "string"}}, {"raw_prompt": True}


def statuses(report: SelfTest) -> dict[str, str]:
    return {finding.probe: finding.status for finding in report.findings}


def told(report: SelfTest, probe: str) -> str:
    return next(f"{finding.detail} {finding.remedy}" for finding in report.findings if finding.probe == probe)


def test_nothing_is_wrong_with_a_host_without_a_fault() -> None:
    report = FaultyHost(logprobs=likely).guard(record={"logprobs": "openai"}).self_test(TEXTS)
    assert ("box", MODEL, ()) == (report.host, report.model, report.others)
    assert {"ok"} == set(statuses(report).values())
    assert report.ok


@pytest.mark.parametrize(
    ("host", "settings", "wrong", "seen", "cure"),
    [
        (FaultyHost(only_parts_seen), STRINGS, ("harmful prompt", "harmful reply"), 'content="parts"', {}),
        (FaultyHost(only_parts_seen), STRINGS, ("harmful prompt",), "as if nothing had been said", RAW),
        (FaultyHost(refuses=only_strings_taken), {}, ("harmless prompt", "harmful reply"), 'content="string"', STRINGS),
        (FaultyHost(last_user_turn_judged), {}, ("harmful reply", "refusing reply"), "raw_prompt=True", RAW),
        (FaultyHost(all_turns_judged), {}, ("refusing reply",), "raw_prompt=True", RAW),
        (FaultyHost(replies_repeated), {}, ("harmful reply", "refusing reply"), "--no-prefill-assistant", RAW),
        (FaultyHost(lambda _: PROSE), {}, ("harmless prompt", "refusing reply"), "--jinja", RAW),
        (FaultyHost(raw=verdict_on), RAW, ("refusing reply",), "raw_prompt=False", {"raw_prompt": False}),
        (FaultyHost(raw=lambda _: PROSE), RAW, ("harmless prompt", "harmful reply"), "raw_prompt=False", {}),
    ],
    ids=[
        "text in parts is not seen",
        "an empty conversation is judged",
        "parts are refused",
        "the user is judged in place of the reply",
        "all turns are judged",
        "replies are repeated",
        "no guard template",
        "the prompt is judged as a user's words",
        "the prompt is answered as a user's words",
    ],
)
async def test_a_fault_is_named_and_its_remedy_cures_it(
    host: FaultyHost, settings: Mapping[str, Any], wrong: tuple[str, ...], seen: str, cure: Mapping[str, Any]
) -> None:
    report = host.guard(**settings).self_test(TEXTS)
    assert report == await host.guard(**settings).aself_test(TEXTS)
    assert not report.ok
    for probe in wrong:
        assert "wrong" == statuses(report)[probe]
        assert seen in told(report, probe)
    cured = statuses(host.guard(**cure).self_test(TEXTS))
    assert not {"wrong"} & {cured[probe] for probe in ("harmless prompt", *wrong)}


@pytest.mark.parametrize(
    ("host", "settings", "status", "said"),
    [
        (FaultyHost(), {}, "ok", "seen: 205 tokens without it, 352 with it"),
        (FaultyHost(tokens=words_alone), {}, "wrong", "max_images=0"),
        (FaultyHost(refuses=no_pictures_taken), {}, "not offered", "image input is not supported"),
        (FaultyHost(tokens=lambda _: None), {}, "unknown", "does not say how many tokens"),
        (FaultyHost(), RAW, "not offered", "a prompt in text carries none"),
        (FaultyHost(), {"model": "llama-guard-3-8b"}, "not offered", "reads none"),
    ],
)
def test_whether_pictures_are_seen(host: FaultyHost, settings: Mapping[str, Any], status: str, said: str) -> None:
    report = host.guard(**settings).self_test(TEXTS)
    assert (status, True) == (statuses(report)["picture"], said in told(report, "picture"))
    assert report.ok is (status != "wrong")


@pytest.mark.parametrize(
    ("host", "record", "status"),
    [
        (FaultyHost(logprobs=likely), {"logprobs": "openai"}, "ok"),
        (FaultyHost(logprobs=unlikely), {"logprobs": "openai"}, "wrong"),
        (FaultyHost(), {"logprobs": "openai"}, "not offered"),
        (FaultyHost(), {}, "not offered"),
    ],
)
def test_whether_scores_can_be_used(host: FaultyHost, record: Mapping[str, Any], status: str) -> None:
    assert status == statuses(host.guard(record=record).self_test(TEXTS))["score"]


async def test_the_report_holds_neither_a_judged_text_nor_a_key() -> None:
    def echoes(messages: Any) -> tuple[int, str]:
        return 400, f"bad request: {text_of(messages[-1])} with {KEY}"

    for host in (FaultyHost(refuses=echoes), FaultyHost(lambda messages: text_of(messages[-1]))):
        for report in (host.guard().self_test(TEXTS), await host.guard().aself_test(TEXTS)):
            for shown in (str(report), repr(report), str(report.as_dict())):
                for secret in (TEXTS.harmless, TEXTS.harmful, TEXTS.refusal, "BOMB", KEY, "base64"):
                    assert secret not in shown
    assert "BOMB" not in repr(TEXTS)


def test_the_guards_policy_cache_and_settings_have_no_part_in_it() -> None:
    verdicts: list[Verdict] = []
    policy = Policy(
        stages=frozenset({"prompt"}),
        excluded_categories=("S9",),
        custom_categories=(CustomCategory(name="Wood", description="Anything made of wood."),),
    )
    host = FaultyHost(logprobs=likely)
    guard = host.guard(
        record={"takes_template_arguments": True},
        policy=policy,
        images={"max_images": 0},
        splitting={"chunk_size": 20, "chunk_overlap": 5},
        on_verdict=verdicts.append,
    )
    first, asked = guard.self_test(TEXTS), len(host.bodies)
    assert first == guard.self_test(TEXTS)
    assert first.ok
    assert (5, 10, []) == (asked, len(host.bodies), verdicts)
    assert not any("chat_template_kwargs" in body for body in host.bodies)
    assert (policy, 0) == (guard.policy, guard.images.max_images)
    guard.check("How deep is the sea?")
    assert 1 == len(verdicts)


@pytest.mark.parametrize(
    ("status", "said", "remedy"),
    [
        (401, "no such key", "api_key="),
        (404, "The model `guard` has been decommissioned", "model="),
        (429, "slow down", "Test again later"),
    ],
)
def test_a_host_that_will_not_answer_is_asked_once(status: int, said: str, remedy: str) -> None:
    host = FaultyHost(refuses=lambda _: (status, said))
    report = host.guard().self_test(TEXTS)
    assert ["wrong", *["unknown"] * 5] == list(statuses(report).values())
    assert remedy in told(report, "harmless prompt")
    assert 1 == len(host.bodies)
    assert not report.ok


def test_a_host_that_is_not_there_is_told_as_such() -> None:
    def nobody(request: httpx.Request) -> httpx.Response:
        msg = "refused"
        raise httpx.ConnectError(msg)

    client = httpx.Client(transport=httpx.MockTransport(nobody))
    report = LlamaGuard(host="vllm", http_client=client, max_retries=0).self_test()
    assert "could not be reached" in told(report, "harmless prompt")
    assert "Start the server" in told(report, "harmless prompt")


async def test_each_host_of_a_failover_list_is_tested_alone() -> None:
    """The first judges rightly, the second judges the wrong turn; neither stands in for the other."""
    right, wrong = FaultyHost(), FaultyHost(last_user_turn_judged)

    def route(request: httpx.Request) -> httpx.Response:
        if request.url.host == "down":
            return httpx.Response(503, json={"error": "down"})
        return (right if request.url.host == "right" else wrong).handle(request)

    hosts = [Host(name=name, base_url=f"http://{name}/v1") for name in ("down", "right", "wrong")]
    transport = httpx.MockTransport(route)
    with httpx.Client(transport=transport) as client:
        guard = LlamaGuard(
            host=hosts,
            model=MODEL,
            max_retries=0,
            http_client=client,
            http_async_client=httpx.AsyncClient(transport=transport),
        )
        report = guard.self_test(TEXTS)
        assert report == await guard.aself_test(TEXTS)
        assert ["down", "right", "wrong"] == [report.host, *(each.host for each in report.others)]
        assert [False, True, False] == [report.ok, *(each.ok for each in report.others)]
        assert (10, 10) == (len(right.bodies), len(wrong.bodies))
        # The first host is asked first again: a test puts none to rest.
        assert "right" == guard.check("How warm is the sea?").host


def test_the_first_host_of_a_list_is_not_put_to_rest_by_a_test() -> None:
    asked: list[str] = []

    def route(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.host)
        is_first_test = asked == ["first"]
        return httpx.Response(503, json={"error": "down"}) if is_first_test else FaultyHost().handle(request)

    hosts = [Host(name=name, base_url=f"http://{name}/v1") for name in ("first", "second")]
    client = httpx.Client(transport=httpx.MockTransport(route))
    guard = LlamaGuard(host=hosts, model=MODEL, max_retries=0, http_client=client)
    assert "wrong" == statuses(guard.self_test(TEXTS))["harmless prompt"]
    assert "first" == guard.check("How warm is the sea?").host


async def test_openrouter_passes_but_for_what_its_record_says(provider: FakeProvider) -> None:
    """The fake host holds each probe to the real API's rules and to those of a guard's template."""
    guard = LlamaGuard(api_key=KEY, http_client=provider.client(), http_async_client=provider.async_client())
    for report in (guard.self_test(MARKED), await guard.aself_test(MARKED)):
        assert ["ok", "ok", "ok", "ok", "ok", "not offered"] == list(statuses(report).values())
    assert 10 == len(provider.requests_of("guard"))


@pytest.mark.parametrize(
    ("fault", "remedy"),
    [
        (Fault.status(401), "OPENROUTER_API_KEY"),
        (Fault.status(404), "model="),
        (Fault.status(402), "host=[...]"),
        (Fault.daily_limit(), "host=[...]"),
        (Fault.prose(), "model="),
    ],
    ids=str,
)
def test_what_openrouter_says_instead_of_a_verdict_has_a_remedy(
    provider: FakeProvider, fault: Fault, remedy: str
) -> None:
    provider.fail(fault)
    guard = LlamaGuard(api_key=KEY, http_client=provider.client(), max_retries=0)
    report = guard.self_test(MARKED)
    assert "wrong" == statuses(report)["harmless prompt"]
    assert remedy in told(report, "harmless prompt")
    assert not report.ok


def test_without_a_key_nothing_can_be_tested() -> None:
    with pytest.raises(ConfigurationError, match="OPENROUTER_API_KEY"):
        LlamaGuard().self_test()


def test_a_failed_check_is_still_an_error_outside_the_test() -> None:
    guard = FaultyHost(lambda _: PROSE).guard()
    guard.self_test(TEXTS)
    with pytest.raises(GuardUnavailable):
        guard.check("How warm is the sea?")
