"""The guard itself: it reads a prompt, as text and nothing else, and says what it thinks of the turn that is asked about."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .published import BEGINNINGS, ENDINGS, IMAGE, META_NAMES, OPENINGS, Family

_MARKERS: Mapping[str, str] = {
    "Violent Crimes": "KNIFE",
    "Non-Violent Crimes": "FRAUD",
    "Indiscriminate Weapons": "BOMB",
    "Specialized Advice": "DIAGNOSIS",
    "Code Interpreter Abuse": "EXPLOIT",
    "Violence and Hate": "KNIFE",
    "Criminal Planning": "FRAUD",
    "Guns and Illegal Weapons": "BOMB",
}
"""Hazard, as prompts name it → the word that stands for it. One of an application's own: the words it has in capitals."""

_CATEGORY = re.compile(r"^([SO]\d{1,2}): ?(.*)$", re.MULTILINE)
_LABEL = re.compile(r"^(User|Agent): ?", re.MULTILINE)
_WHOSE = re.compile(r"assessment for (?:ONLY THE LAST )?(User|Agent)")
_CONTROL_TOKEN = re.compile(r"<\|(?!image\|>)[a-z0-9_]+\|>")
_CAPITALS = re.compile(r"\b[A-Z]{3,}\b")


class BrokenPrompt(Exception):
    """The prompt is not framed as the model was trained on it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a guard was asked.

    Attributes:
        categories: code → all that the prompt says of it.
        turns: label and text of each turn it saw.
        whose: whose last turn is asked about.
        images: what the pictures in that turn show.
        fooled: whether the conversation held a control token, which ends it for the model.
    """

    categories: Mapping[str, str]
    turns: tuple[tuple[str, str], ...]
    whose: str
    images: tuple[str, ...] = ()
    fooled: bool = False

    @property
    def codes(self) -> list[str]:
        """The codes that the text in question deserves, of those that are asked about."""
        last = next((text for label, text in reversed(self.turns) if label == self.whose), "")
        seen = "" if self.fooled else " ".join((last, *self.images))
        return [code for code, said in self.categories.items() if any(word in seen for word in _words_for(said))]


def read(prompt: str, family: Family, images: Sequence[str] = ()) -> Asked | None:
    """What a prompt asks; `None` if it is no guard's prompt at all.

    Args:
        prompt: the text of the prompt, with the token that begins it.
        family: which model reads it.
        images: the `data:` URLs of the pictures, in order.

    Raises:
        BrokenPrompt: if it is a guard's prompt in the frame of another model, or begins twice.
    """
    if "<BEGIN CONVERSATION>" not in prompt:
        return None
    _check_frame(prompt, family)
    _, _, listed = prompt.partition("<BEGIN UNSAFE CONTENT CATEGORIES>\n")
    listed, _, rest = listed.partition("<END UNSAFE CONTENT CATEGORIES>")
    conversation, _, question = rest.partition("<BEGIN CONVERSATION>\n")[2].partition("<END CONVERSATION>")
    turns = tuple(_turns(conversation))
    whose = _WHOSE.search(question)
    if whose is None or (not turns and conversation.strip()):
        msg = "it does not say whose message is asked about"
        raise BrokenPrompt(msg)
    return Asked(
        dict(_categories(listed)),
        tuple((label, text.replace(IMAGE, "")) for label, text in turns),
        whose[1],
        tuple(map(_shown_by, _of_last(turns, whose[1], images))),
        fooled=_CONTROL_TOKEN.search(conversation) is not None,
    )


def _check_frame(prompt: str, family: Family) -> None:
    beginning = BEGINNINGS[family]
    stripped = prompt.removeprefix(" ") if family == "3-8b" else prompt  # its own template has that space
    if stripped.count(beginning, 0, 60) != 1 or not stripped.startswith(beginning):
        msg = f"it begins {stripped.count(beginning, 0, 60)} times"
        raise BrokenPrompt(msg)
    body = stripped.removeprefix(beginning)
    opening = OPENINGS[family]
    if not body.startswith(opening) or not body.removeprefix(opening).removeprefix(IMAGE).startswith("Task:"):
        msg = "its header is another model's"
        raise BrokenPrompt(msg)
    if not prompt.endswith(ENDINGS[family]):
        msg = "it does not end at the header of the answer"
        raise BrokenPrompt(msg)


def _categories(listed: str) -> Iterator[tuple[str, str]]:
    found = [*_CATEGORY.finditer(listed)]
    for category, following in zip(found, [*found[1:], None], strict=False):
        yield category[1], listed[category.start(2) : following.start() if following else None].strip()


def _turns(conversation: str) -> Iterator[tuple[str, str]]:
    found = [*_LABEL.finditer(conversation)]
    for label, following in zip(found, [*found[1:], None], strict=False):
        text = conversation[label.end() : following.start() if following else None]
        yield label[1], text.strip().removesuffix("\\n\\n").strip()


def _of_last(turns: Sequence[tuple[str, str]], whose: str, images: Sequence[str]) -> Sequence[str]:
    """The pictures of the turn in question; all, where they stand before the conversation."""
    counts = [text.count(IMAGE) for _, text in turns]
    if not any(counts):
        return images
    at = max((at for at, (label, _) in enumerate(turns) if label == whose), default=-1)
    return images[sum(counts[:at]) : sum(counts[: at + 1])] if at >= 0 else ()


def _shown_by(url: str) -> str:
    return base64.b64decode(url.partition(",")[2]).decode("latin-1")


def _words_for(said: str) -> Sequence[str]:
    name = said.partition("\n")[0].strip().removesuffix(".")
    if name in META_NAMES:
        return [_MARKERS[name]] if name in _MARKERS else []
    return _CAPITALS.findall(said.partition("Examples:")[0])
