"""An answer, token by token, with the probabilities that a host may tell of them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

UNSAFE = {"unsafe": 0.95, "safe": 0.04, "Unsafe": 0.005}
SAFE = {"safe": 0.97, "unsafe": 0.02, "Safe": 0.005}
SCORE_OF_UNSAFE = 0.95 / (0.95 + 0.04)
"""The probability of `unsafe` against `safe` at the word of an unsafe verdict."""
SCORE_OF_SAFE = 0.02 / (0.97 + 0.02)

_LINE_BREAKS = {"\n\n": 0.9998, "unsafe": 0.00006, "safe": 0.00003}
"""What stands before the verdict is near 1, and says nothing of it."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token, and the probabilities of what could have stood there."""

    text: str
    chances: Mapping[str, float]

    @property
    def logprob(self) -> float:
        """Its own log-probability."""
        return math.log(self.chances[self.text])

    def top(self, most: int) -> list[tuple[str, float]]:
        """The likeliest tokens with their log-probabilities."""
        likeliest = sorted(self.chances.items(), key=lambda chance: -chance[1])
        return [(text, math.log(chance)) for text, chance in likeliest[:most]]


@dataclass(frozen=True, slots=True)
class Spoken:
    """An answer.

    Attributes:
        tokens: its tokens.
        cut: whether the token limit ended it.
    """

    tokens: tuple[Token, ...]
    cut: bool = False

    @property
    def text(self) -> str:
        """The answer as text."""
        return "".join(token.text for token in self.tokens)

    def within(self, most: int | None) -> Spoken:
        """As much of it as a token limit leaves."""
        return self if most is None or len(self.tokens) <= most else replace(self, tokens=self.tokens[:most], cut=True)

    def as_content(self, most: int) -> dict[str, Any]:
        """Its log-probabilities as OpenAI's chats, vLLM and llama.cpp write them."""
        return {"content": self.as_list(most)}

    def as_list(self, most: int) -> list[dict[str, Any]]:
        """The same, bare, as Ollama writes them."""
        return [
            {**_entry(token.text, token.logprob), "top_logprobs": [_entry(*chance) for chance in token.top(most)]}
            for token in self.tokens
        ]

    def as_columns(self, most: int) -> dict[str, Any]:
        """As raw completions write them, and Together."""
        return {
            "tokens": [token.text for token in self.tokens],
            "token_logprobs": [token.logprob for token in self.tokens],
            "top_logprobs": [dict(token.top(most)) for token in self.tokens],
        }


def verdict(codes: Sequence[str], *, begins: str = "\n\n", joined: str = ",", ends: str = "") -> Spoken:
    """A verdict in Llama Guard's words: the first token is a line break, unless the host takes it off."""
    before = [Token(begins, _LINE_BREAKS)] if begins else []
    said = Token("unsafe", UNSAFE) if codes else Token("safe", SAFE)
    behind = [*(["\n"] if codes else []), *re.findall(r"S|O|\d+|\D", joined.join(codes)), *([ends] if ends else [])]
    return Spoken((*before, said, *(Token(text, {text: 0.99}) for text in behind)))


def prose(text: str) -> Spoken:
    """What a chat model says, or a guard whose host applied no guard prompt."""
    return Spoken(tuple(Token(word, {word: 0.4}) for word in re.findall(r"\s*\S+", text)))


def _entry(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": [*text.encode()]}
