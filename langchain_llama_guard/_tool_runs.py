"""One run of a tool under guard: its call is judged before it runs, what it gives before anybody reads it."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Any

from langchain_core.messages import BaseMessage, ToolCall, ToolMessage

from langchain_llama_guard._conversation import call_of, message_of
from langchain_llama_guard._failures import as_output
from langchain_llama_guard._history import in_place_of, refused_call, refused_result, with_decisions
from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.drive import acatching, arun, catching, run
from llama_guard_core.guardrail.failures import Failed
from llama_guard_core.guardrail.policy import Refuse
from llama_guard_core.guardrail.tool_screening import GuardedToolRun, guarded_tool
from llama_guard_core.messages import Conversation, Message, Text

IsRefusal = Callable[[Any], bool]


def guarded_tool_run(
    guard: LlamaGuard,
    conversation: Conversation,
    call: ToolCall,
    handler: Callable[[], Any],
    is_refusal: IsRefusal = lambda _: False,
) -> Any:
    """Judge a call, run the tool if that is allowed, judge what it gave.

    Args:
        guard: what judges.
        conversation: the chat up to the call, with the message that asks for it where that is known.
        call: the call as it will be carried out, without what LangChain injects.
        handler: runs the tool, and gives a `ToolMessage`, a LangGraph `Command` with messages, or a list of these.
        is_refusal: whether what came back stands already in the place of a result that was refused further in.

    Returns:
        What the tool gave, saying what was decided; or, in the place of what was refused, an error for the model.

    Raises:
        Exception: what the tool raised, if it may be seen.
    """
    flow = guarded_tool(guard.policy, conversation, call_of(call), partial(_read, is_refusal))
    return _shown(call, run(flow, guard.judge, catching(handler, failed)), is_refusal)


async def aguarded_tool_run(
    guard: LlamaGuard,
    conversation: Conversation,
    call: ToolCall,
    handler: Callable[[], Awaitable[Any]],
    is_refusal: IsRefusal = lambda _: False,
) -> Any:
    """Judge a call, run the tool if that is allowed, judge what it gave; see `guarded_tool_run`."""
    flow = guarded_tool(guard.policy, conversation, call_of(call), partial(_read, is_refusal))
    return _shown(call, await arun(flow, guard.ajudge, acatching(handler, failed)), is_refusal)


def messages_in(result: Any) -> Iterator[BaseMessage]:
    """The messages that a tool's result puts before the model: its own, those of a `Command`, or of a list."""
    if isinstance(result, BaseMessage):
        yield result
    elif isinstance(result, list | tuple):
        for item in result:
            yield from messages_in(item)
    elif hasattr(result, "update") and not isinstance(result, dict | type):  # LangGraph's Command
        yield from messages_in(_messages_of_update(result.update))


def _read(is_refusal: IsRefusal, result: Any) -> Message | None:
    if is_refusal(result):
        return None
    if isinstance(result, Failed):
        return Message("tool", (Text(result.text),))
    parts = tuple(part for message in messages_in(result) for part in message_of(message).parts)
    return Message("tool", parts) if parts else None


def _shown(call: ToolCall, outcome: GuardedToolRun[Any], is_refusal: IsRefusal) -> Any:
    if isinstance(outcome.call, Refuse):
        return refused_call(str(call["id"] or ""), call["name"], outcome.call)
    if is_refusal(outcome.result):
        return outcome.result
    result, decision = outcome.result, outcome.decision
    if isinstance(result, Failed):
        if isinstance(decision, Refuse):
            return refused_call(str(call["id"] or ""), call["name"], decision)
        raise result.error
    if isinstance(decision, Refuse):
        return _replaced(result, lambda message: _withheld(message, decision))
    return _replaced(result, lambda message: with_decisions(message, [outcome.call, decision]))


def _withheld(message: BaseMessage, refusal: Refuse) -> BaseMessage:
    return refused_result(message, refusal) if isinstance(message, ToolMessage) else in_place_of(message, refusal)


def _replaced(result: Any, by: Callable[[BaseMessage], BaseMessage]) -> Any:
    """The same result with other messages in it."""
    if isinstance(result, BaseMessage):
        return by(result)
    if isinstance(result, list | tuple):
        return [_replaced(item, by) for item in result]
    if not any(True for _ in messages_in(result)):
        return result
    update = result.update
    messages = _replaced(_messages_of_update(update), by)
    if isinstance(update, dict):
        return dataclasses.replace(result, update={**update, "messages": messages})
    pairs: Sequence[Any] = [(key, messages if key == "messages" else value) for key, value in update]
    return dataclasses.replace(result, update=pairs)


def _messages_of_update(update: Any) -> Any:
    """The messages of a `Command`'s update, which is a mapping or, in LangGraph's other form, a list of pairs."""
    try:
        return dict(update or {}).get("messages", [])
    except (TypeError, ValueError):
        return []


def failed(error: Exception) -> Failed:
    """An exception of a tool, to be judged like its result; interrupts and LangGraph's commands are none."""
    langgraph = sys.modules.get("langgraph.errors")  # absent, it raises nothing
    if langgraph is not None and isinstance(error, langgraph.GraphBubbleUp):
        raise error
    return as_output(error)
