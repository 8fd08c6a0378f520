"""Which columns of a table hold what is judged: a row becomes the question that is put to the guard."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from typing_extensions import Self

from llama_guard_core.bulk.image_files import ImageFiles
from llama_guard_core.bulk.judgements import Judgement
from llama_guard_core.bulk.text_tables import shown_names
from llama_guard_core.errors import ConfigurationError, GuardUnavailable
from llama_guard_core.guardrail.screening import Check, check_of
from llama_guard_core.messages import Conversation, Image, Message, as_conversation, assistant, user
from llama_guard_core.provider.json_text import parse_json

__all__ = ["Columns", "ImageFiles"]

_USUAL_NAMES: Mapping[str, tuple[str, ...]] = {
    "messages": ("messages", "conversation"),
    "prompt": ("prompt", "text"),
    "reply": ("reply", "response"),
    "image": ("image", "images"),
}
_OF_JUDGEMENT = {each.name for each in fields(Judgement)} - {"kept"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which columns of a table are judged, and which are carried over to the verdicts.

    Attributes:
        prompt: holds what a user says: a text, or a list of texts, which are several of his turns in a row.
        reply: holds what was answered. Where a row has none, its prompt is judged.
        messages: holds whole conversations, OpenAI-style: lists of objects, or the JSON text of one. The last turn is
            judged, those before it are its context.
        image: holds pictures that belong to the prompt, or to the last user's turn of `messages`; see `ImageFiles.of`.
        keep: are carried over as they are. What they hold ends up beside the verdicts, and in the journal of a run.
        not_found: which of the above were looked for by their usual names, and were not there.
    """

    prompt: str | None = None
    reply: str | None = None
    messages: str | None = None
    image: str | None = None
    keep: tuple[str, ...] = ()
    not_found: tuple[str, ...] = field(default=(), repr=False, compare=False)

    @classmethod
    def found(
        cls,
        names: Sequence[str],
        *,
        prompt: str | None = None,
        reply: str | None = None,
        messages: str | None = None,
        image: str | None = None,
        keep: Sequence[str] | None = None,
    ) -> Self:
        """The columns that are given, and for those that are not the ones of a usual name, if there are any.

        Usual are `messages` or `conversation`; `prompt` or `text`; `reply` or `response`; `image` or `images`. Where
        there are messages, a prompt and a reply are not looked for, nor messages where either of these is given. An
        empty name is no column, although there may be one of a usual name.

        Args:
            names: the columns that there are.
            prompt: see `Columns`, as for the others.
            reply: as above.
            messages: as above.
            image: as above.
            keep: as above; left out, `id`, if there is one.

        Raises:
            ConfigurationError: if nothing would be judged, a given column is not there, messages are given together
                with a prompt or a reply, or a kept column has a name that `Judgement` uses itself.
        """
        given = {"prompt": prompt, "reply": reply, "messages": messages, "image": image}
        if messages and (prompt or reply):
            msg = "messages hold whole conversations: give --messages, or --prompt and --reply"
            raise ConfigurationError(msg)
        kept = tuple(dict.fromkeys(("id",) if keep is None and "id" in names else keep or ()))
        _check_there(names, [*filter(None, given.values()), *kept])
        _check_kept(kept)
        if (prompt or reply) and messages is None:
            given["messages"] = ""
        chosen = {role: _chosen(names, role, name) for role, name in given.items()}
        if chosen["messages"]:
            chosen |= {"prompt": None, "reply": None}
            given |= {"prompt": "", "reply": ""}
        if not (chosen["messages"] or chosen["prompt"] or chosen["reply"]):
            msg = (
                "no column is known to hold what is to be judged: name it by --prompt, --reply or --messages. "
                f"The columns are: {shown_names(names)}"
            )
            raise ConfigurationError(msg)
        not_found = tuple(role for role, name in chosen.items() if name is None and given[role] is None)
        return cls(**chosen, keep=kept, not_found=not_found)

    @property
    def names(self) -> tuple[str, ...]:
        """All columns that are needed of a table, each once."""
        judged = (self.prompt, self.reply, self.messages, self.image)
        return tuple(dict.fromkeys([*filter(None, judged), *self.keep]))

    def would_have_found(self, names: Collection[str]) -> str | None:
        """Which of these columns would be judged, had it been there when columns were looked for; `None` if none.

        Rows of JSON Lines need not have the columns of the first.

        Args:
            names: columns that were not there then.
        """
        return next((name for role in self.not_found for name in _USUAL_NAMES[role] if name in names), None)

    def kept_of(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """What is carried over of a row; `None` for a column that it has not."""
        return {name: row.get(name) for name in self.keep}

    def check_of(self, row: Mapping[str, Any], images: ImageFiles) -> Check:
        """The question that a row is: its conversation, and whether a prompt, a reply or a tool's result ends it.

        Numbers are judged as they are written; `None`, NaN and blank texts are nothing.

        Args:
            row: a row of the table, which may lack columns.
            images: reads the pictures that are files.

        Raises:
            GuardUnavailable: `not_judgeable`, if the row holds nothing, or something else than these columns are for.
                One such row among others says nothing about them. The message quotes nothing of it.
        """
        said = self._conversation_in(row)
        stage = check_of(said).stage
        pictures = images.of(row.get(self.image), stage) if self.image else ()
        conversation = _with_pictures(said, pictures) if pictures else said
        if all(message.is_blank for message in conversation):
            msg = "the row holds nothing to judge"
            raise _not_judgeable(msg)
        return Check(stage, conversation)

    def _conversation_in(self, row: Mapping[str, Any]) -> Conversation:
        if self.messages:
            return _messages(row.get(self.messages))
        prompt = tuple(map(user, _texts(row.get(self.prompt)))) if self.prompt else ()
        reply = _text(row.get(self.reply)) if self.reply else None
        return (*prompt, *([assistant(reply)] if reply else ()))


def _chosen(names: Sequence[str], role: str, given: str | None) -> str | None:
    if given is None:
        return next((name for name in _USUAL_NAMES[role] if name in names), None)
    return given or None


def _check_there(names: Sequence[str], wanted: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in names]
    if missing:
        msg = f"there is no column {' or '.join(missing)}: the columns are {shown_names(names)}"
        raise ConfigurationError(msg)


def _check_kept(kept: Sequence[str]) -> None:
    taken = [name for name in kept if name in _OF_JUDGEMENT]
    if taken:
        msg = (
            f"a column {' or '.join(taken)} cannot be kept, a verdict has its own of that name: rename it in the input"
        )
        raise ConfigurationError(msg)


def _messages(value: Any) -> Conversation:
    if _is_nothing(value):
        return ()
    try:
        read = parse_json(value) if isinstance(value, str) else value
        if isinstance(read, (list, tuple)):
            return as_conversation(read)
    except ValueError:  # no JSON, or no conversation
        pass
    msg = "the row's messages are no conversation: a list of objects with role and content, or its JSON, is judged"
    raise _not_judgeable(msg)


def _texts(value: Any) -> Iterator[str]:
    for item in value if isinstance(value, (list, tuple)) else [value]:
        if text := _text(item):
            yield text


def _text(value: Any) -> str | None:
    if _is_nothing(value):
        return None
    if isinstance(value, (str, int, float)):
        return str(value)
    msg = "the row holds something other than text where a prompt or a reply is judged"
    raise _not_judgeable(msg)


def _is_nothing(value: Any) -> bool:
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value))


def _with_pictures(conversation: Conversation, pictures: tuple[Image, ...]) -> Conversation:
    """The conversation with pictures in the last user's turn, or in a first one where there is none."""
    at = max((at for at, message in enumerate(conversation) if message.role == "user"), default=None)
    if at is None:
        return (Message("user", pictures), *conversation)
    shown = conversation[at]
    return (*conversation[:at], Message("user", (*shown.parts, *pictures)), *conversation[at + 1 :])


def _not_judgeable(message: str) -> GuardUnavailable:
    return GuardUnavailable(message, reason="not_judgeable")
