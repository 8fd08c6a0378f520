"""A reply whose words can be told apart wherever they turn up, and how much of it no verdict covered."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import InitVar, dataclass, field
from typing import Any

from fake_provider import FakeProvider

MARKER = "BOMB "
WORDS = tuple(MARKER if at == 40 else f"w{at:02d}{'.' if at % 6 == 5 else 'x'} " for at in range(60))
"""Sixty words in sentences of six, each the only one of its kind; the forty-first makes the reply unsafe."""
REPLY = "".join(WORDS)
REFUSAL = "I can't help with that."


@dataclass
class Seen:
    """What one way to stream showed, by channel."""

    provider: FakeProvider
    channels: InitVar[Iterable[str]]
    texts: dict[str, list[str]] = field(init=False)

    def __post_init__(self, channels: Iterable[str]) -> None:
        self.texts = {channel: [] for channel in channels}

    def note(self, channel: str, *things: Any) -> None:
        self.texts[channel].extend(map(repr, things))

    def text(self, channel: str) -> str:
        return " ".join(self.texts[channel])

    def leaked(self) -> dict[str, int]:
        """By channel, the characters of the reply that turned up although no safe verdict covers them."""
        uncovered = [word for word in WORDS if word.strip() not in self._covered]
        return {
            channel: sum(len(word) for word in uncovered if word.strip() in self.text(channel))
            for channel in self.texts
        }

    @property
    def _covered(self) -> str:
        judged = [asked.text for asked in self.provider.guard_questions if asked.role == "assistant"]
        return max((text for text in judged if MARKER.strip() not in text), key=len, default="")


def worst(cases: Iterable[Seen]) -> dict[str, int]:
    """By channel, the most that leaked in any of the cases."""
    most: dict[str, int] = {}
    for seen in cases:
        for channel, leaked in seen.leaked().items():
            most[channel] = max(most.get(channel, 0), leaked)
    return most
