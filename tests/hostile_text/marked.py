"""Texts that can be found again, and whether they are: in a message, or in what the guard is asked about it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from hostile_text.counting import Row, cases_of
from hostile_text.junk import CONTROLS, deep
from llama_guard_core.errors import GuardUnavailable
from llama_guard_core.guardrail.hardening import Hardening
from llama_guard_core.guardrail.prompt import guard_questions, without_instructions
from llama_guard_core.guardrail.splitting import Splitting
from llama_guard_core.guardrail.verdict import Stage
from llama_guard_core.messages import Conversation, Image, Message, Text, Unjudgeable

M = TypeVar("M")
_ALL_OF_IT = Splitting(max_chunks=4096)
_AROUND = [
    *CONTROLS,
    "",
    "",
    " ",
    "\n\nUser: ",
    "<|eot|>",
    "😀",
    "\ud800",
    "\\",
    '"',
    "'",
    "{",
    "\uff53\uff41\uff46\uff45",
    "é" * 40,
    "a" * 3000,
]


class Marks:
    """Makes texts with a mark in each, which no hardening changes, and remembers the marks.

    Args:
        chance: what stands around the marks.
    """

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.made: list[str] = []

    def text(self) -> str:
        """A text with a new mark in it."""
        return f"{self.chance.choice(_AROUND)} {self.word()} {self.chance.choice(_AROUND)}"

    def word(self) -> str:
        """A new mark alone."""
        self.made.append(f"zq{len(self.made)}qz")
        return self.made[-1]

    def url(self) -> str:
        """The address of a picture."""
        return f"https://example.com/{self.word()}.png"

    def value(self, depth: int = 3) -> Any:
        """A value of any kind, with a mark in each text of it."""
        match self.chance.randint(0, 9 if depth else 3):
            case 0 | 1:
                return self.text()
            case 2:
                return self.chance.choice([None, 1, float("nan"), True, "", b"bytes", {1}, 10**30, object, deep(30)])
            case 3:
                return self.word().encode()
            case 4 | 5 | 6:
                return [self.value(depth - 1) for _ in range(self.chance.randint(0, 3))]
            case _:
                return {self.word(): self.value(depth - 1) for _ in range(self.chance.randint(0, 3))}

    def mapping(self) -> dict[str, Any]:
        """Values by name; one time in many of a kind that cannot be written as JSON, or holding themselves."""
        made: dict[Any, Any] = {self.word(): self.value() for _ in range(self.chance.randint(0, 2))}
        odd = self.chance.random()
        if odd < 0.03:
            made["itself"] = made
        elif odd < 0.06:
            made["fails"] = Fails()
        elif odd < 0.08:
            made["deep"] = deep(self.chance.choice([900, 990, 5000]))
        return made


class Fails:
    """An object that cannot be written out."""

    def __str__(self) -> str:
        raise LookupError

    __repr__ = __str__


def check_message(row: Row, message: Message, marks: Sequence[str], what: object) -> None:
    """Every mark turns up in the message, or it says that it holds what cannot be judged."""
    if lost := _lost(message, marks):
        row.wrong("dropped parts", (lost, what))
        return
    is_refused = any(isinstance(part, Unjudgeable) for part in message.parts)
    row.outcomes["not judgeable" if is_refused else "whole"] += 1


def _lost(message: Message, marks: Iterable[str]) -> list[str]:
    if any(isinstance(part, Unjudgeable) for part in message.parts):
        return []
    calls = (f"{call.id} {call.name} {call.arguments}" for call in message.tool_calls)
    images = (part.url for part in message.parts if isinstance(part, Image))
    said = "\n".join([*(part.text for part in message.parts if hasattr(part, "text")), *images, *calls])
    return [mark for mark in marks if mark not in said]


def check_asked(row: Row, conversation: Conversation, stage: Stage, marks: Sequence[Sequence[str]]) -> None:
    """Every mark of what is said turns up in what the guard is asked, or the guard refuses.

    Args:
        row: what it is counted in.
        conversation: the messages.
        stage: what is judged.
        marks: those of each message. What cannot be judged is shown to the guard as such in earlier turns.
    """
    questions = guard_questions(conversation, stage, _ALL_OF_IT, Hardening(both_forms=False))
    turns = [turn for question in questions for turn in question]
    asked = "\n".join([*(turn.text for turn in turns), *(image.url for turn in turns for image in turn.images)])
    spoken = without_instructions(conversation)
    for message, made in zip(conversation, marks, strict=True):
        is_unread = any(isinstance(part, Unjudgeable) for part in message.parts) or message.role == "assistant"
        lost = [mark for mark in made if mark not in asked]
        if message in spoken and lost and not (is_unread and all(map(message_hides(message), lost))):
            row.wrong("dropped parts", (lost, conversation))
            return
    row.outcomes["asked"] += 1


def message_hides(message: Message) -> Any:
    """Whether a mark stands in what a message holds and the guard is only told of: pictures in a reply, sound, files."""
    texts = "\n".join([part.text for part in message.parts if hasattr(part, "text")])
    calls = "\n".join(f"{call.name} {call.arguments}" for call in message.tool_calls)
    return lambda mark: mark not in texts and mark not in calls


def conversations(
    name: str,
    seed: int,
    cases: int,
    message: Callable[[Marks], M | None],
    conversation_of: Callable[[list[M]], Conversation],
) -> Row:
    """Whole conversations, converted and asked about.

    Args:
        name: the row's.
        seed: what chance begins with.
        cases: how many.
        message: makes a message; `None` where the framework itself refuses to make it.
        conversation_of: the converter under test.
    """
    row = Row(name)
    for chance, _ in cases_of(row.name, seed, cases):
        said, made, before = [], [], 0
        marks = Marks(chance)
        for _ in range(chance.randint(1, 6)):
            if (one := message(marks)) is not None:
                said.append(one)
                made.append(marks.made[before:])
            before = len(marks.made)
        with row.case(made, typed=TYPED):
            conversation = conversation_of(said)
            for stage in stages_for(conversation):
                check_asked(row, conversation, stage, made)
    return row


def stages_for(conversation: Conversation) -> Iterable[Stage]:
    """What the end of a conversation may be judged as."""
    spoken = without_instructions(conversation)
    return (Stage.REPLY,) if spoken and spoken[-1].role == "assistant" else (Stage.PROMPT, Stage.TOOL_RESULT)


TYPED = (GuardUnavailable,)


def plain_of(conversation: Conversation) -> list[Any]:
    """What messages say, without what says nothing."""
    return [
        (
            message.role,
            "\n".join(part.text for part in message.parts if isinstance(part, Text) and part.text),
            [part.url for part in message.parts if isinstance(part, Image)],
            message.tool_calls,
        )
        for message in conversation
    ]
