"""What follows from a verdict, or from the lack of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llama_guard_core.errors import GuardUnavailable, UnsafeContent
from llama_guard_core.guardrail.hazards import HazardCategory
from llama_guard_core.guardrail.verdict import Stage, Verdict
from llama_guard_core.written import printable


@dataclass(frozen=True, slots=True)
class Allow:
    """The text may pass.

    Attributes:
        stage: what was judged; `None` if nothing was.
        verdict: what was said of it; `None` if it was not judged or could not be.
        flagged: hazards that were named and, by the policy, let through.
        overruled: true where monitor mode let pass what enforce mode would have refused.
        error: why there is no verdict, where the policy lets unjudged text pass.
    """

    stage: Stage | None = None
    verdict: Verdict | None = None
    flagged: tuple[HazardCategory, ...] = ()
    overruled: bool = False
    error: GuardUnavailable | None = None


@dataclass(frozen=True, slots=True)
class Refuse:
    """The text may not pass; `text` is shown in its place.

    Attributes:
        stage: what was judged.
        text: the refusal.
        verdict: what was said of it; `None` if no verdict could be had.
        error: why there is no verdict.
    """

    stage: Stage
    text: str
    verdict: Verdict | None = None
    error: GuardUnavailable | None = None


@dataclass(frozen=True, slots=True)
class Raise:
    """The text may not pass, and the policy asks for an exception."""

    stage: Stage
    error: UnsafeContent | GuardUnavailable


Decision = Allow | Refuse | Raise


def decision_record(decision: Allow | Refuse) -> dict[str, Any]:
    """A decision as plain JSON values for metadata and traces; it holds no judged text."""
    record: dict[str, Any] = {
        "action": "allow" if isinstance(decision, Allow) else "refuse",
        "stage": decision.stage.value if decision.stage else None,
        "verdict": None if decision.verdict is None else decision.verdict.as_dict(),
        "no_verdict": decision.error.reason if decision.error else None,
    }
    if isinstance(decision, Allow):
        record["flagged"] = [category.code for category in decision.flagged]
        record["overruled"] = decision.overruled
    return record


def decision_records(decision: Allow | Refuse) -> list[dict[str, Any]]:
    """The record of a decision, if there was one to take: nothing to judge leaves no record."""
    judged = decision.verdict is not None or decision.error is not None
    return [decision_record(decision)] if judged else []


def strictest(decisions: Sequence[Decision]) -> Decision:
    """The first that does not allow; else the first that allows only because a policy says so; else the first."""
    withheld = [decision for decision in decisions if not isinstance(decision, Allow)]
    noted = [
        decision for decision in decisions if isinstance(decision, Allow) and (decision.overruled or decision.flagged)
    ]
    return (*withheld, *noted, *decisions)[0]


def refusal_error(refusal: Refuse) -> UnsafeContent | GuardUnavailable:
    """A refusal as an exception, for places that have no way to show a text."""
    if refusal.error is not None:
        return refusal.error
    if refusal.verdict is None:
        msg = "a refusal has a verdict, or a reason why there is none"
        raise ValueError(msg)
    return unsafe_content(refusal.verdict, refusal.text)


def unsafe_content(verdict: Verdict, refusal: str) -> UnsafeContent:
    """The exception that says that a verdict is unsafe."""
    named = printable(", ".join(map(str, verdict.categories))) or "no hazard named"
    msg = f"Llama Guard judged the {verdict.stage.value.replace('_', ' ')} unsafe ({named})"
    return UnsafeContent(msg, stage=verdict.stage, verdict=verdict, refusal=refusal)
