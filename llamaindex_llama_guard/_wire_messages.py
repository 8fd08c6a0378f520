"""LlamaIndex messages, tools and choices, as the chat-completions API takes them.

Nothing is dropped in silence: content that the API has no form for raises. Left out on purpose are an
assistant's earlier thoughts and the points up to which other models' hosts would cache.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    CachePoint,
    ChatMessage,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.tools.types import BaseTool

from llama_guard_core.written import written
from llamaindex_llama_guard._conversation import call_in, data_url

IMAGE_TYPES = ("image/png", "image/jpeg", "image/webp", "image/gif")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_ASSISTANT = (MessageRole.ASSISTANT, MessageRole.CHATBOT, MessageRole.MODEL)
_RESULT = (MessageRole.TOOL, MessageRole.FUNCTION)
_SYSTEM = (MessageRole.SYSTEM, MessageRole.DEVELOPER)


def wire_messages(messages: Iterable[ChatMessage]) -> list[dict[str, Any]]:
    """The messages as the API takes them.

    Raises:
        ValueError: if a message has content that the API has no form for, or a tool's result names no call.
    """
    return [_wire_message(message) for message in messages]


def _wire_message(message: ChatMessage) -> dict[str, Any]:
    if message.role in _ASSISTANT:
        return _assistant(message)
    if message.role in _RESULT:
        if not (call_id := message.additional_kwargs.get("tool_call_id")):
            msg = "a tool's result says which call it answers: set additional_kwargs['tool_call_id']"
            raise ValueError(msg)
        return {"role": "tool", "tool_call_id": str(call_id), "content": _content(message)}
    if message.role in _SYSTEM:
        return {"role": "system", "content": _text(message)}
    return {"role": "user", "content": _content(message)}


def _assistant(message: ChatMessage) -> dict[str, Any]:
    calls = _calls(message)
    wire: dict[str, Any] = {"role": "assistant", "content": _text(message) or (None if calls else "")}
    if calls:
        wire["tool_calls"] = calls
    return wire


def _calls(message: ChatMessage) -> list[dict[str, Any]]:
    """The calls, from the blocks; beside them an integration says the same again, or older ones say it alone."""
    blocks = [block for block in message.blocks if isinstance(block, ToolCallBlock)]
    if blocks:
        return [_wire_call(block.tool_call_id, block.tool_name, block.tool_kwargs) for block in blocks]
    wire = []
    for listed in message.additional_kwargs.get("tool_calls") or ():
        if (call := call_in(listed)) is None:
            msg = f"additional_kwargs['tool_calls'] holds a {type(listed).__name__} that names no tool"
            raise ValueError(msg)
        wire.append(_wire_call(call.id, call.name, call.arguments))
    return wire


def _wire_call(call_id: str | None, name: str, arguments: Mapping[str, Any] | str) -> dict[str, Any]:
    text = arguments if isinstance(arguments, str) else written(arguments)
    return {"id": call_id or "", "type": "function", "function": {"name": name, "arguments": text or "{}"}}


def _content(message: ChatMessage) -> str | list[dict[str, Any]]:
    """Text alone as a string, which every host takes; a list of parts where there is more than text."""
    parts = [_part(block) for block in message.blocks if not isinstance(block, ThinkingBlock | CachePoint)]
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _text(message: ChatMessage) -> str:
    """The text of a turn that the API takes no more than text in."""
    content = _content(_without_calls(message))
    if isinstance(content, str):
        return content
    msg = f"a message of the {message.role.value} is text alone for this API: move its images and files to the user's"
    raise ValueError(msg)


def _without_calls(message: ChatMessage) -> ChatMessage:
    blocks = [block for block in message.blocks if not isinstance(block, ToolCallBlock)]
    return message.model_copy(update={"blocks": blocks})


def _part(block: Any) -> dict[str, Any]:
    match block:
        case TextBlock():
            return {"type": "text", "text": block.text}
        case ImageBlock():
            return _image(block)
        case DocumentBlock():
            return {"type": "file", "file": {"filename": block.title, "file_data": _document_url(block)}}
        case _:
            msg = f"Llama 4 Scout takes text, images and files; a block of type {block.block_type!r} is none of these"
            raise ValueError(msg)


def _document_url(block: DocumentBlock) -> str:
    if block.url and block.data is None and block.path is None:
        return block.url
    content = base64.b64encode(block.resolve_document().read()).decode()
    return f"data:{block.document_mimetype or 'application/octet-stream'};base64,{content}"


def _image(block: ImageBlock) -> dict[str, Any]:
    url = data_url(block)
    media_type, _, payload = url.removeprefix("data:").partition(";base64,")
    if url.startswith("data:"):
        if media_type not in IMAGE_TYPES or len(payload) % 4 or not _BASE64.fullmatch(payload):
            msg = f"an inline image must be base64 data of one of {', '.join(IMAGE_TYPES)}"
            raise ValueError(msg)
    elif not url.startswith(("https://", "http://")):
        msg = "an image is given by its https:// address or as its bytes"
        raise ValueError(msg)
    detail = {"detail": block.detail} if block.detail else {}
    return {"type": "image_url", "image_url": {"url": url, **detail}}


def wire_tools(tools: Sequence[BaseTool]) -> list[dict[str, Any]]:
    """LlamaIndex's tools as the API's function tools."""
    return [tool.metadata.to_openai_tool(skip_length_check=True) for tool in tools]


def wire_tool_choice(
    choice: str | Mapping[str, Any] | None, wired: Sequence[Mapping[str, Any]], *, required: bool
) -> str | dict[str, Any]:
    """Which of the tools must be called, in the API's words.

    Args:
        choice: `"auto"`, `"none"`, `"required"` (or `"any"`), a tool's name, or the API's own object.
        wired: the tools, as the API takes them; at least one.
        required: whether one must be called where `choice` says nothing.

    Raises:
        ValueError: if it names a tool that is not there.
    """
    match choice:
        case None | "":
            return "required" if required else "auto"
        case "auto" | "none" | "required":
            return str(choice)
        case "any":
            return "required"
        case str():
            name = choice
        case _:
            name = str(dict(choice).get("function", {}).get("name"))
    names = [tool["function"]["name"] for tool in wired]
    if name not in names:
        msg = f"tool_choice names {name!r}, which is none of the tools {names}"
        raise ValueError(msg)
    return {"type": "function", "function": {"name": name}}
