"""The log-probabilities of an answer's tokens, in the three shapes that hosts write them in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class TokenLogProbs:
    """One token that was written, and what could have been written there.

    Attributes:
        token: its text.
        logprob: the natural logarithm of its probability.
        alternatives: the likeliest tokens at its place, itself among them where the host says so.
    """

    token: str
    logprob: float
    alternatives: Mapping[str, float] = field(default_factory=dict)


def read_token_logprobs(logprobs: Mapping[str, Any] | None) -> list[TokenLogProbs]:
    """Read what a host sent as `logprobs`; nothing where it makes no sense.

    Args:
        logprobs: `{"content": [{"token", "logprob", "top_logprobs": [...]}]}` as in chats at OpenAI, vLLM, llama.cpp
            and Ollama; or `{"tokens": [...], "token_logprobs": [...], "top_logprobs": [{token: logprob}]}` as in raw
            completions, and at Together.
    """
    if not logprobs:
        return []
    if isinstance(content := logprobs.get("content"), list):
        return [found for item in content if isinstance(item, Mapping) for found in _from_content(item)]
    tokens, values = logprobs.get("tokens"), logprobs.get("token_logprobs")
    if not isinstance(tokens, list) or not isinstance(values, list):
        return []
    tops = logprobs.get("top_logprobs")
    tops = tops if isinstance(tops, list) else []
    return [
        TokenLogProbs(token, value, _alternatives(tops[at] if at < len(tops) else None))
        for at, (token, value) in enumerate(zip(tokens, values, strict=False))
        if isinstance(token, str) and isinstance(value, int | float)
    ]


def _from_content(item: Mapping[str, Any]) -> Iterator[TokenLogProbs]:
    token, value = item.get("token"), item.get("logprob")
    if isinstance(token, str) and isinstance(value, int | float):
        yield TokenLogProbs(token, float(value), _alternatives(item.get("top_logprobs")))


def _alternatives(found: object) -> dict[str, float]:
    if isinstance(found, Mapping):
        return {str(token): float(value) for token, value in found.items() if isinstance(value, int | float)}
    if not isinstance(found, list):
        return {}
    pairs = ((item.get("token"), item.get("logprob")) for item in found if isinstance(item, Mapping))
    return {text: float(value) for text, value in pairs if isinstance(text, str) and isinstance(value, int | float)}
