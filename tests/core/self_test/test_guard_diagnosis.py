"""From what came of the probes to what is wrong: a table of patterns, and what holds for all of them."""

from __future__ import annotations

import itertools

import pytest

from llama_guard_core.errors import FailureReason, GuardUnavailable, UnreadableVerdict
from llama_guard_core.guard_host import GuardHost
from llama_guard_core.guardrail.hazards import Taxonomy
from llama_guard_core.guardrail.verdict import Verdict
from llama_guard_core.provider.failures import failure
from llama_guard_core.provider.hosts import Host
from llama_guard_core.self_test.guard_diagnosis import FAULTS, Outcome, Outcomes, Probe, findings
from llama_guard_core.self_test.report import Finding
from llama_guard_core.usage import Usage

PROBES: tuple[Probe, ...] = ("harmless prompt", "harmful prompt", "harmful reply", "refusing reply")
TEMPLATE = GuardHost(Host.named("vllm"))
WRITTEN = GuardHost(Host.named("vllm"), raw_prompt=True)
NOBODY_WRITES = GuardHost(Host.named("openrouter"))
UNKNOWN = GuardHost(Host(name="box", base_url="http://box/v1"))
OLLAMA = GuardHost(Host.named("ollama"), raw_prompt=False)


def verdict(*, safe: bool, score: float | None = None, tokens: int = 0, provider: str | None = None) -> Verdict:
    categories = () if safe else (Taxonomy.of(4).category("S9"),)
    return Verdict(safe, categories, score=score, usage=Usage(input_tokens=tokens), provider=provider)


def failed(reason: FailureReason, said: str = "") -> GuardUnavailable:
    error = GuardUnavailable("no verdict on the prompt: …", reason=reason)
    error.__cause__ = failure(reason=reason, said=said)
    return error


SAFE, UNSAFE = verdict(safe=True), verdict(safe=False)
OUTCOMES: dict[str, Outcome | None] = {
    "s": SAFE,
    "u": UNSAFE,
    "n": UnreadableVerdict("prose"),
    "e": failed("empty"),
    "x": failed("server"),
    "-": None,
}


def outcomes_of(pattern: str) -> dict[Probe, Outcome]:
    of_texts = zip(PROBES, map(OUTCOMES.__getitem__, pattern), strict=True)
    return {probe: outcome for probe, outcome in of_texts if outcome is not None}


def by_probe(host: GuardHost, outcomes: Outcomes) -> dict[str, Finding]:
    return {finding.probe: finding for finding in findings(host, outcomes)}


@pytest.mark.parametrize(
    ("pattern", "wrong", "seen", "remedy"),
    [
        ("suus", (), "", ""),
        ("nnnn", (0, 1, 2, 3), "prompt is not applied", "--jinja"),
        ("nnsu", (0, 1, 2, 3), "prompt is not applied", "model="),
        ("sunn", (2, 3), "continued or repeated", "--no-prefill-assistant"),
        ("suee", (2, 3), "continued or repeated", "--no-prefill-assistant"),
        ("ssss", (1, 2), "everything is safe", 'content="parts"'),
        ("uuuu", (0, 3), "everything is unsafe", "model="),
        ("susu", (2, 3), "the user is judged", "raw_prompt=True"),
        ("suss", (2,), "the user is judged", "raw_prompt=True"),
        ("suuu", (3,), "what the user said before", "raw_prompt=True"),
        ("snus", (1,), "not every answer is a verdict", "model="),
        ("ussu", (0, 1, 2, 3), "does not follow the text", "raw_prompt=True"),
    ],
)
def test_a_pattern_of_answers_is_told_by_its_known_fault(
    pattern: str, wrong: tuple[int, ...], seen: str, remedy: str
) -> None:
    found = by_probe(TEMPLATE, outcomes_of(pattern))
    assert [PROBES[at] for at in wrong] == [probe for probe in PROBES if found[probe].status == "wrong"]
    for at in wrong:
        assert seen in found[PROBES[at]].detail
        assert remedy in found[PROBES[at]].remedy


@pytest.mark.parametrize("host", [TEMPLATE, WRITTEN, NOBODY_WRITES, UNKNOWN, OLLAMA], ids=repr)
def test_exactly_what_is_not_as_it_should_be_is_wrong_and_has_a_remedy(host: GuardHost) -> None:
    for letters in itertools.product("suex", repeat=4):
        found = by_probe(host, outcomes_of("".join(letters)))
        for probe, expected, answered in zip(PROBES, "suus", letters, strict=True):
            assert ("ok" if expected == answered else "wrong") == found[probe].status
            assert (found[probe].status == "wrong") is bool(found[probe].remedy)


def test_one_of_the_faults_fits_whatever_is_answered() -> None:
    for letters in itertools.product("sun-", repeat=4):
        assert any(fault.pattern.fullmatch("".join(letters)) for fault in FAULTS)


@pytest.mark.parametrize(
    ("host", "pattern", "remedy"),
    [
        (WRITTEN, "susu", "a double one: raw_prompt=False"),
        (WRITTEN, "nnnn", "a double one: raw_prompt=False"),
        (WRITTEN, "sunn", "a double one: raw_prompt=False"),
        (WRITTEN, "suuu", "a double one: raw_prompt=False"),
        (WRITTEN, "ssss", "version="),
        (WRITTEN, "uuuu", "version="),
        (NOBODY_WRITES, "susu", "OpenRouter lets nobody write the prompt; choose one"),
        (NOBODY_WRITES, "ssss", 'Host.named("openrouter", content="parts")'),
        (UNKNOWN, "ssss", 'Host(name=, base_url=, content="string")'),
        (UNKNOWN, "susu", 'Host(name=, base_url=, raw_endpoint="completions")'),
        (OLLAMA, "susu", "as Ollama's does, or is applied twice: raw_prompt=True"),
        (GuardHost(Host.named("meta")), "ssss", "Choose another host"),
    ],
)
def test_the_remedy_is_one_that_this_host_has(host: GuardHost, pattern: str, remedy: str) -> None:
    assert any(remedy in finding.remedy for finding in findings(host, outcomes_of(pattern)))


@pytest.mark.parametrize("host", [WRITTEN, NOBODY_WRITES], ids=repr)
def test_nobody_is_told_to_write_a_prompt_that_is_written_or_cannot_be(host: GuardHost) -> None:
    for letters in itertools.product("sunx", repeat=4):
        for finding in findings(host, outcomes_of("".join(letters))):
            assert "raw_prompt=True" not in finding.remedy


@pytest.mark.parametrize(
    ("host", "reason", "remedy"),
    [
        (NOBODY_WRITES, "authentication", "Set OPENROUTER_API_KEY"),
        (TEMPLATE, "authentication", "api_key="),
        (TEMPLATE, "not_found", "model="),
        (TEMPLATE, "connection", "base_url="),
        (TEMPLATE, "timeout", "timeout="),
        (TEMPLATE, "rate_limit", "host=[...]"),
        (TEMPLATE, "context_length", "--max-model-len"),
        (TEMPLATE, "invalid_request", 'Host.named("vllm", content="parts")'),
        (WRITTEN, "server", "later"),
        (TEMPLATE, "malformed", "base_url"),
        (TEMPLATE, "permission", "account"),
    ],
)
def test_a_host_that_fails_is_wrong_and_what_is_not_asked_is_unknown(
    host: GuardHost, reason: FailureReason, remedy: str
) -> None:
    first, *others = findings(host, {"harmless prompt": failed(reason, said="so it says")})
    assert ("wrong", True) == (first.status, "so it says" in first.detail)
    assert remedy in first.remedy
    assert {"unknown"} == {finding.status for finding in others}


@pytest.mark.parametrize(
    ("shown", "status", "told"),
    [
        (verdict(safe=True, tokens=351), "ok", "204 tokens without it, 351 with it"),
        (verdict(safe=True, tokens=204), "wrong", "passed unseen"),
        (verdict(safe=True, tokens=190), "wrong", "passed unseen"),
        (verdict(safe=False, tokens=351), "wrong", "though harmless"),
        (verdict(safe=True), "unknown", "does not say how many tokens"),
        (verdict(safe=True, tokens=351, provider="Other"), "unknown", "two providers"),
        (failed("invalid_request", "no images here"), "not offered", "no images here"),
        (failed("not_found"), "not offered", "does not serve"),
        (GuardUnavailable("this one reads none", reason="not_judgeable"), "not offered", "reads none"),
        (failed("server"), "unknown", "failed"),
        (UnreadableVerdict("prose"), "wrong", "no verdict"),
        (None, "unknown", "not asked"),
    ],
)
def test_the_tokens_tell_whether_a_picture_was_seen(shown: Outcome | None, status: str, told: str) -> None:
    outcomes: dict[Probe, Outcome] = {"harmless prompt": verdict(safe=True, tokens=204)}
    if shown is not None:
        outcomes["picture"] = shown
    found = by_probe(TEMPLATE, outcomes)["picture"]
    assert (status, True) == (found.status, told in found.detail)
    assert found.status != "wrong" or found.remedy


def test_a_picture_says_nothing_where_its_text_alone_is_not_judged() -> None:
    outcomes: Outcomes = {"harmless prompt": failed("invalid_request"), "picture": failed("invalid_request")}
    assert "unknown" == by_probe(TEMPLATE, outcomes)["picture"].status


@pytest.mark.parametrize(
    ("scores", "status", "told"),
    [
        ((0.02, 0.99, 0.98, 0.1), "ok", "0.02 for safe, 0.99 for unsafe"),
        ((0.98, 0.01, 0.02, 0.9), "wrong", "contradicts"),
        ((0.02, 0.99, 0.02, 0.1), "wrong", "contradicts"),
        ((0.02, None, 0.98, 0.1), "unknown", "only some"),
        ((None, None, None, None), "not offered", "asked for, and none can be read"),
    ],
)
def test_a_score_agrees_with_the_verdict_it_comes_with(
    scores: tuple[float | None, ...], status: str, told: str
) -> None:
    outcomes: dict[Probe, Outcome] = {
        probe: verdict(safe=safe, score=score)
        for probe, safe, score in zip(PROBES, (True, False, False, True), scores, strict=True)
    }
    found = by_probe(TEMPLATE, outcomes)["score"]
    assert (status, True) == (found.status, told in found.detail)
    assert found.status != "wrong" or "logprobs=None" in found.remedy


def test_a_score_that_was_not_asked_for_is_told_as_such() -> None:
    assert "not asked for" in by_probe(UNKNOWN, outcomes_of("suus"))["score"].detail


def test_a_verdict_of_another_model_says_whose_it_is() -> None:
    another = Verdict(safe=True, model="some-chat-model")
    assert "some-chat-model" in by_probe(TEMPLATE, {"harmless prompt": another})["harmless prompt"].detail


def test_what_came_in_place_of_a_verdict_is_told() -> None:
    another = UnreadableVerdict("OpenRouter had another model answer than the guard that was asked: that is no verdict")
    found = by_probe(NOBODY_WRITES, {**outcomes_of("nnus"), "harmless prompt": another})
    assert found["harmless prompt"].detail.startswith("OpenRouter had another model answer")
