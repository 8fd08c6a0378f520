"""LangChain messages, as the conversation the guard judges.

The rule is that nothing a reader could see goes unjudged: text, reasoning, tool calls with the arguments
as they came, images. Content of a kind that the guard cannot read is marked as such, and what follows is
the policy's choice; content of an unknown kind is judged as its JSON.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from langchain_core import messages
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ChatMessage, SystemMessage, ToolMessage

from llama_guard_core.guardrail.tool_screening import plain_call
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
from llama_guard_core.written import written

_UNREADABLE = {"audio", "input_audio", "video", "video_url", "file", "document", "media"}
_CALLS = {"tool_call", "tool_use", "tool_call_chunk", "invalid_tool_call", "function_call"}
_ARGUMENTS = ("args", "input", "arguments", "partial_json")
_SPOKEN_EXTRAS = ("reasoning_content", "reasoning", "thinking", "refusal", "function_call", "reasoning_details")
"""Where in `additional_kwargs` integrations put what a model says beside its content."""
_SPOKEN = {
    "text": "text",
    "output_text": "text",
    "reasoning": "reasoning",
    "thinking": "thinking",
    "refusal": "refusal",
}
"""Blocks of words, and where in them these are; of a reply's pieces only such may be shown before its end."""
_OF_IMAGES = {"url", "image_url", "base64", "data", "mime_type", "source", "source_type", "file_id", "detail", "extras"}
_READ: Mapping[str, set[str]] = {
    **{kind: {words} for kind, words in _SPOKEN.items()},
    **{kind: {"text", "mime_type"} for kind in ("text-plain", "input_text")},
    **dict.fromkeys(("image", "image_url"), _OF_IMAGES | {"cache_control"}),
}
"""What of a block is read by its kind, or says nothing to a reader."""
_ENDS = {"finish_reason", "stop_reason"}
_CALLS_BESIDE = {"tool_calls", "function_call", "audio"}
_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "assistant": "assistant", "ai": "assistant"}


def conversation_of(said: Sequence[BaseMessage]) -> Conversation:
    """The messages in nobody's dialect."""
    return tuple(map(message_of, said))


def message_of(message: BaseMessage) -> Message:
    """One message in nobody's dialect."""
    if isinstance(message, AIMessage):
        return Message("assistant", tuple(_assistant_parts(message)), tuple(_calls(message)))
    return Message(_role(message), tuple(_parts(message.content)))


def text_added_by(chunk: BaseMessage) -> str | None:
    """The text that a piece of a streamed reply adds to it: what is said and what is thought.

    Returns:
        `None` for a piece that nobody may act on before the reply has ended: one of a tool call, the one that says
        that the reply is over, and any of content that is not text.
    """
    extras = chunk.additional_kwargs
    if (isinstance(chunk, AIMessageChunk) and (chunk.tool_call_chunks or chunk.chunk_position)) or (
        extras and not _CALLS_BESIDE.isdisjoint(extras)
    ):
        return None
    if not _ENDS.isdisjoint(chunk.response_metadata):
        return None
    if isinstance(chunk.content, str) and not extras:
        return chunk.content
    if not isinstance(chunk.content, str) and any(_kind(part) not in _SPOKEN for part in chunk.content):
        return None
    return message_of(chunk).text


def spoken_in(chunk: BaseMessage) -> str:
    """The text of one piece of a reply, tool calls aside, as somebody sees it who sees each piece."""
    if isinstance(chunk.content, str) and not chunk.additional_kwargs:
        return chunk.content
    return message_of(chunk).text


def with_lost_text(said: Message, seen: str) -> Message:
    """What is said, and the pieces' own text where it is more: LangChain loses some of it when it adds pieces up."""
    if seen == said.text or Counter(seen) <= Counter(said.text):
        return said
    return Message(said.role, (*said.parts, Text(seen)), said.tool_calls)


def _kind(part: str | Mapping[str, Any]) -> str:
    kind = "text" if isinstance(part, str) else part.get("type")
    return kind if isinstance(kind, str) else ""


def _role(message: BaseMessage) -> Role:
    match message:
        case SystemMessage():
            return "system"
        case ToolMessage():
            return "tool"
        case ChatMessage():
            return _ROLES.get(message.role, "user")
        case _:
            return "user"


def _assistant_parts(message: AIMessage) -> Iterable[Part]:
    content = message.content
    if not isinstance(content, str):
        calls = [*_calls(message)]
        content = [part for part in content if isinstance(part, str) or not _says_again(part, calls)]
    yield from _parts(content)
    for kind in _SPOKEN_EXTRAS:
        if extra := message.additional_kwargs.get(kind):
            yield Text(extra) if isinstance(extra, str) else written_part(extra)
    if message.additional_kwargs.get("audio"):
        yield Unjudgeable("audio")


def is_call(part: Mapping[str, Any], called: set[str]) -> bool:
    """Whether a content part is that of one of these tool calls."""
    call_id = part.get("id") or part.get("call_id") or ""
    return _kind(part) in _CALLS and isinstance(call_id, (str, int)) and str(call_id) in called


def _says_again(part: Mapping[str, Any], calls: Iterable[ToolCall]) -> bool:
    """Whether a content part says what stands in one of these tool calls, and no other name or arguments."""
    return any(is_call(part, {call.id}) and _is_said_by(part, call) for call in calls)


def _is_said_by(part: Mapping[str, Any], call: ToolCall) -> bool:
    name = part.get("name") or call.name
    try:
        given = [it if isinstance(it, str) else written(it) for key in _ARGUMENTS if (it := part.get(key))]
    except ValueError:
        return False
    return name == call.name and all(plain_call(replace(call, arguments=text)) == plain_call(call) for text in given)


def _calls(message: AIMessage) -> Iterable[ToolCall]:
    if isinstance(message, AIMessageChunk) and message.tool_call_chunks:
        # The fragments as they came: parsed arguments of a stream leave out what is not JSON yet.
        for chunk in message.tool_call_chunks:
            yield ToolCall(chunk["id"] or "", chunk["name"] or "", _as_dumped(chunk["args"] or ""))
        return
    yield from map(call_of, message.tool_calls)
    for broken in message.invalid_tool_calls:
        yield ToolCall(broken["id"] or "", broken["name"] or "", broken["args"] or "")


def call_of(call: messages.ToolCall) -> ToolCall:
    """A call in nobody's dialect."""
    return ToolCall(call["id"] or "", call["name"], written_arguments(call["args"]))


def _as_dumped(arguments: str) -> str:
    """Arguments as the finished message will have them, if they are whole and say nothing that gets lost on the way."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            raise ValueError
        return values

    try:
        return json.dumps(json.loads(arguments, object_pairs_hook=unique), ensure_ascii=False, default=str)
    except (ValueError, RecursionError):
        return arguments


def _parts(content: str | Sequence[str | Mapping[str, Any]]) -> Iterable[Part]:
    if isinstance(content, str):
        yield Text(content)
        return
    for part in content:
        yield from _part(part)
        if isinstance(part, Mapping) and _kind(part) in _READ:
            yield from _beside(part)


def _beside(extras: Mapping[str, Any]) -> Iterable[Part]:
    """What stands beside a block's words or picture: citations, titles, a provider's extras, another block's words."""
    said = {"type", "index", "id", "signature"} | _READ[_kind(extras)]
    told = {key: value for key, value in extras.items() if key not in said and isinstance(value, (str, list, dict))}
    if any(told.values()):
        yield written_part(told)


def _part(part: str | Mapping[str, Any]) -> Iterable[Part]:  # noqa: C901 - one line a form
    match part:
        case str(text) | {"type": "text" | "text-plain" | "input_text" | "output_text", "text": str(text)}:
            yield Text(text)
        case {"type": "reasoning", "reasoning": str(text)} | {"type": "thinking", "thinking": str(text)}:
            yield Text(text)
        case {"type": "refusal", "refusal": str(text)}:
            yield Text(text)
        case {"type": "image_url", "image_url": {"url": str(url)}} | {"type": "image_url", "image_url": str(url)}:
            yield Image(url)
        case {"type": "image", "url": str(url)} | {"type": "image", "source": {"type": "url", "url": str(url)}}:
            yield Image(url)
        case {"type": "image", "base64": str(data), "mime_type": str(kind)}:
            yield Image(f"data:{kind};base64,{data}")
        case {"type": "image", "source_type": "base64", "data": str(data), "mime_type": str(kind)}:
            yield Image(f"data:{kind};base64,{data}")
        case {"type": "image", "source": {"type": "base64", "media_type": str(kind), "data": str(data)}}:
            yield Image(f"data:{kind};base64,{data}")
        case {"type": "image"}:
            yield Unjudgeable("an image that is stored elsewhere")
        case {"type": str(kind)} if kind in _UNREADABLE:
            yield Unjudgeable(kind)
        case {"type": "tool_result", "content": inner} if isinstance(inner, (str, list)):
            yield from _parts(inner)
        case _:
            yield written_part(part)
