"""From what a guard answered to the probes to what is wrong with it, and what to do about that."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from llama_guard_core.errors import GuardUnavailable, ProviderError
from llama_guard_core.guard_host import GuardHost
from llama_guard_core.guardrail.verdict import Verdict
from llama_guard_core.provider.failures import failure
from llama_guard_core.self_test import remedies
from llama_guard_core.self_test.report import Finding

Probe = Literal["harmless prompt", "harmful prompt", "harmful reply", "refusing reply", "picture"]
Outcome = Verdict | GuardUnavailable
Outcomes = Mapping[Probe, Outcome]
"""What came of each probe. One that was not put is not in it."""

_SAFE_EXPECTED: Mapping[Probe, bool] = {
    "harmless prompt": True,
    "harmful prompt": False,
    "harmful reply": False,
    "refusing reply": True,
}
_NOT_ASKED = "not asked, after what came of the probes before"
_IMAGES_REFUSED = ("invalid_request", "not_found", "permission", "too_large", "not_judgeable")
_EVEN = 0.5


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is known to go wrong with guards, and how it shows.

    Attributes:
        pattern: what is answered to the four texts in their order: `s`afe, `u`nsafe, something that is `n`o verdict;
            `-` where the host failed, or was not asked.
        seen: what that means.
        remedy: what to do about it at a host.
    """

    pattern: re.Pattern[str]
    seen: str
    remedy: Callable[[GuardHost], str]


FAULTS = (
    Fault(re.compile("nn.."), "the guard's prompt is not applied, or this is no Llama Guard", remedies.for_no_verdicts),
    Fault(re.compile("[su][su]n[n-]"), "a reply is continued or repeated in place of judged", remedies.for_continued),
    Fault(re.compile("ss[s-][s-]"), "everything is safe, as if nothing had been said", remedies.for_unseen_text),
    Fault(re.compile("uu[u-][u-]"), "everything is unsafe, whatever is said", remedies.for_everything_unsafe),
    Fault(re.compile("sus[su-]"), "the user is judged where the reply should be", remedies.for_wrong_turn),
    Fault(re.compile("suuu"), "what the user said before counts against a reply", remedies.for_earlier_turns),
    Fault(re.compile(".*n.*"), "not every answer is a verdict", remedies.for_no_verdicts),
    Fault(re.compile(".*"), "the verdict does not follow the text", remedies.for_everything_unsafe),
)
"""The first whose pattern fits is meant."""


def findings(host: GuardHost, outcomes: Outcomes) -> tuple[Finding, ...]:
    """What the probes found, with the remedies for what is wrong.

    What a host does with the bytes of a picture is told by the number of tokens alone: one that wrote them into the
    prompt as text would be taken for one that looked.

    Args:
        host: how the guard was asked.
        outcomes: what came of it.
    """
    return (*_of_texts(host, outcomes), _of_picture(host, outcomes), _of_score(host, outcomes))


def _of_texts(host: GuardHost, outcomes: Outcomes) -> Iterator[Finding]:
    pattern = "".join(_letter(outcomes.get(probe)) for probe in _SAFE_EXPECTED)
    fault = next(fault for fault in FAULTS if fault.pattern.fullmatch(pattern))
    for probe, is_safe_expected in _SAFE_EXPECTED.items():
        outcome = outcomes.get(probe)
        if outcome is None:
            yield Finding(probe, "unknown", _NOT_ASKED)
        elif isinstance(outcome, Verdict) and outcome.safe == is_safe_expected:
            yield Finding(probe, "ok", _said(outcome) + _by_another(host, outcome))
        elif isinstance(outcome, Verdict):
            detail = f"{_said(outcome)}, and should be {'safe' if is_safe_expected else 'unsafe'}: {fault.seen}"
            yield Finding(probe, "wrong", detail, fault.remedy(host))
        elif _letter(outcome) == "n":
            happened = _failure(host, outcome)[0].partition(": ")[0]
            yield Finding(probe, "wrong", f"{happened}: {fault.seen}", fault.remedy(host))
        else:
            happened, advice = _failure(host, outcome)
            yield Finding(probe, "wrong", happened, remedies.for_failure(host, outcome) or advice)


def _letter(outcome: Outcome | None) -> str:
    if isinstance(outcome, Verdict):
        return "s" if outcome.safe else "u"
    # A reply that is continued may end at once, and the answer be empty.
    return "n" if outcome is not None and outcome.reason in ("unreadable", "empty") else "-"


def _said(verdict: Verdict) -> str:
    codes = ", ".join(category.code for category in verdict.categories)
    return "safe" if verdict.safe else f"unsafe ({codes})" if codes else "unsafe, without saying what"


def _by_another(host: GuardHost, verdict: Verdict) -> str:
    named = verdict.model
    return f"; the answer is from {named!r}" if named and named.lower() != host.asked_model.lower() else ""


def _failure(host: GuardHost, error: GuardUnavailable) -> tuple[str, str]:
    """What a host failed with, and the usual advice about it."""
    failed = error.__cause__
    if not isinstance(failed, ProviderError):
        return str(error), ""
    advice = str(failure(reason=failed.reason)).partition(". ")[2]
    return str(failed).removeprefix(f"{host.host.name}: ").removesuffix(advice).rstrip(" ."), advice


def _of_picture(host: GuardHost, outcomes: Outcomes) -> Finding:
    shown, without = outcomes.get("picture"), outcomes.get("harmless prompt")
    if shown is None:
        return Finding("picture", "unknown", _NOT_ASKED)
    if not isinstance(without, Verdict):
        return Finding("picture", "unknown", "the same text is not judged without a picture either")
    if isinstance(shown, Verdict):
        return _of_shown_picture(shown, without)
    if shown.reason in _IMAGES_REFUSED:
        return Finding("picture", "not offered", _failure(host, shown)[0])
    if _letter(shown) == "n":
        return Finding("picture", "wrong", "no verdict where a picture is shown", remedies.FOR_PICTURES)
    return Finding("picture", "unknown", *_failure(host, shown))


def _of_shown_picture(shown: Verdict, without: Verdict) -> Finding:
    tokens = [verdict.usage.input_tokens if verdict.usage else 0 for verdict in (without, shown)]
    if not all(tokens):
        why = "the host does not say how many tokens it read, with the picture and without"
        return Finding("picture", "unknown", why, remedies.FOR_UNCOUNTED_PICTURES)
    told = f"{tokens[0]} tokens without it, {tokens[1]} with it"
    if tokens[1] <= tokens[0]:
        return Finding("picture", "wrong", f"passed unseen: {told}", remedies.FOR_UNSEEN_PICTURES)
    if without.provider != shown.provider:
        why = f"two providers answered, who may count differently: {told}"
        return Finding("picture", "unknown", why, remedies.FOR_SEVERAL_PROVIDERS)
    if not shown.safe:
        return Finding("picture", "wrong", f"{_said(shown)}, though harmless: {told}", remedies.FOR_PICTURES)
    return Finding("picture", "ok", f"seen: {told}")


def _of_score(host: GuardHost, outcomes: Outcomes) -> Finding:
    verdicts = [each for probe in _SAFE_EXPECTED if isinstance(each := outcomes.get(probe), Verdict)]
    if not verdicts:
        return Finding("score", "unknown", "there is no verdict that could carry one")
    scored = [(verdict.score, verdict.safe) for verdict in verdicts if verdict.score is not None]
    if not scored:
        is_asked = host.host.logprobs is not None or host.endpoint == "ollama"
        what = "asked for, and none can be read" if is_asked else "not asked for: the host is not known to give any"
        return Finding("score", "not offered", f"{what}. Thresholds of a policy do nothing here")
    told = ", ".join(f"{score:.2f} for {'safe' if safe else 'unsafe'}" for score, safe in scored)
    if any(safe == (score > _EVEN) for score, safe in scored):
        return Finding("score", "wrong", f"it contradicts the verdict: {told}", remedies.for_wrong_scores(host))
    if len(scored) < len(verdicts):
        return Finding("score", "unknown", f"only some verdicts carry one: {told}")
    return Finding("score", "ok", told)
