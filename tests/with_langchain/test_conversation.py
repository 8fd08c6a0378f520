"""LangChain's messages as the guard sees them: nothing a reader could see goes unjudged, nothing odd is a crash."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from with_langchain.test_wire_messages import BY_ADDRESS, INLINE

from langchain_llama_guard._conversation import conversation_of, message_of
from llama_guard_core.messages import Image, Unjudgeable

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
kinds = st.sampled_from(
    [
        *("text", "text-plain", "image", "image_url", "file", "audio", "input_audio", "video", "document", "refusal"),
        *("reasoning", "thinking", "tool_use", "tool_call", "tool_result", "non_standard", "server_tool_call", "zzz"),
    ]
)
odd_parts = st.one_of(
    st.text(max_size=8),
    st.dictionaries(
        st.sampled_from(["text", "id", "url", "image_url", "content", "input", "source"]), json_values, max_size=3
    ).flatmap(lambda part: st.one_of(st.just(part), kinds.map(lambda kind: {**part, "type": kind}))),
)
contents = st.text(max_size=20) | st.lists(odd_parts, max_size=4)
MAKERS: list[Any] = [
    HumanMessage,
    SystemMessage,
    AIMessage,
    AIMessageChunk,
    lambda content: ToolMessage(content, tool_call_id="c1"),
    lambda content: ChatMessage(role="critic", content=content),
]


@given(st.sampled_from(MAKERS), contents)
def test_odd_content_is_never_a_crash(make: Any, content: Any) -> None:
    """Whatever stands in a message, it becomes a turn the guard can be asked about or told it cannot read."""
    turn = message_of(make(content))
    if isinstance(content, str):
        assert content == turn.text


@given(
    st.lists(st.tuples(kinds, st.text("abc", min_size=5, max_size=9)), min_size=1, max_size=4), st.sampled_from(MAKERS)
)
def test_a_marked_word_is_judged_wherever_it_stands(marked: list[tuple[str, str]], make: Any) -> None:
    """Text under any key of any kind of part is judged, or its part is said to be unreadable: never passed over."""
    turn = message_of(make([{"type": kind, "payload": {"deep": [word]}} for kind, word in marked]))
    unreadable = sum(isinstance(part, Unjudgeable) for part in turn.parts)
    lost = [word for _, word in marked if word not in turn.text]
    assert len(lost) <= unreadable


@pytest.mark.parametrize("part", [*INLINE, *BY_ADDRESS], ids=str)
def test_every_form_of_a_picture_is_judged(part: dict[str, Any]) -> None:
    """What goes to the model as a picture goes to the guard as one."""
    (found,) = message_of(HumanMessage([part])).parts
    assert isinstance(found, Image)


@pytest.mark.parametrize("kind", ["audio", "input_audio", "video", "file", "document"])
def test_what_cannot_be_read_is_marked(kind: str) -> None:
    """Sound, video and files are named to the policy."""
    (found,) = message_of(HumanMessage([{"type": kind, "base64": "AAAA", "mime_type": "x/y"}])).parts
    assert Unjudgeable(kind) == found


def test_calls_are_judged_once() -> None:
    """A call that stands in the content and among the calls is one call; one that stands in the content alone counts."""
    call = {"name": "look", "args": {"at": "x"}, "id": "c1"}
    in_content = {"type": "tool_use", "id": "c1", "name": "look", "input": {"at": "x"}}
    turn = message_of(AIMessage(["Yes.", in_content, {**in_content, "id": "c2"}], tool_calls=[call]))
    assert ["look"] == [call.name for call in turn.tool_calls]
    assert "c1" not in turn.text
    assert "c2" in turn.text


def test_thoughts_and_refusals_are_judged() -> None:
    """They are shown to readers, so they are the guard's business, wherever they stand."""
    extras = AIMessage("Yes.", additional_kwargs={"reasoning_content": "thought", "refusal": "declined"})
    blocks = AIMessage([{"type": "reasoning", "reasoning": "thought"}, {"type": "refusal", "refusal": "declined"}])
    for message in (extras, blocks):
        assert {"thought", "declined"} <= {getattr(part, "text", "") for part in message_of(message).parts}


def test_the_arguments_of_a_stream_are_judged_as_they_came() -> None:
    """Fragments that are no JSON yet are judged as text: parsing would leave out their end."""
    fragment = {"name": "look", "args": '{"at": "BOM', "id": "c1", "index": 0, "type": "tool_call_chunk"}
    (call,) = message_of(AIMessageChunk("", tool_call_chunks=[fragment])).tool_calls
    assert '{"at": "BOM' == call.arguments


def test_roles_become_those_of_a_conversation() -> None:
    """Every kind of message has a role; who is unknown is taken for the user, whose words are always judged."""
    messages: list[BaseMessage] = [
        SystemMessage("a"),
        HumanMessage("b"),
        AIMessage("c"),
        ToolMessage("d", tool_call_id="c1"),
        ChatMessage(role="assistant", content="e"),
        ChatMessage(role="critic", content="f"),
        FunctionMessage(name="g", content="g"),
    ]
    assert ["system", "user", "assistant", "tool", "assistant", "user", "user"] == [
        turn.role for turn in conversation_of(messages)
    ]
