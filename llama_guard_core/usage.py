"""What a call cost, in tokens and money."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the host counted them, and its price.

    Attributes:
        input_tokens: tokens read, cached ones included.
        output_tokens: tokens written.
        total_tokens: the host's own sum.
        cached_tokens: input tokens served from the host's prompt cache, where it says.
        cache_write_tokens: input tokens written to that cache, where it says.
        reasoning_tokens: output tokens spent on reasoning, where it says. May exceed `output_tokens`: hosts differ.
        cost: US dollars (OpenRouter credits), where it says.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost: float | None = None


def sum_of(usages: Sequence[Usage]) -> Usage | None:
    """What several calls cost together; `None` for no calls. Of what only some say, what these say is added up."""
    if len(usages) <= 1:
        return usages[0] if usages else None
    said = {field.name: [getattr(usage, field.name) for usage in usages] for field in fields(Usage)}
    known = {name: [count for count in counts if count is not None] for name, counts in said.items()}
    return Usage(**{name: sum(counts) for name, counts in known.items() if counts})
