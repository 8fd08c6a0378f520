"""How many rows are done, what came of them, and what they cost."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from llama_guard_core.bulk.judgements import Judgement


@dataclass(slots=True)
class Tally:
    """Counts over the rows of a run.

    Attributes:
        rows: rows that are done, with or without a verdict.
        unsafe: rows that were judged unsafe.
        outcomes: rows by outcome.
        reasons: rows without a verdict, by reason.
        input_tokens: tokens read, as far as hosts told.
        output_tokens: tokens written.
        cost: US dollars, as far as hosts told. What failed attempts cost is not known.
        priced: rows whose cost was told.
        cached: rows whose verdict was known, and cost nothing.
    """

    rows: int = 0
    unsafe: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    priced: int = 0
    cached: int = 0

    @property
    def unjudged(self) -> int:
        """Rows without a verdict."""
        return self.rows - self.outcomes["judged"]

    def add(self, judgement: Judgement) -> None:
        """Count one row."""
        self.rows += 1
        self.unsafe += judgement.safe is False
        self.outcomes[judgement.outcome] += 1
        if judgement.reason:
            self.reasons[judgement.reason] += 1
        self.input_tokens += judgement.input_tokens or 0
        self.output_tokens += judgement.output_tokens or 0
        self.cached += judgement.cached
        if judgement.cost is not None:
            self.cost += judgement.cost
            self.priced += 1
