"""A chat in nobody's dialect: what is read as one, and what it keeps to itself."""

from __future__ import annotations

from typing import Any

import pytest

from llama_guard_core.errors import ConfigurationError
from llama_guard_core.messages import (
    Image,
    Message,
    Part,
    Text,
    ToolCall,
    Unjudgeable,
    as_conversation,
    assistant,
    parts_of,
    user,
)

PICTURE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}


def test_a_text_is_a_users_message() -> None:
    assert (user("a"),) == as_conversation("a")


def test_a_message_is_a_conversation_of_one() -> None:
    assert (assistant("a"),) == as_conversation(assistant("a"))


@pytest.mark.parametrize("sequence", [list, tuple, iter])
def test_messages_of_ours_and_dicts_can_be_mixed(sequence: Any) -> None:
    assert (user("a"), assistant("b")) == as_conversation(sequence([user("a"), {"role": "assistant", "content": "b"}]))


@pytest.mark.parametrize(
    ("role", "expected"),
    [("system", "system"), ("developer", "system"), ("user", "user"), ("assistant", "assistant"), ("tool", "tool")],
)
def test_the_roles_of_the_api_are_read(role: str, expected: str) -> None:
    (message,) = as_conversation([{"role": role, "content": "a"}])
    assert (expected, "a") == (message.role, message.text)


@pytest.mark.parametrize(
    "value",
    [
        *(3, None, {"role": "user", "content": "zebra"}, [{"content": "zebra"}], [{"role": "zebra"}], ["zebra"]),
        *(b"zebra", [["user", "zebra"]], [None], [{"role": ["zebra"]}]),
    ],
)
def test_what_is_no_conversation_is_refused_without_being_quoted(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"a conversation is|each message needs a role") as raised:
        as_conversation(value)
    assert "zebra" not in repr(raised.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, ()),
        ("a", (Text("a"),)),
        (["a", {"type": "text", "text": "b"}], (Text("a"), Text("b"))),
        ([PICTURE], (Image("https://example.org/a.png"),)),
        ([{"type": "image_url", "image_url": "https://example.org/b.png"}], (Image("https://example.org/b.png"),)),
        ([{"type": "input_audio", "input_audio": {}}], (Unjudgeable("input_audio"),)),
        ([{"type": "image_url", "image_url": {}}], (Unjudgeable("image_url"),)),
        ([{"type": "text", "text": 3}], (Unjudgeable("text"),)),
        ([{"type": "some long prose"}], (Unjudgeable("dict"),)),
        ([{"text": "a"}], (Unjudgeable("dict"),)),
        ([None], (Unjudgeable("NoneType"),)),
        ({"text": "a"}, (Unjudgeable("dict"),)),
        (3, (Unjudgeable("int"),)),
    ],
)
def test_content_is_text_or_pictures_and_all_else_is_marked_as_not_judgeable(
    content: Any, expected: tuple[Part, ...]
) -> None:
    assert expected == parts_of(content)


def calls_in(calls: Any) -> tuple[ToolCall, ...]:
    return as_conversation([{"role": "assistant", "content": None, "tool_calls": calls}])[0].tool_calls


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [('{"q": 1}', '{"q": 1}'), ("{broken", "{broken"), ({"q": "ü"}, '{"q": "ü"}'), (None, "")],
)
def test_tool_calls_are_read_with_their_arguments_as_written(arguments: Any, expected: str) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": arguments}}
    assert (ToolCall("c1", "look_up", expected),) == calls_in([call])


@pytest.mark.parametrize("calls", [None, [], ()])
def test_a_message_may_have_no_tool_calls(calls: Any) -> None:
    assert () == calls_in(calls)


@pytest.mark.parametrize("calls", ["zebra", 3, {"id": "c1"}, ["zebra"], [{}], [{"function": None}], [{"function": {}}]])
def test_tool_calls_that_cannot_be_read_are_refused_and_not_dropped(calls: Any) -> None:
    with pytest.raises(ConfigurationError, match="tool_calls") as raised:
        calls_in(calls)
    assert "zebra" not in repr(raised.value)


def test_the_text_of_a_message_is_all_its_pieces() -> None:
    assert "ab" == Message("user", (Text("a"), Image("u"), Text("b"))).text


CALL = ToolCall("c1", "look_up", "{}")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (Message("user"), True),
        (user(" \n\t"), True),
        (Message("user", (Text(""), Text(" "))), True),
        (user("a"), False),
        (Message("user", (Image("u"),)), False),
        (Message("user", (Unjudgeable("file"),)), False),
        (assistant("", (CALL,)), False),
    ],
)
def test_a_message_is_blank_if_nothing_in_it_could_be_judged(message: Message, expected: bool) -> None:
    assert expected == message.is_blank


def test_no_repr_shows_what_was_said() -> None:
    said = Message("assistant", (Text("zebra"), Image("https://zebra.org")), (ToolCall("c1", "look_up", "zebra"),))
    assert "zebra" not in repr((said, *said.parts, *said.tool_calls))
    assert "look_up" in repr(said)
