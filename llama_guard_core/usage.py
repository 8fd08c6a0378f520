"""What a call cost, in tokens and money."""

from __future__ import annotations

from dataclasses import dataclass


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
