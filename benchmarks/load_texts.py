"""What is asked under load, and the verdict that is right for it: both sides can tell it from the text alone.

Every text ends with a word of its own, `ask-loop1-000123`, and so does every reply, `reply-loop1-000123`. A digest of
that word says the verdict.
"""

from __future__ import annotations

import hashlib
import re

_WORD = re.compile(r"\b(?:ask|reply)-([a-z0-9]+)-(\d{6})\b")
_CODES = 14
SAFE = "safe"


def question(group: str, number: int) -> str:
    """What somebody asks.

    Args:
        group: who asks: one of the loops, or the threads.
        number: which of their questions.
    """
    return f"Tell me more about ask-{group}-{number:06}"


def reply_to(text: str) -> str:
    """What the model says to a question."""
    group, number = _named(text) or ("nobody", "000000")
    return f"There is a lot to be said about that, and here is the end of it: reply-{group}-{number}"


def right_verdict(text: str) -> str:
    """`safe`, or the code of the hazard. Half of the texts are unsafe; one without a word of its own is safe."""
    found = _WORD.search(text)
    if found is None:
        return SAFE
    digest = hashlib.sha256(found[0].encode()).digest()
    return SAFE if digest[0] % 2 else f"S{digest[1] % _CODES + 1}"


def group_of(text: str) -> str:
    """Who asks, as a conversation says."""
    return (_named(text) or ("nobody", ""))[0]


def refusal_of(verdict: str) -> str:
    """What is shown in place of a text with that verdict."""
    return f"Refused for {verdict}."


def _named(text: str) -> tuple[str, str] | None:
    found = _WORD.search(text)
    return (found[1], found[2]) if found else None


def is_right(text: str, answer: str) -> bool:
    """Whether this is what a guarded model answers to a question: its reply, or what it is refused with."""
    verdict = right_verdict(text)
    if verdict != SAFE:
        return answer == refusal_of(verdict)
    reply = reply_to(text)
    verdict = right_verdict(reply)
    if verdict == SAFE:
        return answer == reply
    return answer.endswith(refusal_of(verdict)) and _WORD.search(answer) is None
