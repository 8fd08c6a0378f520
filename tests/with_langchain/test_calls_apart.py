"""A refused call's arguments are withheld wherever an integration keeps them, and nothing else of the reply is."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.tool import tool_call_chunk

from langchain_llama_guard._calls_apart import without_arguments
from llama_guard_core.errors import GuardUnavailable
from llama_guard_core.guardrail.decisions import Refuse
from llama_guard_core.guardrail.verdict import Stage, Verdict

REFUSAL = Refuse(Stage.TOOL_CALL, "No.", Verdict(safe=False, stage=Stage.TOOL_CALL))
UNJUDGED = Refuse(Stage.TOOL_CALL, "Sorry.", error=GuardUnavailable("down", reason="server"))
GOOD: dict[str, Any] = {"name": "read", "args": {"text": "notes"}, "id": "good", "type": "tool_call"}
BAD: dict[str, Any] = {"name": "build", "args": {"text": "a BOMB"}, "id": "bad", "type": "tool_call"}


def called(name: str, call_id: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": '{"text": "a BOMB"}'}}


@pytest.mark.parametrize(
    ("content", "extras"),
    [
        ("I do both.", {}),
        ("I do both.", {"tool_calls": [called("read", "good"), called("build", "bad")]}),
        ("I do both.", {"function_call": called("build", "bad")["function"]}),
        (
            [
                {"type": "text", "text": "I do both."},
                {"type": "tool_use", "id": "bad", "name": "b", "input": BAD["args"]},
            ],
            {},
        ),
        (
            [{"type": "text", "text": "I do both."}, {"type": "function_call", "call_id": "bad", "arguments": "BOMB"}],
            {},
        ),
        ([{"type": "text", "text": "I do both."}, {**BAD}], {}),
    ],
    ids=["calls alone", "OpenAI's", "of the old kind", "Anthropic's", "OpenAI's responses", "LangChain's"],
)
def test_the_arguments_are_nowhere_and_all_else_is(content: Any, extras: dict[str, Any]) -> None:
    message = AIMessage(
        content, tool_calls=[GOOD, BAD], additional_kwargs={**extras, "reasoning_content": "Hm."}, id="1"
    )
    left = without_arguments(message, {"bad": REFUSAL})
    assert "BOMB" not in repr(left)
    assert [GOOD, {**BAD, "args": {"llama_guard": "withheld"}}] == left.tool_calls
    assert ("I do both.", "Hm.", "1") == (left.text, left.additional_kwargs["reasoning_content"], left.id)


def test_a_harmless_call_keeps_its_block() -> None:
    kept = {"type": "tool_use", "id": "good", "name": "read", "input": {"text": "notes"}}
    message = AIMessage([kept, {**kept, "id": "bad"}], tool_calls=[GOOD, BAD])
    assert [kept] == without_arguments(message, {"bad": REFUSAL}).content


def test_a_call_that_does_not_parse_becomes_one_that_can_be_answered() -> None:
    broken = {"name": "build", "args": '{"text": "a BOMB', "id": "bad", "error": "cut", "type": "invalid_tool_call"}
    left = without_arguments(AIMessage("", tool_calls=[GOOD], invalid_tool_calls=[broken]), {"bad": REFUSAL})
    assert "BOMB" not in repr(left)
    assert (["good", "bad"], []) == ([call["id"] for call in left.tool_calls], left.invalid_tool_calls)


def test_a_call_that_could_not_be_judged_says_so() -> None:
    left = without_arguments(AIMessage("", tool_calls=[BAD]), {"bad": UNJUDGED})
    assert {"llama_guard": "unjudged"} == left.tool_calls[0]["args"]


def test_a_chunk_says_the_same_in_its_pieces() -> None:
    pieces = [
        tool_call_chunk(name="read", args='{"text": "notes"}', id="good", index=0),
        tool_call_chunk(name="build", args='{"text": "a BOMB"}', id="bad", index=1),
    ]
    left = without_arguments(AIMessageChunk("", tool_call_chunks=pieces), {"bad": REFUSAL})
    assert "BOMB" not in repr(left)
    whole = AIMessageChunk("I do.", id=None) + left
    assert isinstance(whole, AIMessageChunk)
    assert [{"text": "notes"}, {"llama_guard": "withheld"}] == [call["args"] for call in whole.tool_calls]
