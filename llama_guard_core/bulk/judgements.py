"""What came of one row: a verdict, or why there is none, as plain values for files and tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from typing_extensions import Self

from llama_guard_core.errors import GuardUnavailable
from llama_guard_core.guardrail.verdict import Stage, Verdict

Outcome = Literal["judged", "unreadable", "unavailable", "not_judgeable"]
"""`unreadable`: the guard answered something that is no verdict. `unavailable`: no answer could be had.
`not_judgeable`: the row holds what this guard cannot be asked about, or no text."""

_OUTCOMES: Mapping[str, Outcome] = {"unreadable": "unreadable", "not_judgeable": "not_judgeable"}
_EVERY_RUN_THE_SAME = ("outcome", "stage", "safe", "categories", "all_named", "score", "reason", "model")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What came of one row. It holds no judged text but what the caller chose to keep.

    Attributes:
        row: the row's place in its input, from 0.
        outcome: whether there is a verdict, and if not, why.
        stage: what was judged; `None` where that could not be told.
        kept: columns of the input that were carried over.
        safe: what the guard said; `None` without a verdict, which is never safe.
        categories: the codes of the hazards it named, in its order.
        all_named: false where that list may be incomplete; `None` without a verdict.
        score: the probability of `unsafe`, where the host tells it.
        reason: why there is no verdict: a `FailureReason`, `unreadable` or `not_judgeable`.
        model: the model that answered, as the host names it.
        provider: the provider behind the router, where it is named.
        host: the host that answered.
        input_tokens: tokens read; `None` where the host does not say, and for a cached verdict.
        output_tokens: tokens written.
        cost: US dollars, where the host says.
        latency: seconds from question to verdict, retries included; `None` for a cached verdict.
        cached: whether the verdict was known.
        generation_id: the id to look the call up by at the host.
    """

    row: int
    outcome: Outcome
    stage: str | None = None
    kept: Mapping[str, Any] = field(default_factory=dict, repr=False)
    safe: bool | None = None
    categories: tuple[str, ...] = ()
    all_named: bool | None = None
    score: float | None = None
    reason: str | None = None
    model: str | None = None
    provider: str | None = None
    host: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: float | None = None
    latency: float | None = None
    cached: bool = False
    generation_id: str | None = None

    @classmethod
    def of(
        cls,
        row: int,
        outcome: Verdict | GuardUnavailable,
        *,
        stage: Stage | None = None,
        kept: Mapping[str, Any] | None = None,
    ) -> Self:
        """What came of a check.

        Args:
            row: the row's place.
            outcome: the verdict, or what was raised instead.
            stage: what was judged, where the outcome does not say.
            kept: columns to carry over.
        """
        named = outcome.stage or stage
        common: dict[str, Any] = {"row": row, "stage": named.value if named else None, "kept": dict(kept or {})}
        if isinstance(outcome, GuardUnavailable):
            return cls(**common, outcome=_OUTCOMES.get(outcome.reason, "unavailable"), reason=outcome.reason)
        usage = outcome.usage
        return cls(
            **common,
            outcome="judged",
            safe=outcome.safe,
            categories=tuple(category.code for category in outcome.categories),
            all_named=outcome.all_named,
            score=outcome.score,
            model=outcome.model,
            provider=outcome.provider,
            host=outcome.host,
            input_tokens=usage.input_tokens if usage else None,
            output_tokens=usage.output_tokens if usage else None,
            cost=usage.cost if usage else None,
            latency=outcome.latency,
            cached=outcome.cached,
            generation_id=outcome.generation_id,
        )

    def as_dict(self, *, details: bool = True) -> dict[str, Any]:
        """One flat record of plain JSON values: the row, the kept columns, then what came of it.

        Args:
            details: with what differs from run to run: provider, tokens, cost, latency, ids.
        """
        names = [each.name for each in fields(self) if each.name not in ("row", "kept")]
        chosen = names if details else [name for name in names if name in _EVERY_RUN_THE_SAME]
        said = {name: getattr(self, name) for name in chosen}
        return {"row": self.row, **self.kept, **said, "categories": list(self.categories)}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """Read what `as_dict` wrote; what is no column of ours was kept from the input."""
        ours = {each.name for each in fields(cls)} - {"kept"}
        kept = {name: value for name, value in record.items() if name not in ours}
        said = {name: value for name, value in record.items() if name in ours}
        return cls(**{**said, "categories": tuple(record.get("categories") or ())}, kept=kept)
