"""Tool calls of a response, as LlamaIndex's agents and programs take them."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.llms.types import ChatResponse, ToolCallBlock
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.llms.utils import parse_partial_json

from llamaindex_llama_guard._reply_form import METADATA_KEY


def selected_tools(response: ChatResponse, *, at_least_one: bool) -> list[ToolSelection]:
    """The calls in a response, whole or still arriving.

    Raises:
        ValueError: if there is none and there must be.
    """
    blocks = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
    if at_least_one and not blocks:
        decided = response.additional_kwargs.get(METADATA_KEY, ())
        refused = any(record["action"] == "refuse" for record in decided)
        why = "the guard refused the prompt or the reply" if refused else "the model answered in words"
        msg = f"Expected at least one tool call, but got none: {why}"
        raise ValueError(msg)
    return [
        ToolSelection(
            tool_id=block.tool_call_id or "",
            tool_name=block.tool_name,
            tool_kwargs=_arguments(block.tool_kwargs),
        )
        for block in blocks
    ]


def with_one_call(response: ChatResponse) -> ChatResponse:
    """The response with the first of its tool calls alone: hosts are asked for one at a time, and may give more."""
    calls = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
    if len(calls) <= 1:
        return response
    kept = [block for block in response.message.blocks if not isinstance(block, ToolCallBlock)]
    extras = response.message.additional_kwargs
    message = response.message.model_copy(
        update={
            "blocks": [*kept, calls[0]],
            "additional_kwargs": {**extras, "tool_calls": extras.get("tool_calls", [])[:1]},
        }
    )
    return response.model_copy(update={"message": message})


def _arguments(told: dict[str, Any] | str) -> dict[str, Any]:
    if not isinstance(told, str):
        return told
    try:
        arguments = parse_partial_json(told)
    except (ValueError, RecursionError):
        return {}
    return arguments if isinstance(arguments, dict) else {}
