"""An exception is judged by all that it says, once each, and one of ours is raised alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from llama_guard_core.errors import GuardUnavailable
from llama_guard_core.guardrail.failures import as_output, with_failures
from llama_guard_core.messages import Message, Text, ToolCall


def texts_in(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            yield from texts_in(list(value.values()))
        case list() | tuple():
            for item in value:
                yield from texts_in(item)


def text_of(error: Exception) -> str:
    return as_output(error, texts_in).text


def test_it_says_its_message_what_it_carries_and_what_it_came_from() -> None:
    error = RuntimeError("cannot be read")
    error.body = {"content": "quoted"}  # type: ignore[attr-defined]
    error.__cause__ = KeyError("cause")
    error.__context__ = ValueError("context")
    error.__cause__.__context__ = error  # a circle
    assert ["cannot be read", "quoted", "'cause'", "cause", "context"] == text_of(error).split("\n")


def test_each_member_of_a_group_is_heard() -> None:
    error = RuntimeError("several")
    error.exceptions = (ValueError("one"), ValueError("two"))  # type: ignore[attr-defined] # as a group of Python 3.11
    assert ["several", "one", "two"] == text_of(error).split("\n")


def test_a_validation_error_quotes_its_input() -> None:
    class Weather(BaseModel):
        degrees: int

    long = "the words " * 50
    with pytest.raises(ValidationError) as raised:
        Weather(degrees=long)  # type: ignore[arg-type]
    assert long not in str(raised.value)
    assert long in text_of(raised.value)


def test_one_of_ours_is_raised_without_those_it_came_from() -> None:
    error, cause = GuardUnavailable("no verdict", reason="server"), GuardUnavailable("no answer", reason="server")
    error.__cause__, cause.__context__ = cause, RuntimeError("quoted")
    with pytest.raises(GuardUnavailable) as raised:
        as_output(error, texts_in)
    assert raised.value is error
    assert (cause, cause, None) == (error.__cause__, error.__context__, cause.__context__)


def test_its_text_is_in_no_repr() -> None:
    assert "quoted" not in repr(as_output(RuntimeError("quoted"), texts_in))


def test_a_reply_that_broke_off_is_judged_with_what_was_raised() -> None:
    said = Message("assistant", (Text("a"),), (ToolCall("1", "search", "{}"),))
    judged = with_failures(said, ["a", as_output(RuntimeError("b"), texts_in)])
    assert (("a", "b"), said.tool_calls) == (tuple(part.text for part in judged.parts), judged.tool_calls)
    assert said == with_failures(said, ["a"])
