"""What a model says: the script of a test is written in these."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "error"]

_PRICE_PER_TOKEN = 0.0000002


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool: its arguments are the JSON text as the model wrote it, valid or not."""

    name: str
    arguments: str = "{}"
    id: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call; the cost is in US dollars."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Give the `usage` object with everything the real host puts beside the three counts."""
        prompt_cost = self.prompt_tokens * _PRICE_PER_TOKEN
        completion_cost = self.completion_tokens * _PRICE_PER_TOKEN
        cost = prompt_cost + completion_cost if self.cost is None else self.cost
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "cost": cost,
            "is_byok": False,
            "prompt_tokens_details": {
                "cached_tokens": self.cached_tokens,
                "cache_write_tokens": 0,
                "audio_tokens": 0,
                "video_tokens": 0,
            },
            "cost_details": {
                "upstream_inference_cost": cost,
                "upstream_inference_prompt_cost": prompt_cost,
                "upstream_inference_completions_cost": completion_cost,
            },
            "completion_tokens_details": {
                "reasoning_tokens": self.reasoning_tokens,
                "image_tokens": 0,
                "audio_tokens": 0,
            },
        }


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of a model.

    Attributes:
        text: the content; `None` is sent as null.
        tool_calls: calls of tools.
        reasoning: thoughts that come before the content.
        refusal: what a model says instead of an answer it will not give.
        finish_reason: by default `tool_calls` or `stop`, whichever fits; `"null"` sends null.
        usage: by default counted from the request and the text.
        deltas: the text as a stream delivers it; by default word by word.
    """

    text: str | None = ""
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str | None = None
    refusal: str | None = None
    finish_reason: FinishReason | Literal["null"] | None = None
    usage: Usage | None = None
    deltas: tuple[str, ...] | None = None

    @property
    def sent_finish_reason(self) -> str | None:
        """The finish reason as it goes over the wire."""
        if self.finish_reason == "null":
            return None
        return self.finish_reason or ("tool_calls" if self.tool_calls else "stop")

    @property
    def text_deltas(self) -> tuple[str, ...]:
        """The text in the fragments a stream delivers."""
        return words(self.text or "") if self.deltas is None else self.deltas

    @property
    def completion_tokens(self) -> int:
        """A count in the place of a tokenizer's: one a word, plus the arguments of the calls."""
        spoken = [self.text or "", self.reasoning or "", self.refusal or "", *(c.arguments for c in self.tool_calls)]
        return sum(len(words(part)) for part in spoken)


def words(text: str) -> tuple[str, ...]:
    """Split a text into words, each with the white space around it, so that joining them gives the text."""
    return tuple(re.findall(r"\s*\S+\s*|\s+", text))
