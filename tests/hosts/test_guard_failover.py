"""A list of hosts: the next is asked where one cannot answer, and a verdict is one host's alone."""

from __future__ import annotations

import asyncio
import base64
import pickle
from typing import Any

import httpx
import pytest
from fake_provider.answers import Answer
from fake_provider.server import LoopbackServer
from hosts.fakes import LlamaCpp, Ollama, faults
from hosts.three_hosts import Three, both_colours, check

from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.errors import ConfigurationError, GuardUnavailable, ProviderError, UnreadableVerdict
from llama_guard_core.guardrail.decisions import Allow
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.splitting import Splitting
from llama_guard_core.provider.hosts import Host

SPLITTING = Splitting(chunk_size=600, chunk_overlap=60)
LONG = "The rain in Spain. " * 80
CHUNKS = len(SPLITTING.chunks_of(LONG))
SEEN = base64.b64encode(b"\x89PNG\r\n\x1a\na cat").decode()
PICTURE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{SEEN}"}}]}]


MOVES_ON = {
    "down": faults.down,
    "silent": faults.silent,
    "overloaded": faults.overloaded,
    "500": faults.status(500),
    "at its limit": faults.rate_limited,
    "withdrawn": faults.withdrawn,
    "unknown model": faults.unknown_model,
    "unpaid": faults.unpaid,
    "cut": faults.cut,
    "a web page": faults.web_page,
    "nothing": faults.empty,
}
STAYS = {
    "wrong key": (faults.wrong_key, "authentication"),
    "bad request": (faults.bad_request, "invalid_request"),
    "too long": (faults.too_long, "context_length"),
    "forbidden": (faults.forbidden, "permission"),
}


@both_colours
@pytest.mark.parametrize("fault", MOVES_ON.values(), ids=MOVES_ON)
async def test_the_next_is_asked_where_one_cannot_answer(three: Three, fault: Any, colour: str) -> None:
    three.first.fail(fault)
    verdict = await check(three.guard(), "A BOMB.", colour)
    assert (False, "Together", [1, 1, 0]) == (verdict.safe, verdict.host, three.calls)


@both_colours
@pytest.mark.parametrize(("fault", "reason"), STAYS.values(), ids=STAYS)
async def test_it_is_not_where_one_says_that_something_is_to_be_mended(
    three: Three, fault: Any, reason: str, colour: str
) -> None:
    three.first.fail(fault)
    with pytest.raises(GuardUnavailable, match="vLLM") as caught:
        await check(three.guard(), "A BOMB.", colour)
    assert (reason, [1, 0, 0]) == (caught.value.reason, three.calls)


@both_colours
async def test_it_is_not_where_one_answers_something_else_than_a_verdict(three: Three, colour: str) -> None:
    three.first.fail(faults.chatter)
    with pytest.raises(UnreadableVerdict):
        await check(three.guard(), "A BOMB.", colour)
    assert [1, 0, 0] == three.calls


@both_colours
async def test_the_one_after_the_next_is_asked_too(three: Three, colour: str) -> None:
    three.first.fail(faults.down)
    three.second.fail(faults.rate_limited)
    assert "OpenRouter" == (await check(three.guard(), "A BOMB.", colour)).host


@both_colours
async def test_a_failure_to_be_mended_behind_one_that_moved_on_is_told_with_the_name_of_its_host(
    three: Three, colour: str
) -> None:
    three.first.fail(faults.down)
    three.second.fail(faults.wrong_key)
    with pytest.raises(GuardUnavailable, match="Together") as caught:
        await check(three.guard(), "A BOMB.", colour)
    assert ("authentication", [1, 1, 0]) == (caught.value.reason, three.calls)


@both_colours
async def test_when_all_have_failed_each_is_named_with_its_reason(three: Three, colour: str) -> None:
    three.first.fail(faults.down)
    three.second.fail(faults.rate_limited)
    three.third.fail(faults.web_page)
    with pytest.raises(GuardUnavailable) as caught:
        await check(three.guard(), "A BOMB of mine.", colour)
    told = str(caught.value)
    assert "vLLM: connection; Together: rate_limit; OpenRouter: malformed" in told
    assert isinstance(caught.value.__cause__, ProviderError)
    assert not [secret for secret in ("BOMB", "sk-") if secret in told]


# Long texts


@both_colours
@pytest.mark.parametrize("at", range(1, CHUNKS + 1))
async def test_a_long_text_is_asked_again_whole_where_its_host_fails_in_the_middle(
    three: Three, at: int, colour: str
) -> None:
    three.first.fail(faults.overloaded, nth=at)
    guard = three.guard(splitting=SPLITTING)
    verdict = await check(guard, LONG, colour)
    assert (True, "Together", CHUNKS, 0) == (verdict.safe, verdict.host, three.second.calls, three.third.calls)
    asked = {asked.turns[-1][1] for asked in three.second.asked}
    assert {chunk.strip() for chunk in SPLITTING.chunks_of(LONG)} == asked
    assert verdict.usage is not None
    assert 200 * CHUNKS == verdict.usage.input_tokens


@both_colours
async def test_what_one_host_found_unsafe_is_not_lost_when_it_fails_afterwards(three: Three, colour: str) -> None:
    """It is that host's verdict; but no policy may excuse the hazard, since the rest was not judged."""
    three.first.fail(faults.overloaded, nth=2)
    policy = Policy(hazards={"S9": "flag"})
    guard = three.guard(splitting=SPLITTING, policy=policy)
    verdict = await check(guard, "A BOMB. " + LONG, colour)
    assert (False, False, "vLLM") == (verdict.safe, verdict.all_named, verdict.host)
    assert not isinstance(policy.decide(verdict), Allow)
    three.first.recover()
    again = await check(guard, "A BOMB. " + LONG, colour)
    assert (False, True, False) == (again.cached, again.all_named, again.safe)


@both_colours
async def test_a_hazard_that_is_let_pass_in_one_chunk_hides_none_in_the_next(three: Three, colour: str) -> None:
    policy = Policy(hazards={"S6": "flag"}, thresholds={"S1": 1.0})
    guard = three.guard("vllm", splitting=SPLITTING, policy=policy)
    verdict = await check(guard, f"A DIAGNOSIS. {LONG} A BOMB.", colour)
    assert {"S6", "S9"} == {category.code for category in verdict.categories}
    assert not isinstance(policy.decide(verdict), Allow)
    verdict = await check(guard, f"A KNIFE. {LONG} A DIAGNOSIS.", colour)
    assert isinstance(policy.decide(verdict), Allow)


# Pictures


@both_colours
async def test_a_host_that_cannot_be_shown_pictures_is_passed_over_without_rest(three: Three, colour: str) -> None:
    ollama = Ollama()
    three.others = [ollama]
    guard = three.guard("ollama", "together", policy=Policy(hazards={WEAPONS: "block"}))
    assert "Together" == (await check(guard, PICTURE, colour)).host
    assert 0 == ollama.calls
    assert "Ollama" == (await check(guard, "How is the weather?", colour)).host


@both_colours
async def test_one_that_can_is_asked_even_at_its_rest(three: Three, colour: str) -> None:
    three.others = [Ollama()]
    guard = three.guard("together", "ollama")
    three.second.fail(faults.overloaded, first=1)
    assert "Ollama" == (await check(guard, "How is the weather?", colour)).host
    assert "Together" == (await check(guard, PICTURE, colour)).host


@both_colours
async def test_where_none_can_the_first_is_named_with_its_limit(three: Three, colour: str) -> None:
    three.others = [Ollama(), LlamaCpp()]
    with pytest.raises(GuardUnavailable, match="Ollama cannot be asked about images") as caught:
        await check(three.guard("ollama", "llama.cpp"), PICTURE, colour)
    assert "not_judgeable" == caught.value.reason


@both_colours
async def test_where_the_one_that_can_is_down_it_is_named(three: Three, colour: str) -> None:
    three.others = [Ollama()]
    three.second.fail(faults.down)
    with pytest.raises(GuardUnavailable, match="Together") as caught:
        await check(three.guard("ollama", "together"), PICTURE, colour)
    assert "connection" == caught.value.reason


# Versions

WEAPONS, ADVICE = "Indiscriminate Weapons", "Specialized Advice"
OLD = Host.named("fireworks", guard_model="accounts/fireworks/models/llama-guard-2-8b")


@pytest.mark.parametrize(
    "policy",
    [
        Policy(hazards={"S5": "flag"}),
        Policy(hazards={"S9": "block"}),
        Policy(thresholds={"S6": 0.5}),
        Policy(excluded_categories=("S8",)),
        Policy(per_stage={"reply": {"hazards": {"S10": "ignore"}}}),
    ],
)
def test_a_code_that_means_one_hazard_here_and_another_there_is_refused(policy: Policy) -> None:
    with pytest.raises(ConfigurationError, match=r"S\d+ means .* here and .* there: write the name"):
        LlamaGuard(host=["together", OLD], policy=policy)
    with pytest.raises(ConfigurationError, match="write the name"):
        LlamaGuard(host=["together", OLD]).with_policy(policy)


def test_a_name_means_the_same_everywhere(three: Three) -> None:
    policy = Policy(hazards={ADVICE: "flag", "S1": "block"})
    guard = three.guard("vllm", "together", policy=policy)
    LlamaGuard(host=["together", OLD], policy=policy)
    assert isinstance(policy.decide(guard.check("A DIAGNOSIS.")), Allow)


@pytest.mark.parametrize("hazard", ["S14", "Elections", "Defamation"])
def test_a_hazard_that_one_of_them_has_not_is_refused(hazard: str) -> None:
    with pytest.raises(ConfigurationError, match=f"Llama Guard 2 as asked here has no '{hazard}'"):
        LlamaGuard(host=["together", OLD], policy=Policy(hazards={hazard: "flag"}))


# Copies and crowds


def test_a_copy_in_another_process_asks_the_same_hosts(three: Three) -> None:
    def answer(request: httpx.Request) -> Answer:
        response = three.first.handle(request)
        return Answer(response.status_code, {"content-type": "application/json"}, (response.content,))

    server = LoopbackServer(answer)
    server.start()
    try:
        nobody = Host.named("together", base_url="http://127.0.0.1:9/v1", api_key="sk-own")
        guard = LlamaGuard(host=[nobody, Host.named("vllm", base_url=f"{server.origin}/v1")], max_retries=0)
        guard.check("How is the weather?")
        copied = pickle.loads(pickle.dumps(guard))  # noqa: S301 - made here
        with copied:
            verdict = copied.check("A BOMB.")
        guard.close()
    finally:
        server.stop()
    assert (False, "vLLM", False) == (verdict.safe, verdict.host, verdict.cached)
    assert repr(guard) == repr(copied)


async def test_fifty_checks_at_once_while_the_first_host_is_down_all_get_their_verdicts(three: Three) -> None:
    three.first.fail(faults.down)
    guard = three.guard()
    texts = [f"A BOMB no. {number}." if number % 2 else f"Rain no. {number}." for number in range(50)]
    verdicts = await asyncio.gather(*map(guard.acheck, texts))
    assert [not number % 2 for number in range(50)] == [verdict.safe for verdict in verdicts]
    assert {"Together"} == {verdict.host for verdict in verdicts}
    asked = three.first.calls
    await asyncio.gather(*(guard.acheck(f"Snow no. {number}.") for number in range(50)))
    assert (asked, 100) == (three.first.calls, three.second.calls)
