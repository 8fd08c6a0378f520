"""One run of a tool under guard: its call is judged before it runs, what it gives before anybody reads it."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from langchain_core.messages import BaseMessage, ToolCall, ToolMessage

from langchain_llama_guard._conversation import call_of
from langchain_llama_guard._failures import as_output
from langchain_llama_guard._history import in_place_of, refused_call, refused_result, with_decisions
from langchain_llama_guard._tool_results import said_in, with_messages
from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.drive import acatching, arun, catching, run
from llama_guard_core.guardrail.decisions import Refuse
from llama_guard_core.guardrail.failures import Failed
from llama_guard_core.guardrail.tool_screening import GuardedToolRun, guarded_tool
from llama_guard_core.messages import Conversation, Message

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


def _read(is_refusal: IsRefusal, result: Any) -> Message | None:
    return None if is_refusal(result) else said_in(result)


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
        return with_messages(result, lambda message: _withheld(message, decision))
    return with_messages(result, lambda message: with_decisions(message, [outcome.call, decision]))


def _withheld(message: BaseMessage, refusal: Refuse) -> BaseMessage:
    return refused_result(message, refusal) if isinstance(message, ToolMessage) else in_place_of(message, refusal)


def failed(error: Exception) -> Failed:
    """An exception of a tool, to be judged like its result; interrupts and LangGraph's commands are none."""
    langgraph = sys.modules.get("langgraph.errors")  # absent, it raises nothing
    if langgraph is not None and isinstance(error, langgraph.GraphBubbleUp):
        raise error
    return as_output(error)
