"""What the API answered, as LangChain's messages."""

from __future__ import annotations

import json
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata
from langchain_core.messages.content import InvalidToolCall
from langchain_core.messages.tool import ToolCall, invalid_tool_call, tool_call, tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk

from langchain_llama_guard._content_blocks import MODEL_PROVIDER
from llama_guard_core.messages import ToolCall as WireToolCall
from llama_guard_core.provider.chunks import CompletionChunk
from llama_guard_core.provider.wire import Completion
from llama_guard_core.usage import Usage


def ai_message(completion: Completion) -> AIMessage:
    """A whole reply."""
    calls, broken = _tool_calls(completion.tool_calls)
    return AIMessage(
        content=completion.text,
        tool_calls=calls,
        invalid_tool_calls=broken,
        additional_kwargs=_extras(completion.reasoning, completion.refusal),
        response_metadata=_metadata(completion),
        usage_metadata=usage_metadata(completion.usage),
    )


def generation_chunk(chunk: CompletionChunk) -> ChatGenerationChunk:
    """A piece of a streamed reply. Usage and metadata come once, with the last piece.

    LangChain adds chunks up: equal strings in `response_metadata` would be concatenated, numbers summed.
    """
    if chunk.final is not None:
        message = AIMessageChunk(
            content="",
            response_metadata=_metadata(chunk.final),
            usage_metadata=usage_metadata(chunk.final.usage),
            chunk_position="last",
        )
        return ChatGenerationChunk(message=message)
    # What a chunk lacks is left out: checking an empty list takes LangChain as long as checking a text.
    given: dict[str, Any] = {}
    if chunk.reasoning or chunk.refusal:
        given["additional_kwargs"] = _extras(chunk.reasoning, chunk.refusal)
    if chunk.tool_calls:
        given["tool_call_chunks"] = [
            tool_call_chunk(name=call.name, args=call.arguments, id=call.id, index=call.index)
            for call in chunk.tool_calls
        ]
    message = AIMessageChunk(content=chunk.text, response_metadata={"model_provider": MODEL_PROVIDER}, **given)
    return ChatGenerationChunk(message=message)


def usage_metadata(usage: Usage | None) -> UsageMetadata | None:
    """Token counts in LangChain's words: whole numbers only, and only those the host gave."""
    if usage is None:
        return None
    metadata = UsageMetadata(
        input_tokens=usage.input_tokens, output_tokens=usage.output_tokens, total_tokens=usage.total_tokens
    )
    cache = {"cache_read": usage.cached_tokens, "cache_creation": usage.cache_write_tokens}
    if given := {name: count for name, count in cache.items() if count is not None}:
        metadata["input_token_details"] = InputTokenDetails(**given)  # type: ignore[typeddict-item]
    if usage.reasoning_tokens is not None:
        metadata["output_token_details"] = OutputTokenDetails(reasoning=usage.reasoning_tokens)
    return metadata


def _metadata(completion: Completion) -> dict[str, Any]:
    metadata = {
        "model_provider": MODEL_PROVIDER,
        "model_name": completion.model,
        "finish_reason": completion.finish_reason,
        "native_finish_reason": completion.native_finish_reason,
        "id": completion.id,
        "provider": completion.provider,
        "created": completion.created,
        "cost": completion.usage.cost if completion.usage else None,
        "system_fingerprint": completion.system_fingerprint,
        "service_tier": completion.service_tier,
        "logprobs": completion.logprobs,
    }
    return {name: value for name, value in metadata.items() if value is not None}


def _extras(reasoning: str | None, refusal: str | None) -> dict[str, Any]:
    extras = {"reasoning_content": reasoning, "refusal": refusal}
    return {name: text for name, text in extras.items() if text}


def _tool_calls(calls: tuple[WireToolCall, ...]) -> tuple[list[ToolCall], list[InvalidToolCall]]:
    good: list[ToolCall] = []
    broken: list[InvalidToolCall] = []
    for call in calls:
        try:
            arguments = json.loads(call.arguments)
        except (ValueError, RecursionError):
            arguments = None
        if isinstance(arguments, dict):
            good.append(tool_call(name=call.name, args=arguments, id=call.id))
        else:
            error = "the arguments are not a JSON object"
            broken.append(invalid_tool_call(name=call.name, args=call.arguments, id=call.id, error=error))
    return good, broken
