"""What goes into and comes out of a chain, as what the guard judges; and a refusal in its form."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, get_args, get_origin

from langchain_core.documents import Document
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, convert_to_messages
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables.utils import add
from pydantic import BaseModel

from langchain_llama_guard._conversation import conversation_of, message_of, spoken_in, text_added_by, with_lost_text
from llama_guard_core.errors import ConfigurationError, GuardUnavailable
from llama_guard_core.messages import Conversation, Message, Part, Text, user


def conversation_in(value: Any, key: str | None = None) -> Conversation:
    """What the input of a chain says, as a conversation that ends with the user.

    Args:
        value: a text, a message, messages in any form LangChain takes, a prompt value, or a mapping of a
            prompt's variables.
        key: where in a mapping the user's words are. Left out, all of it is judged: messages as the turns they
            are, everything else together as the user's last turn.

    Raises:
        ConfigurationError: if `key` is given and not there.
    """
    if key is not None:
        value = _at(value, key)
    match value:
        case str():
            return (user(value),)
        case PromptValue():
            return conversation_of(value.to_messages())
        case BaseMessage():
            return (message_of(value),)
        case list() | tuple() if _are_messages(value):
            return conversation_of(convert_to_messages(value))
        case Mapping():
            return _of_variables(value.values())
        case _:
            return (Message("user", (Text(text_of(value)), *beside_text_in(value))),)


def conversation_in_pieces(pieces: Sequence[Any], key: str | None = None) -> Conversation:
    """What the pieces of a streamed input say to a chain that may read each of them; see `conversation_in`."""
    conversation = conversation_in(whole_of(pieces), key)
    said = "\n".join(message.text for message in conversation)
    if all(isinstance(piece, BaseMessage) for piece in pieces):
        seen = "".join(map(spoken_in, pieces))
        return conversation if with_lost_text(user(said), seen).text == said else (*conversation, user(seen))
    return (*conversation, *map(user, _fleeting(pieces, key, said)))


def _of_variables(values: Iterable[Any]) -> Conversation:
    turns: list[Message] = []
    said: list[str] = []
    beside: list[Part] = []
    for value in values:
        if isinstance(value, (BaseMessage, PromptValue)) or _are_messages(value):
            turns += conversation_in(value)
            continue
        beside += beside_text_in(value)
        if text := text_of(value):
            said.append(text)
    return (*turns, Message("user", (Text("\n\n".join(said)), *beside))) if said or beside else tuple(turns)


def reply_in(value: Any, key: str | None = None, known: Conversation = ()) -> Message:
    """What the output of a chain says, as the assistant's turn.

    Args:
        value: a text, a message, messages, or anything else, of which all text is judged.
        key: where in a mapping the reply is. Left out, all of it is judged.
        known: the chain's input. What of it comes back among the messages of the output was judged before.

    Raises:
        ConfigurationError: if `key` is given and not there.
    """
    value = value if key is None else _at(value, key)
    if isinstance(value, BaseMessage):
        value = [value]
    if not _are_messages(value):
        return Message("assistant", (Text(text_of(value)), *beside_text_in(value)))
    messages = [message for message in conversation_of(convert_to_messages(value)) if message not in known]
    parts = tuple(part for message in messages for part in message.parts)
    return Message("assistant", parts, tuple(call for message in messages for call in message.tool_calls))


def whole_of(pieces: Sequence[Any]) -> Any:
    """What pieces of a stream make up, the way LangChain reads one: their sum, or the last where there is none."""
    try:
        return add(pieces)
    except TypeError:
        return pieces[-1]


def reply_in_pieces(pieces: Sequence[Any], key: str | None = None, known: Conversation = ()) -> Message:
    """What pieces of a stream say to somebody who saw each of them, as the assistant's turn.

    Pieces that do not add up are snapshots; what an earlier one says and the last does not is judged with it.
    """
    reply = reply_in(whole_of(pieces), key, known)
    if all(isinstance(piece, BaseMessage) for piece in pieces):
        return with_lost_text(reply, "".join(map(spoken_in, pieces)))
    return Message("assistant", (*reply.parts, *map(Text, _fleeting(pieces, key, reply.text))), reply.tool_calls)


def text_added_by_piece(piece: Any) -> str | None:
    """The text that a piece of a chain's stream adds to its output; `None` if nothing may follow from it yet.

    Of pieces that are neither text nor pieces of a message, only all of them together say what the output is.
    """
    if isinstance(piece, str):
        return piece
    return text_added_by(piece) if isinstance(piece, AIMessageChunk) else None


def _fleeting(pieces: Sequence[Any], key: str | None, said: str) -> Iterable[str]:
    """What an earlier piece says and all of them together do not."""
    if isinstance(pieces[-1], (str, BaseMessage)) and len({type(piece) for piece in pieces}) == 1:
        return ()
    return dict.fromkeys(text for piece in pieces for text in _texts_in(piece, key) if text not in said)


def _texts_in(piece: Any, key: str | None) -> Iterable[str]:
    if isinstance(piece, Mapping):
        for inner in piece.values() if key is None else [piece.get(key)]:
            yield from _texts_in(inner, None)
    elif not _are_messages(piece):
        yield text_of(piece)


def _at(value: Any, key: str) -> Any:
    if not isinstance(value, Mapping) or key not in value:
        msg = f"there is no {key!r} to judge in a {type(value).__name__}: set input_key and output_key to what is there"
        raise ConfigurationError(msg)
    return value[key]


def _are_messages(value: Any) -> bool:
    if not isinstance(value, (list, tuple)) or not value:
        return False
    return all(isinstance(item, BaseMessage) for item in value) or all(_is_dict_message(item) for item in value)


def _is_dict_message(item: Any) -> bool:
    if isinstance(item, Mapping):
        return "role" in item and "content" in item
    return isinstance(item, tuple) and len(item) == 2 and all(isinstance(part, str) for part in item)  # noqa: PLR2004


def text_of(value: Any) -> str:
    """All text in a value: what a reader would see of it, at any depth.

    Raises:
        GuardUnavailable: if it is nested too deeply to be read, or its own `str` fails.
    """
    with _typed():
        return _text_of(value)


@contextmanager
def _typed() -> Iterator[None]:
    """Let whatever a value's own code raises out as the guard's; the other error may quote the value."""
    try:
        yield
    except GuardUnavailable:
        raise
    except Exception:  # noqa: BLE001 - somebody's own code, which may raise anything
        raise GuardUnavailable(_UNREAD, reason="not_judgeable") from None


_UNREAD = "what goes into or comes out of a chain holds a value that cannot be written out, and is not judged"


def _text_of(value: Any) -> str:  # noqa: C901, PLR0911 - one line a form
    match value:
        case None:
            return ""
        case str():
            return value
        case BaseMessage():
            message = message_of(value)
            calls = [f"{call.name} {call.arguments}" for call in message.tool_calls]
            return "\n".join(filter(None, [*(part.text for part in message.parts if isinstance(part, Text)), *calls]))
        case Document():
            return value.page_content
        case PromptValue():
            return _text_of(value.to_messages())
        case BaseModel():
            return _text_of(dict(value))
        case list() | tuple() | set() | frozenset():
            return "\n".join(filter(None, map(_text_of, value)))
        case Mapping():
            # The names too, even of nothing: in parsed JSON they are the model's own words.
            return "\n".join(f"{name}: {_text_of(item)}" for name, item in value.items())
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return _text_of({field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
        case object(__dict__=dict(attributes)) if attributes and repr(value) == object.__repr__(value):
            return _text_of(attributes)
        case _:
            return str(value)


def beside_text_in(value: Any) -> tuple[Part, ...]:
    """What messages in a value hold beside text, at any depth: images, and what the guard cannot read.

    Raises:
        GuardUnavailable: if it is nested too deeply to be read.
    """
    with _typed():
        return tuple(_beside_text_in(value))


def _beside_text_in(value: Any) -> Iterator[Part]:
    match value:
        case BaseMessage():
            yield from (part for part in message_of(value).parts if not isinstance(part, Text))
        case PromptValue():
            yield from _beside_text_in(value.to_messages())
        case BaseModel():
            yield from _beside_text_in(dict(value))
        case Mapping():
            yield from _beside_text_in(list(value.values()))
        case list() | tuple() | set() | frozenset():
            for item in value:
                yield from _beside_text_in(item)


def refusal_like(text: str, example: Any, key: str | None = None) -> Any:  # noqa: PLR0911 - one line a form
    """A refusal in the form of a chain's output, or `None` if it has no such form.

    Args:
        text: the refusal.
        example: an output of the chain, or the type its outputs have.
        key: where in a mapping the reply is.
    """
    if key is not None:
        inner = refusal_like(text, example[key]) if isinstance(example, Mapping) and key in example else text
        return None if inner is None else {key: inner}
    if isinstance(example, str) or example is str:
        return text
    if isinstance(example, AIMessageChunk):
        told = {} if "finish_reason" in example.response_metadata else _REFUSED
        return AIMessageChunk(content=text, id=example.id, response_metadata=told, chunk_position="last")
    if isinstance(example, BaseMessage):
        return AIMessage(content=text, id=example.id, response_metadata=_REFUSED)
    if isinstance(example, Sequence) and example and isinstance(example[-1], BaseMessage):
        return [AIMessage(content=text, id=example[-1].id, response_metadata=_REFUSED)]
    if get_origin(example) is list:
        inner = refusal_like(text, *get_args(example))
        return None if inner is None else [inner]
    return AIMessage(content=text, response_metadata=_REFUSED) if _is_message_type(example) else None


_REFUSED = {"finish_reason": "content_filter"}


def _is_message_type(kind: Any) -> bool:
    """Whether it is a type of messages: one, or, as LangChain's models say of themselves, an annotated union."""
    if isinstance(kind, type):
        return issubclass(kind, BaseMessage)
    return any(map(_is_message_type, get_args(kind)))
