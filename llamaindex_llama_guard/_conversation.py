"""LlamaIndex messages, as the conversation the guard judges.

The rule is that nothing a reader could see goes unjudged: text, thoughts, images, documents, tool calls with the
arguments as they came, and what stands beside the blocks. Content that the guard cannot read is marked as such,
and what follows is the policy's choice; content of an unknown kind is judged as its JSON.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    AudioBlock,
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
from pydantic import BaseModel

from llama_guard_core.messages import (
    Conversation,
    Image,
    Message,
    Part,
    Role,
    Text,
    ToolCall,
    Unjudgeable,
    written_arguments,
    written_part,
)

_ROLES: dict[MessageRole, Role] = {
    MessageRole.SYSTEM: "system",
    MessageRole.DEVELOPER: "system",
    MessageRole.USER: "user",
    MessageRole.ASSISTANT: "assistant",
    MessageRole.CHATBOT: "assistant",
    MessageRole.MODEL: "assistant",
    MessageRole.TOOL: "tool",
    MessageRole.FUNCTION: "tool",
}
_NOTHING_SAID = {"tool_calls", "tool_call_id", "images"}
"""What `additional_kwargs` says again or cannot say: calls are read apart, images are blocks already."""
_TEXT_TYPES = ("text/", "application/json", "application/xml")
_UNTITLED = "input_document"  # what LlamaIndex calls a document without a title


def conversation_of(messages: Iterable[ChatMessage]) -> Conversation:
    """The messages in nobody's dialect."""
    return tuple(message_of(message) for message in messages)


def message_of(message: ChatMessage) -> Message:
    """One message in nobody's dialect."""
    parts = [part for block in message.blocks for part in _parts(block)]
    return Message(_ROLES[message.role], (*parts, *_beside(message.additional_kwargs)), tuple(_calls(message)))


def parts_of(blocks: Iterable[Any]) -> tuple[Part, ...]:
    """The content of blocks that belong to no message, such as a node's."""
    return tuple(part for block in blocks for part in _parts(block))


def data_url(block: ImageBlock) -> str:
    """An image as the address that a model is given: its own, or a `data:` URL.

    Raises:
        ValueError: if there is no image, or nothing says of what kind it is.
        OSError: if its file cannot be read.
    """
    if block.url is not None and block.image is None and block.path is None:
        return str(block.url)
    content = block.resolve_image().read()
    kind = block.image_mimetype or ImageBlock(image=content).image_mimetype
    if not kind:
        msg = "an image needs an image_mimetype where its bytes do not tell"
        raise ValueError(msg)
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def call_in(call: Any) -> ToolCall | None:
    """A tool call as integrations put it into `additional_kwargs`: an SDK's object, or a dict in one of its forms."""
    fields = _as_mapping(call)
    function = _as_mapping(fields.get("function")) or fields
    if not isinstance(name := function.get("name"), str):
        return None
    given = (function[key] for key in ("arguments", "args", "input", "parameters") if key in function)
    arguments = next(given, None)
    call_id = fields.get("id") or fields.get("tool_call_id") or fields.get("toolUseId") or ""
    return ToolCall(str(call_id), name, written_arguments(arguments or {}, _plain))


def call_key(call: ToolCall) -> tuple[str, str, str]:
    """What a call is, however its arguments are written."""
    try:
        arguments = json.dumps(json.loads(call.arguments), sort_keys=True)
    except (ValueError, RecursionError):
        arguments = call.arguments
    return call.id, call.name, arguments


def arguments_text(arguments: Mapping[str, Any] | str) -> str:
    """A call's arguments as text: as the model wrote them, or as JSON."""
    return written_arguments(arguments, _plain)


def _parts(block: Any) -> Iterable[Part]:
    match block:
        case TextBlock():
            yield Text(block.text)
        case ThinkingBlock():
            if block.content:  # what stands beside it is a provider's signature, or encrypted
                yield Text(block.content)
        case ImageBlock():
            yield from _images(block)
        case DocumentBlock():
            yield from _document(block)
        case AudioBlock():
            yield Unjudgeable("audio")
        case _ if block.block_type == "video":
            yield Unjudgeable("video")
        case CitableBlock() | CitationBlock():
            yield from (Text(named) for named in (block.title, block.source) if named)
            yield from parts_of(block.content if isinstance(block, CitableBlock) else [block.cited_content])
        case ToolCallBlock() | CachePoint():
            pass
        case _:
            yield written_part(block, _plain)


def _images(block: ImageBlock) -> Iterable[Part]:
    yield _image(block)
    if block.url is not None and (block.image is not None or block.path is not None):
        yield Image(str(block.url))  # integrations differ in which of the two a model is given


def _image(block: ImageBlock) -> Part:
    try:
        url = data_url(block)
    except (ValueError, OSError):
        return Unjudgeable("an image that cannot be read")
    if url.startswith(("https://", "http://", "data:")):
        return Image(url)
    return Unjudgeable("an image that is stored elsewhere")


def _document(block: DocumentBlock) -> Iterable[Part]:
    """A document of text, read; any other is beyond the guard, and so is one that is elsewhere."""
    if block.title and block.title != _UNTITLED:
        yield Text(block.title)
    is_here = block.data is not None or block.path is not None
    if is_here and (block.document_mimetype or "").startswith(_TEXT_TYPES):
        try:
            yield Text(block.resolve_document().read().decode())
        except (ValueError, OSError):
            pass
        else:
            return
    yield Unjudgeable("document")


def _calls(message: ChatMessage) -> Iterable[ToolCall]:
    """The calls in the blocks, and those beside them that say something else."""
    known = [
        ToolCall(block.tool_call_id or "", block.tool_name, arguments_text(block.tool_kwargs))
        for block in message.blocks
        if isinstance(block, ToolCallBlock)
    ]
    yield from known
    said = {call_key(call) for call in known}
    beside = message.additional_kwargs.get("tool_calls") or ()
    for listed in beside if isinstance(beside, Sequence) and not isinstance(beside, str) else [beside]:
        call = call_in(listed) or ToolCall("", "", written_arguments(listed, _plain))
        if call_key(call) not in said:
            yield call


def _beside(extras: Mapping[str, Any]) -> Iterable[Part]:
    """What stands beside the blocks: thoughts, refusals, whatever an integration or an application put there."""
    for key, value in extras.items():
        if key not in _NOTHING_SAID and value and not isinstance(value, (bool, int, float)):
            part = Text(value) if isinstance(value, str) else written_part(value, _plain)
            yield Text(f"{key}: {part.text}") if isinstance(part, Text) and not isinstance(value, str) else part


def _as_mapping(value: Any) -> Mapping[str, Any]:
    if isinstance(value, BaseModel):
        return value.model_dump()
    return value if isinstance(value, Mapping) else getattr(value, "__dict__", {})


def _plain(value: Any) -> Any:
    return value.model_dump() if isinstance(value, BaseModel) else str(value)
