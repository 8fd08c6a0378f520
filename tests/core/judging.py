"""A guard that says what it is told to say, and what comes of calls in words that can be compared."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from llama_guard_core.errors import GuardUnavailable
from llama_guard_core.guardrail.screening import Check
from llama_guard_core.guardrail.verdict import Verdict


class Guard:
    """Answers each question with the next of the given words, and `safe` after the last.

    Args:
        said: `safe`, `unsafe`, `down` (no verdict) or `broken` (an error of its own).
        turns: how many turns of the event loop each answer takes, over and over.
    """

    def __init__(self, said: Sequence[str] = (), turns: Sequence[int] = (0,)) -> None:
        self.asked: list[Check] = []
        self.answered: list[int] = []
        self._said = list(said)
        self._turns = turns

    def said_of(self, number: int) -> str:
        """The word that a question was or will be answered with."""
        return self._said[number] if number < len(self._said) else "safe"

    def __call__(self, check: Check) -> Verdict:
        return self._answer(check, self._put(check))

    async def ask(self, check: Check) -> Verdict:
        number = self._put(check)
        for _ in range(self._turns[number % len(self._turns)]):
            await asyncio.sleep(0)
        return self._answer(check, number)

    def _put(self, check: Check) -> int:
        self.asked.append(check)
        return len(self.asked) - 1

    def _answer(self, check: Check, number: int) -> Verdict:
        said = self.said_of(number)
        self.answered.append(number)
        if said == "down":
            msg = "the host is down"
            raise GuardUnavailable(msg, reason="server", stage=check.stage)
        if said == "broken":
            raise LookupError(said)
        return Verdict(safe=said == "safe", stage=check.stage)


def caught(do: Callable[[], Any]) -> Any:
    """What comes of it: a result or the name of an error."""
    try:
        return do()
    except Exception as error:  # noqa: BLE001 - whatever it is, the other shell must do the same
        return type(error).__name__


async def acaught(awaitable: Awaitable[Any]) -> Any:
    """What comes of it: a result or the name of an error."""
    try:
        return await awaitable
    except Exception as error:  # noqa: BLE001 - whatever it is, the other shell must do the same
        return type(error).__name__


def words(decisions: Any) -> str:
    """A result in words: errors it holds are equal to no other error."""
    return repr(decisions)
