"""The rules for the messages of a request: roles, content parts, and tool calls that are answered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .shapes import (
    Check,
    any_of,
    data_url,
    is_list,
    is_object,
    is_string,
    is_text,
    list_of,
    matching,
    object_with,
    one_of,
)

_KEYS: dict[str, set[str]] = {
    "system": {"role", "content", "name"},
    "developer": {"role", "content", "name"},
    "user": {"role", "content", "name"},
    "assistant": {
        "role", "content", "name", "tool_calls", "refusal", "reasoning", "reasoning_content", "reasoning_details",
    },
    "tool": {"role", "content", "name", "tool_call_id"},
}  # fmt: skip

_ADDRESS = matching(r"https://\S+")
_IMAGE_URL = any_of(_ADDRESS, data_url("image/(png|jpeg|webp|gif)"))
_FILE_DATA = any_of(_ADDRESS, data_url("application/pdf"))

_PARTS: dict[str, Check] = {
    "text": object_with(
        {"type": is_text, "text": is_string, "cache_control": is_object, "prompt_cache_breakpoint": is_object},
        required={"text"},
    ),
    "image_url": object_with(
        {
            "type": is_text,
            "image_url": object_with(
                {"url": _IMAGE_URL, "detail": one_of("auto", "low", "high", "original")}, required={"url"}
            ),
        },
        required={"image_url"},
    ),
    "file": object_with(
        {"type": is_text, "file": object_with({"filename": is_text, "file_data": _FILE_DATA, "file_id": is_text})},
        required={"file"},
    ),
}
_PARTS_OF = {"user": set(_PARTS), "tool": set(_PARTS)}

_TOOL_CALLS = list_of(
    object_with(
        {
            "id": is_text,
            "type": one_of("function"),
            "function": object_with(
                {"name": matching(r"[A-Za-z0-9_-]{1,64}"), "arguments": is_string}, required={"name", "arguments"}
            ),
        },
        required={"id", "type", "function"},
    )
)


def message_problems(messages: object) -> Iterator[str]:
    """Tell what is wrong with the messages, one by one and together."""
    if not is_list(messages):
        return
    for position, message in enumerate(messages):
        for problem in _one_message(message):
            yield f"messages[{position}]: {problem}"
    yield from _pairing_problems([message for message in messages if is_object(message)])


def _one_message(message: object) -> Iterator[str]:
    if not is_object(message) or not one_of(*_KEYS)(message.get("role")):
        yield "not a message with a known role"
        return
    role = message["role"]
    yield from (f"unknown key: {key}" for key in message if key not in _KEYS[role])
    yield from (
        f"{key} is null: an unset key is left out" for key in message if message[key] is None and key != "content"
    )
    yield from _content_problems(message, role)
    if "tool_calls" in message and not _TOOL_CALLS(message["tool_calls"]):
        yield "tool_calls are not a list of calls with id, type and function"
    if role == "tool" and not is_text(message.get("tool_call_id")):
        yield "a tool message needs tool_call_id"


def _content_problems(message: dict[str, Any], role: str) -> Iterator[str]:
    content = message.get("content")
    if is_list(content):
        yield from _part_problems(content, _PARTS_OF.get(role, {"text"}))
    elif content is None and role == "assistant":
        if not any(message.get(key) for key in ("tool_calls", "refusal")):
            yield "an assistant message needs content or tool_calls"
    elif not is_string(content):
        yield "content is neither a text nor a list of parts"


def _part_problems(parts: list[Any], allowed: set[str]) -> Iterator[str]:
    for part in parts:
        kind = part.get("type") if is_object(part) else None
        if not is_string(kind) or kind not in _PARTS:
            yield f"unknown content part: {kind!r}"
        elif kind not in allowed:
            yield f"a part of type {kind} is not allowed here"
        elif not _PARTS[kind](part):
            yield f"malformed part of type {kind}"


def _pairing_problems(messages: list[dict[str, Any]]) -> Iterator[str]:
    """Every call is answered before anything else is said, and nothing else is answered."""
    waiting: list[str] = []
    for message in messages:
        if message.get("role") == "tool":
            if message.get("tool_call_id") not in waiting:
                yield "a tool message answers no call of the assistant turn before it"
            else:
                waiting.remove(message["tool_call_id"])
            continue
        if waiting:
            yield "a tool call was not answered"
        calls = message.get("tool_calls")
        waiting = [call["id"] for call in calls] if _TOOL_CALLS(calls) and calls else []
        if len(set(waiting)) < len(waiting):
            yield "two tool calls have one id"
    if waiting:
        yield "a tool call was not answered"
