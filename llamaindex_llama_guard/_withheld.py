"""What stands in a history in the place of what was refused: a message of the same role, calls under their ids."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock, ToolCallBlock
from pydantic import BaseModel

from llama_guard_core.guardrail.decisions import Refuse
from llama_guard_core.guardrail.history import WITHHELD_PROMPT
from llama_guard_core.guardrail.tool_screening import withheld_arguments
from llama_guard_core.messages import ToolCall
from llamaindex_llama_guard._conversation import arguments_text, call_in, call_key, message_of

_ARGUMENTS = ("arguments", "args", "input", "parameters")
_ANSWERS = ("tool_call_id", "name")
_TOOLS = (MessageRole.TOOL, MessageRole.FUNCTION)


def in_place_of(message: ChatMessage, refusal: Refuse) -> ChatMessage:
    """What stands in the place of a refused message.

    A reply keeps the ids of its calls without their arguments, and a tool's message answers the call it answered, so
    that the history stays one that a provider accepts.
    """
    if message.role == MessageRole.ASSISTANT:
        emptied = without_arguments(message, dict.fromkeys(message_of(message).tool_calls, refusal))
        calls = [block for block in emptied.blocks if isinstance(block, ToolCallBlock)]
        listed = {key: value for key, value in emptied.additional_kwargs.items() if key == "tool_calls"}
        blocks = [TextBlock(text=refusal.text), *calls]
        return ChatMessage(role=message.role, blocks=blocks, additional_kwargs=listed)
    if message.role in _TOOLS:
        answers = {key: value for key, value in message.additional_kwargs.items() if key in _ANSWERS}
        return ChatMessage(role=message.role, content=refusal.text, additional_kwargs=answers)
    return ChatMessage(role=message.role, content=WITHHELD_PROMPT)


def without_arguments(message: ChatMessage, refused: Mapping[ToolCall, Refuse]) -> ChatMessage:
    """The message with the arguments of some of its calls withheld, wherever integrations keep them."""
    refusals = {call_key(call): refusal for call, refusal in refused.items()}
    extras = {**message.additional_kwargs}
    if isinstance(listed := extras.get("tool_calls"), list):
        extras["tool_calls"] = [_listed(call, refusals) for call in listed]
    blocks = [_block(block, refusals) if isinstance(block, ToolCallBlock) else block for block in message.blocks]
    return message.model_copy(update={"blocks": blocks, "additional_kwargs": extras})


_Refusals = Mapping[tuple[str, str, str], Refuse]


def _block(block: ToolCallBlock, refusals: _Refusals) -> ToolCallBlock:
    call = ToolCall(block.tool_call_id or "", block.tool_name, arguments_text(block.tool_kwargs))
    refusal = refusals.get(call_key(call))
    if refusal is None:
        return block
    return block.model_copy(update={"tool_kwargs": _like(block.tool_kwargs, withheld_arguments(refusal))})


def _listed(listed: Any, refusals: _Refusals) -> Any:
    call = call_in(listed)
    refusal = call and refusals.get(call_key(call))
    if call is None or not refusal:
        return listed
    return _with_arguments(listed, withheld_arguments(refusal))


def _with_arguments(call: Any, arguments: dict[str, str]) -> Any:
    """The same call in the same form, a dict or an SDK's object, with other arguments."""
    fields = dict(call) if isinstance(call, (Mapping, BaseModel)) else {}
    if isinstance(function := fields.get("function"), (Mapping, BaseModel)):
        changed = {"function": _with_arguments(function, arguments)}
    else:
        changed = {name: _like(fields[name], arguments) for name in _ARGUMENTS if name in fields}
    return call.model_copy(update=changed) if isinstance(call, BaseModel) else {**fields, **changed}


def _like(replaced: Any, arguments: dict[str, str]) -> str | dict[str, str]:
    return json.dumps(arguments) if isinstance(replaced, str) else arguments
