"""The words by which a text under test is known wherever it turns up."""

from __future__ import annotations

from dataclasses import dataclass

MARK = "marzipanquokka"
"""Stands in every text under test, with the number of its case behind it."""
UNSAFE_MARK = "wolperdingerzwei"
"""Stands in a text that the guard, being well, calls unsafe."""
APOLOGIES = ("a safety check could not be completed", "t help with that.")
"""What the refusals of a default policy hold, however they are quoted."""

STAGES = ("prompt", "reply", "tool call", "tool result", "document", "model", "calling model")
"""What is under test. With `model`, and `calling model`, the guard is well, and it is the model's host that fails."""
OF_A_MODEL = ("model", "calling model")
"""Where the model's host fails in the middle of its words, or of its call of a tool."""


@dataclass(frozen=True, slots=True)
class Script:
    """The texts of one case: the one of its stage carries the mark, no text is the same in two cases."""

    number: int
    stage: str

    @property
    def prompt(self) -> str:
        return f"Tell me about {self._word('prompt')}, please."

    @property
    def reply(self) -> str:
        return f"Here is all that I know about it so far. {self._word('reply', 'model')} it is, and no more than that."

    @property
    def query(self) -> str:
        """The argument of the model's tool call."""
        return f"about {self._word('tool call', 'calling model')}"

    @property
    def result(self) -> str:
        """What the tool gives."""
        return f"Found {self._word('tool result')} there."

    @property
    def documents(self) -> tuple[str, str]:
        """Two passages, the second under test."""
        return f"The museum shows clock {self.number}.", f"The museum keeps {self._word('document')} below."

    def _word(self, *stages: str) -> str:
        return f"{MARK if self.stage in stages else 'item'}{self.number:05}"
