"""How the answers of a model are read by the guard and shown to the caller: Scout's, and any other LLM's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    MessageRole,
    TextBlock,
    ThinkingBlock,
)

from llama_guard_core.guardrail.stream_events import REFUSAL_SEPARATOR
from llama_guard_core.messages import Message, Part, Text, ToolCall
from llama_guard_core.provider.chunks import CompletionChunk, collected
from llamaindex_llama_guard._conversation import message_of
from llamaindex_llama_guard._replies import StreamedReply, chat_response
from llamaindex_llama_guard._reply_form import METADATA_KEY, ReplyForm

C = TypeVar("C")


class _ChatRefusal(ReplyForm[C, ChatResponse]):
    def refused(self, text: str, *, is_streamed: bool, **told: Any) -> ChatResponse:
        """A refusal as a chat response."""
        message = ChatMessage(role=MessageRole.ASSISTANT, content=text)
        return ChatResponse(message=message, delta=text if is_streamed else None, **told)

    def after(self, shown: ChatResponse, said: str, refusal: ChatResponse) -> ChatResponse:
        """The refusal, behind what was shown."""
        said = said or shown.message.content or ""
        delta = _separated(said) + (refusal.message.content or "")
        thoughts = [block for block in shown.message.blocks if isinstance(block, ThinkingBlock)]
        message = ChatMessage(role=MessageRole.ASSISTANT, blocks=[*thoughts, TextBlock(text=said + delta)])
        return refusal.model_copy(update={"message": message, "delta": delta})


class ScoutStream(_ChatRefusal[CompletionChunk]):
    """Scout's pieces. They are held as they come: as responses, each would repeat all before it."""

    def __init__(self) -> None:
        self._reply = StreamedReply()

    def read(self, chunks: Sequence[CompletionChunk]) -> Message:
        """What the pieces say together."""
        return message_of(self.whole(chunks).message)

    def whole(self, chunks: Sequence[CompletionChunk]) -> ChatResponse:
        """The response that the pieces make up."""
        return chat_response(collected(chunks))

    def shown(self, chunk: CompletionChunk) -> ChatResponse:
        """The response that says everything so far."""
        return self._reply.receive(chunk)

    def text_added_by(self, chunk: CompletionChunk) -> str | None:
        """What is said and thought; a tool call, and the piece that says how it ended, wait for the end."""
        return None if chunk.tool_calls or chunk.final else chunk.text + chunk.reasoning + chunk.refusal


class _Growth:
    """What is new in a response that may say everything so far, whether or not it says so in its delta."""

    def __init__(self) -> None:
        self._longest = 0

    def by(self, delta: str, said: str) -> str:
        """The delta, or the end of what is said if that has grown by more."""
        grown = said[self._longest :]
        self._longest = max(self._longest, len(said))
        return max(delta, grown, key=len)


class ChatForm(_ChatRefusal[ChatResponse]):
    """Chat responses, passed on as they are."""

    def __init__(self) -> None:
        self._grown = _Growth()

    def read(self, chunks: Sequence[ChatResponse]) -> Message:
        """What the responses say, and what an earlier one said that the last does not."""
        deltas = ("".join(chunk.delta or "" for chunk in chunks), "".join(map(_thought, chunks)))
        return _together([_chat_message(chunk) for chunk in chunks], deltas)

    def whole(self, chunks: Sequence[ChatResponse]) -> ChatResponse:
        """The last response."""
        return chunks[-1]

    def shown(self, chunk: ChatResponse) -> ChatResponse:
        """The response itself."""
        return chunk

    def text_added_by(self, chunk: ChatResponse) -> str | None:
        """What is new in the response; a tool call, and what is no text, wait for the end."""
        said = _chat_message(chunk)
        if said.tool_calls or not all(isinstance(part, Text) for part in said.parts):
            return None
        return self._grown.by((chunk.delta or "") + _thought(chunk), said.text)


class CompletionForm(ReplyForm[CompletionResponse, CompletionResponse]):
    """Completion responses, passed on as they are."""

    def __init__(self) -> None:
        self._grown = _Growth()

    def read(self, chunks: Sequence[CompletionResponse]) -> Message:
        """What the responses say, and what an earlier one said that the last does not."""
        messages = [message_of(_message(chunk.text, chunk.additional_kwargs)) for chunk in chunks]
        return _together(messages, ["".join(chunk.delta or "" for chunk in chunks)])

    def whole(self, chunks: Sequence[CompletionResponse]) -> CompletionResponse:
        """The last response."""
        return chunks[-1]

    def shown(self, chunk: CompletionResponse) -> CompletionResponse:
        """The response itself."""
        return chunk

    def text_added_by(self, chunk: CompletionResponse) -> str | None:
        """What is new in the response; a tool call, and what is no text, wait for the end."""
        said = message_of(_message(chunk.text, chunk.additional_kwargs))
        if said.tool_calls or not all(isinstance(part, Text) for part in said.parts):
            return None
        return self._grown.by(chunk.delta or "", said.text)

    def after(self, shown: CompletionResponse, said: str, refusal: CompletionResponse) -> CompletionResponse:
        """The refusal, behind what was shown."""
        said = said or shown.text
        delta = _separated(said) + refusal.text
        return refusal.model_copy(update={"text": said + delta, "delta": delta})

    def refused(self, text: str, *, is_streamed: bool, **told: Any) -> CompletionResponse:
        """A refusal as a completion response."""
        return CompletionResponse(text=text, delta=text if is_streamed else None, **told)


def _separated(shown: str | None) -> str:
    return REFUSAL_SEPARATOR if shown else ""


def _chat_message(response: ChatResponse) -> Message:
    said, beside = message_of(response.message), message_of(_message("", response.additional_kwargs))
    return Message("assistant", (*said.parts, *beside.parts), (*said.tool_calls, *beside.tool_calls))


def _message(text: str, extras: dict[str, object]) -> ChatMessage:
    unread = {"thinking_delta", "images", METADATA_KEY}
    told = {key: value for key, value in extras.items() if key not in unread}
    return ChatMessage(role=MessageRole.ASSISTANT, content=text, additional_kwargs=told)


def _thought(response: ChatResponse) -> str:
    delta = response.additional_kwargs.get("thinking_delta")
    return delta if isinstance(delta, str) else ""


def _together(messages: Sequence[Message], deltas: Iterable[str]) -> Message:
    """The last message, which says everything in most streams, and what stands only in those before it."""
    *earlier, last = messages
    said = "\n".join(part.text for part in last.parts if isinstance(part, Text))
    parts: dict[Part, None] = dict.fromkeys(Text(delta) for delta in deltas if delta not in said)
    calls: dict[ToolCall, None] = {}
    for message in earlier:
        parts |= dict.fromkeys(part for part in message.parts if not _is_said(part, last.parts, said))
        calls |= dict.fromkeys(call for call in message.tool_calls if not _is_begun(call, last.tool_calls))
    return Message("assistant", (*last.parts, *parts), (*last.tool_calls, *calls))


def _is_said(part: Part, parts: Sequence[Part], said: str) -> bool:
    return part.text in said if isinstance(part, Text) else part in parts


def _is_begun(call: ToolCall, calls: Iterable[ToolCall]) -> bool:
    """Whether the call is one of these, as far as its arguments had come, closed or not."""
    begun = call.arguments.rstrip('"]} ')
    return any((call.id, call.name) == (it.id, it.name) and it.arguments.startswith(begun) for it in calls)
