"""LangChain messages, tools and choices, as the chat-completions API takes them.

Nothing is dropped in silence: content that the API has no form for raises. Left out on purpose are the
parts of an assistant's earlier turn that the API carries elsewhere (tool calls) or not at all (reasoning).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    convert_to_openai_data_block,
    is_data_content_block,
)
from langchain_core.utils.function_calling import convert_to_openai_tool

from llama_guard_core.written import written

IMAGE_TYPES = ("image/png", "image/jpeg", "image/webp", "image/gif")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_WORD_OF_THE_API = re.compile(r"[a-z][a-z _-]{0,40}")
_ROLES = {"system", "developer", "user", "assistant"}
# Parts of an assistant's turn that travel in `tool_calls`, or that the model's hosts have no field for.
_NOT_SENT_BACK = {
    "tool_use", "tool_call", "tool_call_chunk", "invalid_tool_call", "function_call", "input_json_delta",
    "thinking", "redacted_thinking", "reasoning", "reasoning_content",
}  # fmt: skip


def wire_messages(messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
    """The messages as the API takes them.

    Raises:
        ValueError: if a message has a role or content that the API has no form for.
    """
    return [_wire_message(message) for message in messages]


def _wire_message(message: BaseMessage) -> dict[str, Any]:
    match message:
        case AIMessage():
            wire = _assistant(message)
        case ToolMessage():
            wire = {"role": "tool", "tool_call_id": message.tool_call_id, "content": _content(message.content)}
        case HumanMessage():
            wire = {"role": "user", "content": _content(message.content)}
        case SystemMessage():
            role = message.additional_kwargs.get("__openai_role__", "system")
            wire = {"role": role, "content": _content(message.content)}
        case ChatMessage() if message.role in _ROLES:
            wire = {"role": message.role, "content": _content(message.content)}
        case _:
            msg = f"a {type(message).__name__} has no place in this API; use human, AI, system or tool messages"
            raise ValueError(msg)
    if message.name and not isinstance(message, ToolMessage):
        wire["name"] = message.name
    return wire


def _assistant(message: AIMessage) -> dict[str, Any]:
    calls = [_wire_call(call["id"], call["name"], written(call["args"])) for call in message.tool_calls] + [
        _wire_call(call["id"], call["name"], call["args"]) for call in message.invalid_tool_calls
    ]
    content = message.content
    if not isinstance(content, str):
        calls += _calls_in(content, {call["id"] for call in calls})
        content = [_refusal_as_text(part) for part in content if not _is_not_sent_back(part)]
    said = _content(content) or message.additional_kwargs.get("refusal")
    wire: dict[str, Any] = {"role": "assistant", "content": said or (None if calls else "")}
    if calls:
        wire["tool_calls"] = calls
    return wire


def _calls_in(content: Sequence[str | Mapping[str, Any]], known: set[str]) -> Iterable[dict[str, Any]]:
    """The calls that stand in the content alone, in Anthropic's form or as standard blocks."""
    for part in content:
        match part:
            case {"type": "tool_use", "id": str(call_id), "name": str(name), "input": arguments} | {
                "type": "tool_call", "id": str(call_id), "name": str(name), "args": arguments
            } if call_id not in known:  # fmt: skip
                yield _wire_call(call_id, name, written(arguments))


def _is_not_sent_back(part: str | Mapping[str, Any]) -> bool:
    return not isinstance(part, str) and isinstance(kind := part.get("type"), str) and kind in _NOT_SENT_BACK


def _refusal_as_text(part: str | dict[str, Any]) -> str | dict[str, Any]:
    match part:
        case {"type": "refusal", "refusal": str(text)}:
            return text
        case {"type": "non_standard", "value": {"type": "refusal", "refusal": str(text)}}:
            return text
        case _:
            return part


def _wire_call(call_id: str | None, name: str | None, arguments: str | None) -> dict[str, Any]:
    return {"id": call_id or "", "type": "function", "function": {"name": name or "", "arguments": arguments or ""}}


def _content(content: str | Sequence[str | dict[str, Any]]) -> str | list[dict[str, Any]]:
    return content if isinstance(content, str) else [_part(part) for part in content]


def _part(part: str | Mapping[str, Any]) -> dict[str, Any]:  # noqa: C901, PLR0911 - one line a form
    match part:
        case str():
            return {"type": "text", "text": part}
        case {"type": "text", "text": str(text)}:
            cache = {"cache_control": part["cache_control"]} if "cache_control" in part else {}
            return {"type": "text", "text": text, **cache}
        case {"type": "image_url", "image_url": str(url)}:
            return _image({"url": url})
        case {"type": "image_url", "image_url": {"url": str()} as image}:
            return _image(image)
        case {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}:
            return _image({"url": f"data:{media_type};base64,{data}"})
        case {"type": "image", "source": {"type": "url", "url": str(url)}}:
            return _image({"url": url})
        case {"type": "text-plain", "text": str(text)}:
            return {"type": "text", "text": text}
        case {"type": "file", "file": dict(file)}:
            return {"type": "file", "file": file}
        case {"type": "file", "url": str(url)}:
            return {"type": "file", "file": {"filename": str(part.get("filename", "document.pdf")), "file_data": url}}
        case {"type": "image" | "file"} if is_data_content_block(dict(part)):
            converted = convert_to_openai_data_block(_with_filename(part))
            return _image(converted["image_url"]) if converted["type"] == "image_url" else converted
        case _:
            kind = part.get("type", "without a type") if isinstance(part, Mapping) else type(part).__name__
            if not (isinstance(kind, str) and _WORD_OF_THE_API.fullmatch(kind)):  # no error quotes somebody's text
                kind = "of an unknown type"
            msg = f"Llama 4 Scout takes text, images and files; a content part {kind!r} is none of these"
            raise ValueError(msg)


def _image(image: Mapping[str, Any]) -> dict[str, Any]:
    url = image["url"]
    media_type, _, payload = url.removeprefix("data:").partition(";base64,")
    if url.startswith("data:"):
        if media_type not in IMAGE_TYPES or len(payload) % 4 or not _BASE64.fullmatch(payload):
            msg = f"an inline image must be base64 data of one of {', '.join(IMAGE_TYPES)}"
            raise ValueError(msg)
    elif not url.startswith(("https://", "http://")):
        msg = "an image is given by its https:// address or as base64 data"
        raise ValueError(msg)
    detail = {"detail": image["detail"]} if image.get("detail") else {}
    return {"type": "image_url", "image_url": {"url": url, **detail}}


def _with_filename(part: Mapping[str, Any]) -> dict[str, Any]:
    named = dict(part)
    if part["type"] == "file" and not (part.get("filename") or part.get("extras") or part.get("metadata")):
        named["filename"] = "document.pdf"
    return named


def wire_tools(tools: Iterable[Any], *, strict: bool | None = None) -> list[dict[str, Any]]:
    """Tools in any form LangChain knows, as the API's function tools.

    Raises:
        ValueError: for a built-in tool of another provider, which no host of Scout runs.
    """
    wire = [convert_to_openai_tool(tool, strict=strict) for tool in tools]
    for tool in wire:
        if tool.get("type") != "function":
            msg = f"{tool.get('type')!r} is a built-in tool of another provider; Scout's hosts run function tools only"
            raise ValueError(msg)
    return wire


def wire_tool_choice(
    choice: str | bool | Mapping[str, Any] | None,  # noqa: FBT001 - LangChain's own signature
    tools: Sequence[Mapping[str, Any]],
) -> str | dict[str, Any] | None:
    """LangChain's `tool_choice` in the API's words.

    Raises:
        ValueError: if it names a tool that is not there, asks for one where there is none, or says `True` for several.
    """
    names = [tool["function"]["name"] for tool in tools]
    match choice:  # the API refuses a choice without tools
        case None | False:
            return None
        case "auto" | "none" if not names:
            return None
        case "any" | "required" if not names:
            msg = f"tool_choice={choice!r} needs a tool to choose"
            raise ValueError(msg)
        case "auto" | "none" | "required":
            return choice
        case "any":
            return "required"
        case True if len(names) == 1:
            return _named(names[0])
        case True:
            msg = f"tool_choice=True needs exactly one tool, not {len(names)}"
            raise ValueError(msg)
        case str():
            name = choice
        case _:
            name = str(dict(choice).get("function", {}).get("name"))
    if name not in names:
        msg = f"tool_choice names {name!r}, which is none of the tools {names}"
        raise ValueError(msg)
    return _named(name)


def _named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}
