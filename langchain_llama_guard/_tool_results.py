"""The messages in what a tool gives: a `ToolMessage`, a LangGraph `Command` that writes some to a state, or a list.

All of them are read by a model sooner or later, under whatever name the state has them and in whatever form LangGraph
takes for a message. LangGraph itself may be absent, so its `Command` is told by its form.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from langchain_core.messages import BaseMessage, convert_to_messages
from langchain_core.messages.tool import ToolOutputMixin
from pydantic import BaseModel

from langchain_llama_guard._conversation import conversation_of
from llama_guard_core.guardrail.failures import Failed
from llama_guard_core.messages import Message, Text

_MESSAGES = "messages"
ByMessage = Callable[[BaseMessage], BaseMessage]


def messages_in(result: Any) -> list[BaseMessage]:
    """The messages that a tool's result puts before a model, in order."""
    found: list[BaseMessage] = []

    def note(message: BaseMessage) -> BaseMessage:
        found.append(message)
        return message

    with_messages(result, note)
    return found


def said_in(result: Any) -> Message | None:
    """What a model would read of a tool's result or exception; `None` if there is no message in it."""
    if isinstance(result, Failed):
        return Message("tool", (Text(result.text),))
    said = conversation_of(messages_in(result))
    calls = (Text(f"{call.name} {call.arguments}") for message in said for call in message.tool_calls)
    parts = (*(part for message in said for part in message.parts), *calls)
    return Message("tool", parts) if parts else None


def with_messages(value: Any, by: ByMessage) -> Any:
    """The same result with other messages in the place of those in it."""
    if isinstance(value, BaseMessage):
        return by(value)
    if isinstance(value, list):
        return [with_messages(item, by) for item in value]
    if type(value) is tuple:
        return tuple(with_messages(item, by) for item in value)
    if isinstance(value, dict):
        return {key: with_messages(item, by) for key, item in value.items()}
    if isinstance(value, ToolOutputMixin) and hasattr(value, "update"):  # LangGraph's Command
        return _with_fields(value, {"update": _with_messages_read(value.update)}, by)
    return _with_fields(value, _fields_of(value), by)


def _with_fields(value: Any, fields: dict[str, Any], by: ByMessage) -> Any:
    """A copy of an object, if there are messages in these fields of it."""
    changed = {name: with_messages(field, by) for name, field in fields.items() if messages_in(field)}
    if not changed:
        return value
    return value.model_copy(update=changed) if isinstance(value, BaseModel) else dataclasses.replace(value, **changed)


def _fields_of(value: Any) -> dict[str, Any]:
    """What a graph's state holds that is an object, or one of LangGraph's wrappers of a value."""
    if isinstance(value, BaseModel):
        return dict(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
    return {}


def _with_messages_read(update: Any) -> Any:
    """What a `Command` writes, with messages in the place of what LangGraph would read as some."""
    if isinstance(update, dict):
        return {key: _read(item) if key == _MESSAGES else item for key, item in update.items()}
    if not isinstance(update, list | tuple):
        return update
    if all(isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str) for item in update):  # noqa: PLR2004
        return [(key, _read(item) if key == _MESSAGES else item) for key, item in update]
    return _read(update)


def _read(value: Any) -> Any:
    """The messages that a text, pairs or mappings stand for; the value itself if it stands for none."""
    said = value if isinstance(value, list) else [value]
    if all(isinstance(item, BaseMessage) for item in said):
        return value
    try:
        return convert_to_messages(said)
    except (NotImplementedError, TypeError, ValueError):
        return value
