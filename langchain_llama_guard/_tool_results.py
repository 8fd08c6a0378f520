"""The messages in what a tool gives: a `ToolMessage`, a LangGraph `Command` that writes some to a state, or a list.

All of them are read by a model sooner or later, under whatever name the state has them and in whatever form LangGraph
takes for a message. LangGraph itself may be absent, so its `Command` is told by its form.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable
from typing import Any

from langchain_core.messages import BaseMessage, convert_to_messages
from langchain_core.messages.tool import ToolOutputMixin
from pydantic import BaseModel

from langchain_llama_guard._conversation import conversation_of
from llama_guard_core.errors import GuardUnavailable
from llama_guard_core.guardrail.failures import Failed
from llama_guard_core.guardrail.verdict import Stage
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
        return Message("tool", (result.part,))
    said = conversation_of(messages_in(result))
    calls = (Text(f"{call.name} {call.arguments}") for message in said for call in message.tool_calls)
    parts = (*(part for message in said for part in message.parts), *calls)
    return Message("tool", parts) if parts else None


def with_messages(value: Any, by: ByMessage) -> Any:
    """The same result with other messages in the place of those in it.

    Raises:
        GuardUnavailable: if it is nested too deeply to find them.
    """
    try:
        return _Replacing(by).within(value)
    except RecursionError:
        msg = "a tool's result is nested too deeply for the messages in it to be found, and is not judged"
    raise GuardUnavailable(msg, reason="not_judgeable", stage=Stage.TOOL_RESULT)


class _Replacing:
    """One walk through a result, which looks at nothing twice: a result may hold itself."""

    def __init__(self, by: ByMessage) -> None:
        self._by = by
        self._seen: dict[int, tuple[Any, Any]] = {}  # the value, too, so that its id stays its own

    def within(self, value: Any) -> Any:
        """The value, with other messages in it if there are any."""
        if isinstance(value, BaseMessage):
            return self._by(value)
        if id(value) in self._seen:
            return self._seen[id(value)][1]
        self._seen[id(value)] = value, value
        made = self._made(value)
        self._seen[id(value)] = value, made
        return made

    def _made(self, value: Any) -> Any:
        if isinstance(value, list) or type(value) is tuple:
            made = [self.within(item) for item in value]
            return value if all(map(operator.is_, made, value)) else type(value)(made)
        if isinstance(value, dict):
            changed = self._changed(value)
            return {**value, **changed} if changed else value
        if isinstance(value, ToolOutputMixin) and hasattr(value, "update"):  # LangGraph's Command
            return self._with_fields(value, {"update": _with_messages_read(value.update)})
        return self._with_fields(value, _fields_of(value))

    def _with_fields(self, value: Any, fields: dict[str, Any]) -> Any:
        """A copy of an object, if there are messages in these fields of it."""
        changed = self._changed(fields)
        if not changed:
            return value
        if isinstance(value, BaseModel):
            return value.model_copy(update=changed)
        return dataclasses.replace(value, **changed)

    def _changed(self, fields: dict[Any, Any]) -> dict[Any, Any]:
        made = {name: self.within(field) for name, field in fields.items()}
        return {name: field for name, field in made.items() if field is not fields[name]}


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
