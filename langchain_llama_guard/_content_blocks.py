"""Our replies as LangChain's standard content blocks.

Registered under a provider name of our own. Without it, a stream under `output_version="v1"` merges a
text and the tool call after it into one block, and loses the call: core gives both the same number. It
merges by string indices too, where they begin with `lc_`, so every block here names its own.
"""

from __future__ import annotations

from typing import Any, cast

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages import content as blocks
from langchain_core.messages.block_translators import register_translator

MODEL_PROVIDER = "llama-guardrails"


def _spoken(message: AIMessage, *, indexed: bool) -> list[dict[str, Any]]:
    """Reasoning, text and refusal, in the order a reader meets them."""
    found: list[dict[str, Any]] = []
    if reasoning := message.additional_kwargs.get("reasoning_content"):
        found.append({"type": "reasoning", "reasoning": reasoning, "index": "lc_rs_0"})
    if isinstance(message.content, str):
        if message.content:
            found.append({"type": "text", "text": message.content, "index": "lc_txt_0"})
    else:
        found += [{"type": "text", "text": part} if isinstance(part, str) else part for part in message.content]
    if refusal := message.additional_kwargs.get("refusal"):
        # A "refusal" block exists since langchain-core 1.7.5; older cores carry it as it is.
        value = {"type": "refusal", "refusal": refusal}
        found.append({**value, "index": "lc_ref_0"} if _HAS_REFUSAL_BLOCK else {"type": "non_standard", "value": value})
    return found if indexed else [{key: value for key, value in block.items() if key != "index"} for block in found]


_HAS_REFUSAL_BLOCK = "refusal" in blocks.KNOWN_BLOCK_TYPES


def _called(message: AIMessage) -> list[dict[str, Any]]:
    whole = [
        {"type": "tool_call", "id": call["id"], "name": call["name"], "args": call["args"]}
        for call in message.tool_calls
    ]
    return whole + [cast("dict[str, Any]", dict(call)) for call in message.invalid_tool_calls]


def content_blocks(message: AIMessage) -> list[blocks.ContentBlock]:
    """The blocks of a whole reply."""
    return cast("list[blocks.ContentBlock]", _spoken(message, indexed=False) + _called(message))


def chunk_content_blocks(chunk: AIMessageChunk) -> list[blocks.ContentBlock]:
    """The blocks of a piece of a reply, each with the index it is merged by."""
    found = _spoken(chunk, indexed=True)
    if chunk.chunk_position == "last":
        found += _called(chunk)
    else:
        found += [
            {
                "type": "tool_call_chunk",
                "id": call["id"],
                "name": call["name"],
                "args": call["args"],
                "index": f"lc_tc_{call['index']}",
            }
            for call in chunk.tool_call_chunks
        ]
    return cast("list[blocks.ContentBlock]", found)


register_translator(MODEL_PROVIDER, content_blocks, chunk_content_blocks)
