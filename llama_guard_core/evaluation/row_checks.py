"""What of a data set's row is judged: a conversation and its stage."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llama_guard_core.bulk.image_files import ImageFiles
from llama_guard_core.errors import ConfigurationError, GuardUnavailable
from llama_guard_core.evaluation.gold import referred
from llama_guard_core.evaluation.parts import Part
from llama_guard_core.guardrail.screening import Check, check_of
from llama_guard_core.guardrail.verdict import Stage
from llama_guard_core.messages import Conversation, Image, Message, Text, ToolCall, as_conversation, user
from llama_guard_core.written import written

Row = Mapping[str, Any]


class RowLeftOut(Exception):
    """A row is no example. Its message is the reason, without anything of the row.

    Attributes:
        expected: whether that is as the mapping has it.
    """

    expected = False


class LeftOutByRule(RowLeftOut):
    """The mapping's `left_out` or `only` says so."""

    expected = True

    def __init__(self, column: str) -> None:
        super().__init__(f"left out by {column}")


class NothingToJudge(RowLeftOut):
    """The judged column is empty, or holds no conversation."""

    def __init__(self, columns: Sequence[str]) -> None:
        super().__init__(f"nothing to judge in {' and '.join(columns)}")


class NoPicture(RowLeftOut):
    """There is no file of the picture's name."""

    expected = True

    def __init__(self) -> None:
        super().__init__("no picture")


class UnfitPicture(RowLeftOut):
    """The picture is of a kind or size that is not judged, or lies outside of the data's folder."""

    def __init__(self) -> None:
        super().__init__("a picture that is not judged")


def wordings_of(part: Part) -> Sequence[tuple[str, Sequence[str]]]:
    """The examples that each row holds: the language, where there are several, and the columns of the user's turns."""
    if isinstance(part.text_field, Mapping):
        return [(language, (column,)) for language, column in part.text_field.items()]
    return [("", part.text_columns)]


def check_in(part: Part, row: Row, columns: Sequence[str], origin: Mapping[str, str], root: Path) -> Check:
    """What is judged of a row.

    Args:
        part: what the row's file holds.
        row: the row.
        columns: those of the user's turns.
        origin: the row's `file` and `folder`.
        root: the folder that pictures are in.

    Raises:
        RowLeftOut: if there is nothing to judge.
    """
    if part.conversation_field:
        return check_of(_conversation(row.get(part.conversation_field), part.conversation_field))
    texts = [turn for column in columns for turn in _turns(row.get(column))]
    before = _user_turns(texts, _pictures(part, row, origin, root))
    if part.judged_field is None:
        if not before:
            raise NothingToJudge(columns)
        return Check(Stage.PROMPT, before)
    value = row.get(part.judged_field)
    text = _text(value)
    if not text.strip():
        raise NothingToJudge([part.judged_field])
    return Check(part.stage, (*before, *_judged(part, value, text, with_prompt=bool(before))))


def _judged(part: Part, value: Any, text: str, *, with_prompt: bool) -> Conversation:
    if part.stage is Stage.DOCUMENT:
        return (user(text),)
    if part.stage is Stage.REPLY:
        return (Message("assistant", (Text(text),)),)
    if part.stage is Stage.TOOL_CALL:
        arguments = json.dumps({part.argument: value}, ensure_ascii=False, default=str) if part.argument else text
        return (Message("assistant", (), (ToolCall("call_1", part.tool, arguments),)),)
    called = Message("assistant", (), (ToolCall("call_1", part.tool, "{}"),))  # or the prompt would be judged with it
    return (*((called,) if with_prompt else ()), Message("tool", (Text(text),)))


def _user_turns(texts: Sequence[Text], pictures: Sequence[Image]) -> Conversation:
    """One turn for each text; pictures stand in the last."""
    if not pictures:
        return tuple(Message("user", (text,)) for text in texts)
    return (*(Message("user", (text,)) for text in texts[:-1]), Message("user", (*pictures, *texts[-1:])))


def _turns(value: Any) -> tuple[Text, ...]:
    is_turns = isinstance(value, (list, tuple)) and all(isinstance(turn, str) for turn in value)
    return tuple(Text(text) for text in map(_text, value if is_turns else [value]) if text.strip())


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else written(value)


def _conversation(value: Any, column: str) -> Conversation:
    try:
        read = json.loads(value) if isinstance(value, str) else value
        conversation = as_conversation(read if isinstance(read, list) else ())
    except (ValueError, RecursionError, ConfigurationError, GuardUnavailable):
        conversation = ()
    if not conversation or conversation[-1].is_blank:
        raise NothingToJudge([column])
    return conversation


def _pictures(part: Part, row: Row, origin: Mapping[str, str], root: Path) -> tuple[Image, ...]:
    if part.image_field is None:
        return ()
    named = referred(part.image_field, row, origin)
    if _is_missing(named, root):
        raise NoPicture
    try:
        pictures = ImageFiles(root).of(named)
    except GuardUnavailable:
        raise UnfitPicture from None
    if not pictures:
        raise NoPicture
    return pictures


def _is_missing(named: Any, root: Path) -> bool:
    """Whether it is a path, and there is no such file."""
    if not isinstance(named, str) or named[:5].lower() in {"data:", "https", "http:"} or named[:1] == "[":
        return False
    try:
        return not (root / named).is_file()
    except (OSError, ValueError):  # no name of a file
        return True
