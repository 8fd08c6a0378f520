"""LlamaIndex messages, tools and choices, as the chat-completions API takes them."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from fake_provider import FakeProvider
from llama_index.core.base.llms.types import (
    AudioBlock,
    CacheControl,
    CachePoint,
    ChatMessage,
    CitableBlock,
    DocumentBlock,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.tools import FunctionTool
from with_llamaindex.scouts import scout
from with_llamaindex.test_llamaindex_conversation import PNG, PNG_URL

from llamaindex_llama_guard._wire_messages import wire_messages, wire_tool_choice, wire_tools

CALL = ToolCallBlock(tool_call_id="c1", tool_name="add", tool_kwargs={"a": 1})
WIRE_CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
PDF = DocumentBlock(data=b"%PDF-1.4", title="a.pdf", document_mimetype="application/pdf")


def wired(*blocks: Any, role: str = "user", **extras: Any) -> dict[str, Any]:
    (message,) = wire_messages([ChatMessage(role=role, blocks=list(blocks), additional_kwargs=extras)])
    return message


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (ChatMessage(content="Hi"), {"role": "user", "content": "Hi"}),
        (ChatMessage(blocks=[TextBlock(text="a"), TextBlock(text="b")]), {"role": "user", "content": "a\nb"}),
        (ChatMessage(blocks=[]), {"role": "user", "content": ""}),
        (ChatMessage(role="system", content="Be kind"), {"role": "system", "content": "Be kind"}),
        (ChatMessage(role="developer", content="Be kind"), {"role": "system", "content": "Be kind"}),
        (ChatMessage(role="assistant", content="Hi"), {"role": "assistant", "content": "Hi"}),
        (ChatMessage(role="chatbot", content="Hi"), {"role": "assistant", "content": "Hi"}),
        (ChatMessage(role="model", content="Hi"), {"role": "assistant", "content": "Hi"}),
        (ChatMessage(role="assistant", blocks=[]), {"role": "assistant", "content": ""}),
        (
            ChatMessage(role="assistant", blocks=[CALL]),
            {"role": "assistant", "content": None, "tool_calls": [WIRE_CALL]},
        ),
        (
            ChatMessage(role="assistant", blocks=[TextBlock(text="So:"), CALL], additional_kwargs={"tool_calls": [WIRE_CALL]}),
            {"role": "assistant", "content": "So:", "tool_calls": [WIRE_CALL]},
        ),
        (
            ChatMessage(role="assistant", additional_kwargs={"tool_calls": [WIRE_CALL]}),
            {"role": "assistant", "content": None, "tool_calls": [WIRE_CALL]},
        ),
        (
            ChatMessage(role="assistant", blocks=[ThinkingBlock(content="Hm."), TextBlock(text="Hi")]),
            {"role": "assistant", "content": "Hi"},
        ),
        (
            ChatMessage(role="tool", content="3", additional_kwargs={"tool_call_id": "c1"}),
            {"role": "tool", "tool_call_id": "c1", "content": "3"},
        ),
        (
            ChatMessage(role="function", content="3", additional_kwargs={"tool_call_id": "c1"}),
            {"role": "tool", "tool_call_id": "c1", "content": "3"},
        ),
        (
            ChatMessage(role="assistant", content="3", additional_kwargs={"tool_call_id": "c1"}),
            {"role": "assistant", "content": "3"},
        ),
    ],
)  # fmt: skip
def test_messages_on_the_wire(message: ChatMessage, expected: dict[str, Any]) -> None:
    """Text alone is a string; calls stand once; thoughts stay behind."""
    assert [expected] == wire_messages([message])


def test_mixed_content_is_a_list_of_parts() -> None:
    """A text beside images or files becomes a part, in its place."""
    blocks = [
        TextBlock(text="What is this?"),
        ImageBlock(image=PNG, detail="low"),
        ImageBlock(url="https://example.com/a.png"),
    ]
    expected = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": PNG_URL, "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    ]
    cached = CachePoint(cache_control=CacheControl(type="ephemeral"))
    assert {"role": "user", "content": expected} == wired(*blocks, cached)


def test_a_document_is_a_file() -> None:
    """By its bytes, or by its address."""
    data = f"data:application/pdf;base64,{base64.b64encode(b'%PDF-1.4').decode()}"
    assert [{"type": "file", "file": {"filename": "a.pdf", "file_data": data}}] == wired(PDF)["content"]
    there = DocumentBlock(url="https://example.com/a.pdf", title="a.pdf")
    assert "https://example.com/a.pdf" == wired(there)["content"][0]["file"]["file_data"]


def test_a_tools_result_may_hold_an_image() -> None:
    """Text and image of a result are parts, as in a user's turn."""
    content = wired(TextBlock(text="Chart:"), ImageBlock(image=PNG), role="tool", tool_call_id="c1")["content"]
    assert ["text", "image_url"] == [part["type"] for part in content]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (ChatMessage(blocks=[AudioBlock(audio=b"RIFF")]), "audio"),
        (ChatMessage(blocks=[CitableBlock(title="T", source="S", content="x")]), "citable"),
        (ChatMessage(blocks=[CALL]), "tool_call"),
        (ChatMessage(blocks=[ImageBlock(image=PNG, image_mimetype="image/bmp")]), "image/png"),
        (ChatMessage(blocks=[ImageBlock(url="s3://bucket/a.png")]), "https://"),
        (ChatMessage(blocks=[ImageBlock(image=b"no picture")]), "image_mimetype"),
        (ChatMessage(role="assistant", blocks=[ImageBlock(image=PNG)]), "user's"),
        (ChatMessage(role="system", blocks=[PDF]), "user's"),
        (ChatMessage(role="tool", content="3"), "tool_call_id"),
        (ChatMessage(role="assistant", additional_kwargs={"tool_calls": [{"what": 1}]}), "names no tool"),
    ],
)
def test_what_the_api_has_no_form_for_raises(message: ChatMessage, reason: str) -> None:
    """Nothing is left out in silence, and the error says what to do."""
    with pytest.raises(ValueError, match=reason):
        wire_messages([message])


def test_arguments_that_are_no_json_go_back_as_they_came() -> None:
    """What the model wrote is its history; only nothing becomes an empty object."""
    begun = ToolCallBlock(tool_call_id="c1", tool_name="add", tool_kwargs='{"a": ')
    empty = ToolCallBlock(tool_call_id="c2", tool_name="add", tool_kwargs="")
    written = [call["function"]["arguments"] for call in wired(begun, empty, role="assistant")["tool_calls"]]
    assert ['{"a": ', "{}"] == written


def test_the_host_takes_them(provider: FakeProvider) -> None:
    """A conversation with everything in it keeps the API's rules, which the fixture holds us to."""
    scout(provider, "guarded").chat(
        [
            ChatMessage(role="system", content="Be kind."),
            ChatMessage(blocks=[TextBlock(text="What is this?"), ImageBlock(image=PNG)]),
            ChatMessage(role="assistant", blocks=[ThinkingBlock(content="Hm."), CALL]),
            ChatMessage(role="tool", content="3", additional_kwargs={"tool_call_id": "c1"}),
            ChatMessage(role="assistant", content="Three."),
            ChatMessage(blocks=[TextBlock(text="And this?"), ImageBlock(image=PNG)]),
        ]
    )
    assert 6 == len(provider.requests_of("chat")[0].messages)
    assert ("And this?", (PNG_URL,)) == (provider.guard_questions[0].text, provider.guard_questions[0].images)


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


ADD = wire_tools([FunctionTool.from_defaults(add)])
NAMED = {"type": "function", "function": {"name": "add"}}


def test_a_tool_is_a_function_with_a_schema() -> None:
    """Name, description and parameters are LlamaIndex's own."""
    (tool,) = ADD
    assert ("function", "add") == (tool["type"], tool["function"]["name"])
    assert "Add two numbers." in tool["function"]["description"]
    assert {"a", "b"} == set(tool["function"]["parameters"]["properties"])


@pytest.mark.parametrize(
    ("choice", "required", "expected"),
    [
        (None, False, "auto"), (None, True, "required"), ("auto", True, "auto"), ("none", False, "none"),
        ("required", False, "required"), ("any", False, "required"), ("add", False, NAMED), (NAMED, False, NAMED),
    ],
)  # fmt: skip
def test_choices_in_the_apis_words(choice: Any, required: bool, expected: Any) -> None:
    """What is asked for wins over `tool_required`; a tool's name becomes its object."""
    assert expected == wire_tool_choice(choice, ADD, required=required)


def test_a_choice_of_no_tool_of_these_raises() -> None:
    """The host would refuse it with less to go by."""
    with pytest.raises(ValueError, match="none of the tools"):
        wire_tool_choice("subtract", ADD, required=False)
