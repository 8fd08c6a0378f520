"""LlamaIndex messages as the guard reads them: nothing that a reader could see is missing."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    AudioBlock,
    CacheControl,
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from pydantic import ValidationError

from llama_guard_core.messages import Image, Message, Text, ToolCall, Unjudgeable
from llamaindex_llama_guard._conversation import conversation_of, message_of

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PNG_URL = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"


def said_by(*blocks: Any, role: str = "user", **extras: Any) -> Message:
    return message_of(ChatMessage(role=role, blocks=list(blocks), additional_kwargs=extras))


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ("system", "system"), ("developer", "system"), ("user", "user"), ("assistant", "assistant"),
        ("chatbot", "assistant"), ("model", "assistant"), ("tool", "tool"), ("function", "tool"),
    ],
)  # fmt: skip
def test_every_role_of_llamaindex_is_one_of_ours(role: str, expected: str) -> None:
    """All eight roles have a place."""
    assert (Message(expected, (Text("Hello"),)),) == conversation_of([ChatMessage(role=role, content="Hello")])


def test_there_are_no_other_roles() -> None:
    """A role that LlamaIndex adds is to be placed by us, not by chance."""
    assert 8 == len(MessageRole)


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (TextBlock(text="Hello"), [Text("Hello")]),
        (ThinkingBlock(content="Hm."), [Text("Hm.")]),
        (ThinkingBlock(content=None, num_tokens=5), []),
        (ImageBlock(url="https://example.com/a.png"), [Image("https://example.com/a.png")]),
        (ImageBlock(url=PNG_URL), [Image(PNG_URL)]),
        (ImageBlock(image=PNG), [Image(PNG_URL)]),
        (ImageBlock(image=base64.b64encode(PNG)), [Image(PNG_URL)]),
        (ImageBlock(image=PNG, image_mimetype="image/webp"), [Image(PNG_URL.replace("png", "webp", 1))]),
        (ImageBlock(image=b"no picture at all"), [Unjudgeable("an image that cannot be read")]),
        (ImageBlock(), [Unjudgeable("an image that cannot be read")]),
        (ImageBlock(url="s3://bucket/a.png"), [Unjudgeable("an image that is stored elsewhere")]),
        (AudioBlock(audio=b"RIFF", format="wav"), [Unjudgeable("audio")]),
        (DocumentBlock(data=b"Hello", document_mimetype="text/plain"), [Text("Hello")]),
        (DocumentBlock(data=b"Hello", title="Greeting", document_mimetype="text/markdown"), [Text("Greeting"), Text("Hello")]),
        (DocumentBlock(data=b"%PDF-1.4", title="Plan"), [Text("Plan"), Unjudgeable("document")]),
        (DocumentBlock(data=b"\xff\xfe", document_mimetype="text/plain"), [Unjudgeable("document")]),
        (DocumentBlock(url="https://example.com/a.txt", document_mimetype="text/plain"), [Unjudgeable("document")]),
        (CachePoint(cache_control=CacheControl(type="ephemeral")), []),
        (CitableBlock(title="T", source="S", content="Hello"), [Text("T"), Text("S"), Text("Hello")]),
        (
            CitationBlock(title="T", source="S", cited_content="Hello", additional_location_info={}),
            [Text("T"), Text("S"), Text("Hello")],
        ),
    ],
)  # fmt: skip
def test_every_block_is_read_or_marked(block: Any, expected: list[Any]) -> None:
    """Text and images are handed on, what the guard cannot read is marked as such."""
    assert tuple(expected) == said_by(block).parts


def test_an_image_in_a_file_is_read(tmp_path: Path) -> None:
    """A path is read here; one that is gone is marked."""
    path = tmp_path / "picture"
    path.write_bytes(PNG)
    block = ImageBlock(path=path)
    assert (Image(PNG_URL),) == said_by(block).parts
    path.unlink()
    assert (Unjudgeable("an image that cannot be read"),) == said_by(block).parts


def test_an_image_in_an_open_file_is_read_whenever_asked() -> None:
    """Reading it once does not use it up: it is judged and then sent."""
    try:
        block = ImageBlock(image=io.BytesIO(PNG))
    except ValidationError:
        pytest.skip("this version takes bytes alone")
    assert [(Image(PNG_URL),)] * 2 == [said_by(block).parts, said_by(block).parts]


def test_video_is_marked() -> None:
    """Newer versions have video, too."""
    types = pytest.importorskip("llama_index.core.base.llms.types")
    if not hasattr(types, "VideoBlock"):
        pytest.skip("this version has no VideoBlock")
    assert (Unjudgeable("video"),) == said_by(types.VideoBlock(video=b"mp4")).parts


def test_a_block_of_another_kind_is_judged_as_its_json() -> None:
    """What a later version adds is not passed over."""

    class NoveltyBlock(TextBlock.__bases__[0]):  # type: ignore[misc]
        block_type: str = "novelty"
        payload: str

    message = ChatMessage.model_construct(
        role=MessageRole.USER, blocks=[NoveltyBlock(payload="Hello")], additional_kwargs={}
    )
    (part,) = message_of(message).parts
    assert {"block_type": "novelty", "payload": "Hello"} == json.loads(part.text)


def test_legacy_images_are_read_as_blocks() -> None:
    """`additional_kwargs["images"]`, LlamaIndex's old way, has become a block by the time we see it."""
    image = SimpleNamespace(resolve_image=lambda as_base64: io.BytesIO(base64.b64encode(PNG)))
    assert (Image(PNG_URL),) == message_of(ChatMessage(additional_kwargs={"images": [image]})).parts


def test_calls_are_read_from_blocks_with_arguments_as_they_came() -> None:
    """Arguments are an object, or the text of one that is still arriving."""
    whole = ToolCallBlock(tool_call_id="1", tool_name="add", tool_kwargs={"a": "ü"})
    begun = ToolCallBlock(tool_call_id="2", tool_name="add", tool_kwargs='{"a": ')
    assert (ToolCall("1", "add", '{"a": "ü"}'), ToolCall("2", "add", '{"a": ')) == said_by(whole, begun).tool_calls


@pytest.mark.parametrize(
    "beside",
    [
        {"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}},
        {"id": "1", "type": "tool_use", "name": "add", "input": {"a": 1}},
        {"id": "1", "name": "add", "args": {"a": 1}},
        {"toolUseId": "1", "name": "add", "input": {"a": 1}},
        SimpleNamespace(id="1", function=SimpleNamespace(name="add", arguments='{"a": 1}')),
    ],
)
def test_calls_beside_the_blocks_are_read_in_each_integrations_form(beside: Any) -> None:
    """`additional_kwargs["tool_calls"]` holds dicts or an SDK's objects; what a block says already is not repeated."""
    (call,) = said_by(TextBlock(text=""), role="assistant", tool_calls=[beside]).tool_calls
    assert ("1", "add", {"a": 1}) == (call.id, call.name, json.loads(call.arguments))
    block = ToolCallBlock(tool_call_id="1", tool_name="add", tool_kwargs={"a": 1})
    assert 1 == len(said_by(block, role="assistant", tool_calls=[beside]).tool_calls)
    other = ToolCallBlock(tool_call_id="1", tool_name="add", tool_kwargs={"a": 2})
    assert 2 == len(said_by(other, role="assistant", tool_calls=[beside]).tool_calls)


def test_a_call_in_no_known_form_is_judged_as_its_json() -> None:
    """Nor is it passed over where it is not a list."""
    (call,) = said_by(role="assistant", tool_calls={"what": "add"}).tool_calls
    assert '{"what": "add"}' == call.arguments


def test_what_stands_beside_the_blocks_is_read() -> None:
    """Thoughts, refusals, legacy calls: models are shown `additional_kwargs`, and so may people be."""
    message = said_by(
        TextBlock(text="Hi"), role="assistant", reasoning_content="Hm.", function_call={"name": "add"},
        prompt_tokens=5, is_final=True, empty=None, tool_call_id="opaque",
    )  # fmt: skip
    assert (Text("Hi"), Text("Hm."), Text('function_call: {"name": "add"}')) == message.parts
