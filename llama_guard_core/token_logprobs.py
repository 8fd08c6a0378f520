"""The log-probabilities of an answer's tokens, in the three shapes that hosts write them in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any


@dataclass(frozen=True, slots=True)
class TokenLogProbs:
    """One token that was written, and what could have been written there.

    Attributes:
        token: its text.
        logprob: the natural logarithm of its probability; not a number where the host tells none.
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
        items = [item if isinstance(item, Mapping) else {} for item in content]
        rows = [(item.get("token"), item.get("logprob"), item.get("top_logprobs")) for item in items]
    else:
        tokens, values, tops = (_list(logprobs.get(name)) for name in ("tokens", "token_logprobs", "top_logprobs"))
        rows = [*zip_longest(tokens, values[: len(tokens)], tops[: len(tokens)])]
    found: list[TokenLogProbs] = []
    for token, value, top in rows:
        if not isinstance(token, str):
            break  # what follows an unknown token may be another's
        found.append(TokenLogProbs(token, _number(value), _alternatives(top)))
    return found


def _list(found: object) -> list[Any]:
    return found if isinstance(found, list) else []


def _alternatives(found: object) -> dict[str, float]:
    if isinstance(found, Mapping):
        return {str(token): _number(value) for token, value in found.items()}
    items = [item for item in _list(found) if isinstance(item, Mapping)]
    return {token: _number(item.get("logprob")) for item in items if isinstance(token := item.get("token"), str)}


def _number(value: object) -> float:
    """The number; not a number where there is none that a probability could be made of."""
    try:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        return math.nan
