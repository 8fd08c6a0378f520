"""One tool call of an agent under guard, as the middleware and LangGraph's `ToolNode` ask for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from langchain.agents.middleware import ToolCallRequest
from langchain_core.messages import AIMessage, BaseMessage, ToolCall, ToolMessage
from langchain_core.tools import BaseTool
from langgraph.types import interrupt

from langchain_llama_guard._conversation import call_of, conversation_of
from langchain_llama_guard._guarded_tool_runs import ToolRun, guard_of, guarded_twin, runs_past_guards, under_way
from langchain_llama_guard._history import refused_call
from langchain_llama_guard._refusals import METADATA_KEY
from langchain_llama_guard._tool_descriptions import screen_tool
from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.guardrail.decisions import Allow, Refuse, decision_record
from llama_guard_core.guardrail.screening import Flow
from llama_guard_core.guardrail.tool_screening import refused_before, screen_tool_call
from llama_guard_core.guardrail.verdict import Stage
from llama_guard_core.messages import Conversation


class AgentToolCall:
    """One tool call of an agent.

    Args:
        guard: what judges.
        request: the call, with the agent's state.
        asks_human: whether a human decides about a call that is refused.
        descriptions: whether a tool whose description is refused is not run.
    """

    def __init__(self, guard: LlamaGuard, request: ToolCallRequest, *, asks_human: bool, descriptions: bool) -> None:
        messages = _up_to_call(_messages_in(request.state), request.tool_call)
        self._asking = messages[-1] if messages else None
        self._asks_human = asks_human
        self._descriptions = descriptions
        self.guard = self._agents_guard = guard
        self.request = request
        self.conversation: Conversation = conversation_of(messages)

    def flow(self) -> Flow[Refuse | dict[str, Any] | None]:
        """What is judged before the call is judged like any other.

        Returns:
            A refusal of the tool itself; what a human is told of a call that is refused; or `None`.

        A verdict that was given when the call was made is in the message that asks for it, and is not asked for again:
        when the run goes on, perhaps in another process, the same call must be the human's to decide.
        """
        policy, call = self.guard.policy, self.request.tool_call
        if self._descriptions and self.request.tool is not None:
            described = yield from screen_tool(policy, self.request.tool)
            if isinstance(described, Refuse):
                return described
        if not self._asks_human:
            return None
        if told := _told_of(self._asking, call):
            return told if self._may_interrupt else refused_before(policy)
        decision = yield from screen_tool_call(policy, self.conversation, call_of(call))
        if isinstance(decision, Allow):
            return None
        return decision_record(decision) if self._may_interrupt else decision

    def answer_to(self, outcome: Refuse | dict[str, Any] | None) -> ToolMessage | None:
        """What is answered in the place of a run of the tool, after what `flow` has found; `None` to run it.

        Raises:
            GraphInterrupt: the run stops here for a human. When it goes on, this is called again, and returns.
        """
        call = self.request.tool_call
        if outcome is None:
            return None
        if isinstance(outcome, Refuse):
            return refused_call(call["id"] or "", call["name"], outcome)
        answer = _answered(call, interrupt(_question(call, outcome)))
        if isinstance(answer, ToolMessage):
            return answer
        if answer == call:
            policy = self.guard.policy
            decided_by_human = policy.model_copy(update={"stages": policy.stages - {Stage.TOOL_CALL}})
            self.guard = self.guard.with_policy(decided_by_human)
        self.request = self.request.override(tool_call=answer)
        return None

    @property
    def _may_interrupt(self) -> bool:
        """Whether a human's answer is sure to come back to this call.

        LangGraph gives answers to the interrupts of one task in their order. `create_agent` runs each call as a task of
        its own; a `ToolNode` in a graph runs all calls of a message in one, side by side, so that answers could be
        swapped and tools run again.
        """
        config = getattr(self.request.runtime, "config", None) or {}
        path = (config.get("metadata") or {}).get("langgraph_path") or ("",)
        calls = self._asking.tool_calls if isinstance(self._asking, AIMessage) else []
        return len(calls) <= 1 or path[0] == "__pregel_push"

    @contextmanager
    def judged_inside(self) -> Iterator[tuple[ToolCallRequest, ToolRun]]:
        """The request with a tool that judges its result from inside, before callbacks are told of it; and its run.

        A tool with a guard of its own judges for itself, and is judged here besides.
        """
        tool, begun = self.request.tool, ToolRun(self.guard, self.conversation, call_of(self.request.tool_call))
        own = guard_of(tool)
        is_others = own is not None and own is not self._agents_guard
        if not isinstance(tool, BaseTool) or runs_past_guards(tool) or is_others:
            yield self.request, begun
            return
        with under_way(begun):
            yield self.request.override(tool=tool if own else guarded_twin(tool, self.guard)), begun


def _question(call: ToolCall, record: Mapping[str, Any]) -> dict[str, Any]:
    """What a human is asked, in the form of LangChain's approvals of one call."""
    return {
        "type": "tool_approval",
        "tool_call_id": call["id"],
        "name": call["name"],
        "args": call["args"],
        "description": _described(record),
        METADATA_KEY: dict(record),
    }


def _answered(call: ToolCall, answer: Any) -> ToolMessage | ToolCall:
    match answer:
        case {"decisions": [first, *_]}:  # the form of LangChain's batched approvals
            return _answered(call, first)
        case {"type": "approve"}:
            return call
        case {"type": "edit", "edited_action": {"name": str(name), "args": dict(args)}} if name == call["name"]:
            return ToolCall(type="tool_call", id=call["id"], name=name, args=args)
        case {"type": "respond", "message": str(text)}:
            return ToolMessage(text, tool_call_id=call["id"] or "", name=call["name"])
        case {"type": "reject", "message": str(reason)}:
            text = f"A human rejected this call: {reason}"
        case _:
            text = "A human rejected this call. It was not run."
    return ToolMessage(text, tool_call_id=call["id"] or "", name=call["name"], status="error")


def _described(record: Mapping[str, Any]) -> str:
    verdict = record.get("verdict")
    if not verdict:
        return f"Llama Guard could not judge this tool call ({record.get('no_verdict')})."
    named = ", ".join(f"{it['code']} {it['name']}" for it in verdict["categories"]) or "no hazard named"
    return f"Llama Guard judged this tool call unsafe ({named})."


def _told_of(asking: BaseMessage | None, call: ToolCall) -> dict[str, Any] | None:
    """The refusal of a call, as the message that asks for it says, if it asks for this very call."""
    if not isinstance(asking, AIMessage) or call not in asking.tool_calls:
        return None
    records = asking.response_metadata.get(METADATA_KEY, ())
    refusals = (it for it in records if it.get("tool_call_id") == call["id"] and it["action"] == "refuse")
    return next(refusals, None)


def _messages_in(state: Any) -> Sequence[BaseMessage]:
    """The messages of a graph's state, whatever form it has."""
    if isinstance(state, list):
        return state
    messages = state.get("messages") if isinstance(state, Mapping) else getattr(state, "messages", None)
    return messages or []


def _up_to_call(messages: Sequence[BaseMessage], call: ToolCall) -> Sequence[BaseMessage]:
    """The messages up to and with the one that asks for a call; all of them if none does."""
    for at in reversed(range(len(messages))):
        message = messages[at]
        if isinstance(message, AIMessage) and any(made["id"] == call["id"] for made in message.tool_calls):
            return messages[: at + 1]
    return messages
