"""What the API answered, as LlamaIndex's responses."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ContentBlock,
    LogProb,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from llama_guard_core.messages import ToolCall
from llama_guard_core.provider.chunks import CompletionChunk
from llama_guard_core.provider.tool_call_slots import ToolCallFragment
from llama_guard_core.provider.wire import Completion, dicts_in
from llama_guard_core.usage import Usage


def chat_response(completion: Completion, delta: CompletionChunk | None = None) -> ChatResponse:
    """A reply, whole or as far as it has come.

    Args:
        completion: what has come.
        delta: what of it is new, in a stream.
    """
    calls = [_wire_call(call) for call in completion.tool_calls]
    message = ChatMessage(
        role=MessageRole.ASSISTANT,
        blocks=_blocks(completion),
        # Structured streams and chat engines look here for calls, and not at the blocks.
        additional_kwargs={"tool_calls": calls} if calls else {},
    )
    extras = usage_counts(completion.usage)
    if delta and delta.reasoning:
        extras["thinking_delta"] = delta.reasoning
    return ChatResponse(
        message=message,
        raw=raw(completion),
        delta=delta.text + delta.refusal if delta else None,
        logprobs=_logprobs(completion.logprobs),
        additional_kwargs=extras,
    )


class StreamedReply:
    """A reply that grows: each piece as the response that says everything so far."""

    def __init__(self) -> None:
        self._known = Completion()
        self._calls: dict[int, ToolCall] = {}

    def receive(self, chunk: CompletionChunk) -> ChatResponse:
        """The response after one more piece."""
        for fragment in chunk.tool_calls:
            self._calls[fragment.index] = _longer(self._calls.get(fragment.index), fragment)
        known = self._known
        self._known = replace(
            chunk.final or known,
            text=known.text + chunk.text,
            reasoning=(known.reasoning or "") + chunk.reasoning,
            refusal=(known.refusal or "") + chunk.refusal,
            tool_calls=tuple(call for _, call in sorted(self._calls.items())),
        )
        return chat_response(self._known, chunk)


def raw(completion: Completion) -> dict[str, Any]:
    """What is known about a reply beside its words, in the API's form, which token counters and tracers read."""
    choice = {
        "index": 0,
        "finish_reason": completion.finish_reason,
        "native_finish_reason": completion.native_finish_reason,
    }
    facts = {
        "id": completion.id,
        "model": completion.model,
        "provider": completion.provider,
        "created": completion.created,
        "system_fingerprint": completion.system_fingerprint,
        "service_tier": completion.service_tier,
        "choices": [{name: value for name, value in choice.items() if value is not None}],
        "usage": _usage(completion.usage),
    }
    return {name: value for name, value in facts.items() if value is not None}


def usage_counts(usage: Usage | None) -> dict[str, Any]:
    """Tokens and price, where LlamaIndex's integrations put them: in `ChatResponse.additional_kwargs`."""
    if usage is None:
        return {}
    counts = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "cost": usage.cost,
    }
    return {name: count for name, count in counts.items() if count is not None}


def arguments_in(written: str) -> dict[str, Any] | None:
    """A call's arguments, if they are a JSON object."""
    try:
        arguments = json.loads(written, strict=False)
    except (ValueError, RecursionError):
        return None
    return arguments if isinstance(arguments, dict) else None


def _usage(usage: Usage | None) -> dict[str, Any] | None:
    if usage is None:
        return None
    read = {"cached_tokens": usage.cached_tokens, "cache_write_tokens": usage.cache_write_tokens}
    details = {
        "prompt_tokens_details": {name: count for name, count in read.items() if count is not None},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens}
        if usage.reasoning_tokens is not None
        else {},
    }
    return {**usage_counts(usage), **{name: counts for name, counts in details.items() if counts}}


def _blocks(completion: Completion) -> Sequence[ContentBlock]:
    blocks: list[ContentBlock] = []
    if completion.reasoning:
        blocks.append(ThinkingBlock(content=completion.reasoning))
    said = completion.text + (completion.refusal or "")
    if said or not completion.tool_calls:
        blocks.append(TextBlock(text=said))
    for call in completion.tool_calls:
        # Arguments that are no JSON object, whole or so far, are handed on as they came.
        arguments = arguments_in(call.arguments)
        kwargs = call.arguments if arguments is None else arguments
        blocks.append(ToolCallBlock(tool_call_id=call.id, tool_name=call.name, tool_kwargs=kwargs))
    return blocks


def _wire_call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _longer(call: ToolCall | None, fragment: ToolCallFragment) -> ToolCall:
    if call is None:
        return ToolCall(fragment.id or "", fragment.name or "", fragment.arguments)
    return ToolCall(call.id or fragment.id or "", call.name or fragment.name or "", call.arguments + fragment.arguments)


def _logprobs(told: Mapping[str, Any] | None) -> list[list[LogProb]] | None:
    if not told:
        return None
    positions = dicts_in(told.get("content"))
    return [[*map(_logprob, dicts_in(position.get("top_logprobs")) or [position])] for position in positions]


def _logprob(token: Mapping[str, Any]) -> LogProb:
    encoded = token.get("bytes")
    are_bytes = isinstance(encoded, list) and all(isinstance(byte, int) for byte in encoded)
    return LogProb(
        token=str(token.get("token") or ""),
        logprob=_number(token.get("logprob")),
        bytes=cast("list[int]", encoded) if are_bytes else [],
    )


def _number(value: object) -> float:
    try:
        return float(value) if isinstance(value, (int, float)) else 0.0
    except OverflowError:
        return 0.0
