"""A chat in nobody's dialect: what the two halves turn their own messages into.

The text of a message is in no `repr`: a conversation that ends up in a log or a traceback says how
long it was, not what was said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from llama_guard_core.errors import ConfigurationError, GuardUnavailable
from llama_guard_core.written import written

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Image:
    """A picture, by `https://` address or as a `data:` URL."""

    url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Unjudgeable:
    """Content that Llama Guard cannot read (audio, video, files). It is never passed over in silence."""

    kind: str


Part = Text | Image | Unjudgeable


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call the model asks for.

    Attributes:
        id: the provider's opaque id.
        name: the tool's name.
        arguments: the arguments as the JSON text the model wrote, which may not be valid JSON.
    """

    id: str
    name: str
    arguments: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    parts: tuple[Part, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()

    @property
    def text(self) -> str:
        """All text of this message, pieces joined without a separator."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def is_blank(self) -> bool:
        """Whether there is nothing in it that could be judged."""
        return not self.tool_calls and all(isinstance(p, Text) and not p.text.strip() for p in self.parts)


Conversation = tuple[Message, ...]


def user(text: str) -> Message:
    """A user's turn of plain text."""
    return Message("user", (Text(text),))


def assistant(text: str, tool_calls: tuple[ToolCall, ...] = ()) -> Message:
    """An assistant's turn of plain text, perhaps with tool calls."""
    return Message("assistant", (Text(text),) if text else (), tool_calls)


def written_part(value: Any, plain: Callable[[Any], Any] = str) -> Part:
    """Content of an unknown kind as its JSON; marked as unjudgeable where not even that can be had.

    Args:
        value: any value.
        plain: makes something JSON has a form for of what it has none for.
    """
    try:
        return Text(written(value, plain))
    except ValueError:
        return Unjudgeable("content that cannot be written out")


def written_arguments(arguments: Any, plain: Callable[[Any], Any] = str) -> str:
    """The arguments of a call as JSON text; what is text already as it is.

    Raises:
        GuardUnavailable: if something in them cannot be written out: nobody could judge it, and the tool could read it.
    """
    if isinstance(arguments, str):
        return arguments
    try:
        return written(arguments, plain)
    except ValueError:
        msg = "a call or an answer holds a value that cannot be written out, and is not judged: pass plain values"
    raise GuardUnavailable(msg, reason="not_judgeable")


ConversationLike = str | Message | Sequence[Message | Mapping[str, Any]]
"""What `LlamaGuard.check` takes: a user's text, our messages, or OpenAI-style dicts."""


_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}


def as_conversation(value: ConversationLike) -> Conversation:
    """Read what a user may hand over as a conversation.

    Args:
        value: a text (taken as a user's message), a `Message`, or a sequence of messages, each a
            `Message` or an OpenAI-style mapping with `role` and `content`.

    Raises:
        ConfigurationError: if it is none of these.
    """
    if isinstance(value, str):
        return (user(value),)
    if isinstance(value, Message):
        return (value,)
    if isinstance(value, Iterable) and not isinstance(value, Mapping):
        return tuple(_as_message(item) for item in value)
    msg = f"a conversation is a text or a list of messages, not {type(value).__name__}"
    raise ConfigurationError(msg)


def _as_message(item: Message | Mapping[str, Any]) -> Message:
    if isinstance(item, Message):
        return item
    named = item.get("role") if isinstance(item, Mapping) else None
    role = _ROLES.get(named) if isinstance(named, str) else None
    if role is None:
        msg = "each message needs a role: one of system, developer, user, assistant, tool"
        raise ConfigurationError(msg)
    called = item.get("function_call")  # the form before `tool_calls`
    calls = (*_calls_of(item.get("tool_calls")), *([_as_call({"function": called})] if called else ()))
    return Message(role, (*parts_of(item.get("content")), *_beside(item)), calls)


def _beside(item: Mapping[str, Any]) -> Iterator[Part]:
    """What a message says beside its content."""
    for name in ("reasoning", "reasoning_content", "refusal"):
        if said := item.get(name):
            yield Text(said) if isinstance(said, str) else written_part(said)
    if item.get("audio"):
        yield Unjudgeable("audio")


def parts_of(content: object) -> tuple[Part, ...]:
    """Read OpenAI-style message content: a string, a list of parts, or nothing."""
    if content is None:
        return ()
    if isinstance(content, str):
        return (Text(content),)
    if isinstance(content, Sequence) and not isinstance(content, (bytes, bytearray, memoryview)):
        return tuple(_as_part(part) for part in content)
    return (Unjudgeable(type(content).__name__),)


def _as_part(part: object) -> Part:
    match part:
        case str():
            return Text(part)
        case {"type": "text", "text": str(text)}:
            return Text(text)
        case {"type": "image_url", "image_url": {"url": str(url)}} | {"type": "image_url", "image_url": str(url)}:
            return Image(url)
        case {"type": str(kind)} if kind.isidentifier():  # a word of the protocol, not somebody's text
            return Unjudgeable(kind)
        case _:
            return Unjudgeable(type(part).__name__)


def _calls_of(calls: object) -> tuple[ToolCall, ...]:
    if not calls:
        return ()
    if isinstance(calls, Sequence) and not isinstance(calls, str):
        return tuple(_as_call(call) for call in calls)
    msg = "tool_calls is a list of calls"
    raise ConfigurationError(msg)


def _as_call(call: object) -> ToolCall:
    match call:
        case {"function": {"name": str(name), **rest}, **outer}:
            call_id = outer.get("id")
            known_id = str(call_id) if isinstance(call_id, (str, int)) else ""
            return ToolCall(known_id, name, written_arguments(rest.get("arguments") or ""))
    msg = "each of the tool_calls needs a function with a name and arguments"
    raise ConfigurationError(msg)
