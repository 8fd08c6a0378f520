"""One step of a guarded agent: what its model is shown is judged before, what it says inside the model."""

# Here too LlamaIndex reads annotations: no `from __future__ import annotations`.

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from llama_index.core.agent.react.types import ResponseReasoningStep
from llama_index.core.agent.workflow import AgentInput, AgentOutput, AgentStream, CodeActAgent, ToolCallResult
from llama_index.core.agent.workflow.base_agent import BaseWorkflowAgent
from llama_index.core.agent.workflow.codeact_agent import EXECUTE_TOOL_NAME
from llama_index.core.agent.workflow.multi_agent_workflow import AgentWorkflow
from llama_index.core.base.llms.types import ChatMessage, ContentBlock, MessageRole, ToolCallBlock
from llama_index.core.memory import BaseMemory
from llama_index.core.tools import AsyncBaseTool, BaseTool

from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.drive import cancelled, in_background
from llama_guard_core.guardrail.decisions import Refuse, decision_records, refusal_error
from llama_guard_core.guardrail.history import WITHHELD_PROMPT
from llamaindex_llama_guard._agent_history import ScreenedHistory, redact, screened
from llamaindex_llama_guard._agent_llms import HANDOFF, run_was_refused, was_refused
from llamaindex_llama_guard._conversation import call_key, message_of
from llamaindex_llama_guard._reply_form import METADATA_KEY
from llamaindex_llama_guard._tool_runs import ASKED_KEY
from llamaindex_llama_guard.tools import guarded_tool

_KNOWN_KEY = "llama_guard_known"
_REFUSED_KEY = "llama_guard_refused"
_ITERATIONS_KEY = "num_iterations"  # where LlamaIndex counts the steps of a run
_USER_MESSAGE_KEY = "user_msg_str"  # where LlamaIndex keeps the newest prompt once more
_IMPLICIT = "(Implicit) I can answer without any more tools!"  # LlamaIndex's thought behind an answer without one


class GuardedSteps(BaseWorkflowAgent if TYPE_CHECKING else object):  # type: ignore[misc] # stands before one
    """What a guarded agent does differently from its class. These methods run inside an `AgentWorkflow` too."""

    _llama_guard: LlamaGuard

    async def take_step(
        self, ctx: Any, llm_input: list[ChatMessage], tools: Sequence[AsyncBaseTool], memory: BaseMemory
    ) -> AgentOutput:
        """Judge what the model is to be shown, then let the agent take its step, or refuse in its place."""
        guard, taken = self._llama_guard, await self._taken(ctx)
        is_beside = guard.policy.prompt_check == "parallel"
        step = _StepContext(ctx, holds=is_beside)
        await ctx.store.set(_REFUSED_KEY, value=False)
        early = [in_background(super().take_step(step, [*llm_input], tools, memory))] if is_beside else []
        try:
            history = await screened(guard, llm_input, await ctx.store.get(self._known_key, default=[]))
            await self._remember(ctx, memory, history)
            if history.withheld or history.refusal:  # what has begun knows what it must not
                await cancelled(early)
                await self._set_taken(ctx, taken)
                step, early = _StepContext(ctx, holds=False), []
            if history.refusal:
                return await self._refuse(ctx, taken, history)
            answer = early[0] if early else super().take_step(step, history.messages, tools, memory)
            output: AgentOutput = await answer
        finally:
            await cancelled(early)
        step.release()
        if was_refused(output.raw):
            return await self._end(ctx, taken, output.response.content or "", output.raw)
        await ctx.store.set(ASKED_KEY, _asked(step.shown_to_model or history.messages, output))
        return output

    async def handle_tool_call_results(self, ctx: Any, results: list[ToolCallResult], memory: BaseMemory) -> None:
        """Hand the results on; one that is an error answers its call, and is not the agent's answer.

        For what a tool returns directly the agents of LlamaIndex write an answer at once, error or not, and leave out
        the results behind it, so that calls would stay unanswered.
        """
        direct = [result for result in results if result.return_direct and not result.tool_output.is_error][:1]
        others = [result for result in results if not any(result is it for it in direct)]
        read = [result.model_copy(update={"return_direct": False}) for result in others if result.tool_name != HANDOFF]
        handed_over = [result for result in others if result.tool_name == HANDOFF]
        await super().handle_tool_call_results(ctx, [*read, *handed_over, *direct], memory)
        await ctx.store.set(ASKED_KEY, None)  # whose tools come next, if another agent's, it does not ask for them

    async def finalize(self, ctx: Any, output: AgentOutput, memory: BaseMemory) -> AgentOutput:
        """End the run; of one that was refused, no structured answer is made."""
        if await ctx.store.get(_REFUSED_KEY, default=False):
            run_was_refused.set(True)
        ended: AgentOutput = await super().finalize(ctx, output, memory)
        return ended

    async def get_tools(self, input_str: str | None = None) -> Sequence[AsyncBaseTool]:
        """The agent's tools, guarded."""
        return tools_under_guard(self, await super().get_tools(input_str), self._llama_guard)

    async def _remember(self, ctx: Any, memory: BaseMemory, history: ScreenedHistory) -> None:
        await redact(memory, history)
        await ctx.store.set(self._known_key, history.known)
        if history.withholds_prompt:
            await ctx.store.set(_USER_MESSAGE_KEY, WITHHELD_PROMPT)

    async def _refuse(self, ctx: Any, taken: list[Any], history: ScreenedHistory) -> AgentOutput:
        assert isinstance(history.refusal, Refuse)  # noqa: S101 - asked before
        if history.is_to_raise:
            raise refusal_error(history.refusal)
        text, raw = history.refusal.text, {METADATA_KEY: decision_records(history.refusal)}
        if self.streaming:
            ctx.write_event_to_stream(AgentStream(delta=text, response=text, raw=raw, current_agent_name=self.name))
        return await self._end(ctx, taken, text, raw)

    async def _end(self, ctx: Any, taken: list[Any], text: str, raw: Any) -> AgentOutput:
        """End the run with a text, in the words that the agent's class keeps its steps in."""
        message = ChatMessage(role=MessageRole.ASSISTANT, content=text)
        last = ResponseReasoningStep(thought=_IMPLICIT, response=text) if hasattr(self, "reasoning_key") else message
        await self._set_taken(ctx, [*taken, last])
        # LlamaIndex looks first at whether a run has gone on too long: a refusal on its last step is an end.
        await ctx.store.set(_ITERATIONS_KEY, -1)
        await ctx.store.set(_REFUSED_KEY, value=True)
        return AgentOutput(response=message, tool_calls=[], raw=raw, current_agent_name=self.name)

    @property
    def _known_key(self) -> str:
        """Where a context keeps what this guard need not be asked again; another may judge what this one does not."""
        return f"{_KNOWN_KEY}_{hashlib.sha256(repr(self._llama_guard).encode()).hexdigest()[:16]}"

    async def _taken(self, ctx: Any) -> list[Any]:
        """The steps of this run so far, which memory learns of at its end."""
        return [*(await ctx.store.get(key, default=[]))] if (key := self._steps_key) else []

    async def _set_taken(self, ctx: Any, steps: list[Any]) -> None:
        if key := self._steps_key:
            await ctx.store.set(key, steps)

    @property
    def _steps_key(self) -> str | None:
        key: str | None = getattr(self, "scratchpad_key", None) or getattr(self, "reasoning_key", None)
        return key


class GuardedWorkflow(AgentWorkflow if TYPE_CHECKING else object):  # type: ignore[misc] # stands before one
    """What a guarded workflow of agents does differently: it has its own way to their tools."""

    _llama_guard: LlamaGuard

    async def get_tools(self, agent_name: str, input_str: str | None = None) -> Sequence[AsyncBaseTool]:
        """An agent's tools, guarded."""
        found = await super().get_tools(agent_name, input_str)
        return tools_under_guard(self.agents[agent_name], found, self._llama_guard)


def tools_under_guard(agent: BaseWorkflowAgent, tools: Iterable[BaseTool], guard: LlamaGuard) -> list[AsyncBaseTool]:
    """An agent's tools as they are when it is guarded."""
    only_execute = isinstance(agent, CodeActAgent)  # refuses tools that want its context, and calls no other itself
    return [
        guarded_tool(tool, guard, in_conversation=not only_execute or tool.metadata.name == EXECUTE_TOOL_NAME)
        for tool in tools
    ]


class _StepContext:
    """Stands for the context while a step is taken: it knows what the model was shown, and can hold what is told."""

    def __init__(self, ctx: Any, *, holds: bool) -> None:
        self._ctx = ctx
        self._holds = holds
        self._held: list[Any] = []
        self.shown_to_model: list[ChatMessage] = []

    def write_event_to_stream(self, event: Any) -> None:
        """Publish an event, now or when it is released."""
        if isinstance(event, AgentInput):
            self.shown_to_model = event.input
        if self._holds:
            self._held.append(event)
        else:
            self._ctx.write_event_to_stream(event)

    def release(self) -> None:
        """Publish what was held."""
        for event in self._held:
            self._ctx.write_event_to_stream(event)
        self._held.clear()
        self._holds = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)


def _asked(shown: Iterable[ChatMessage], output: AgentOutput) -> list[ChatMessage]:
    """The conversation that ends with the calls which an output asks for, also where it asks in its text."""
    said = {call_key(call)[1:] for call in message_of(output.response).tool_calls}
    called = [
        ToolCallBlock(tool_call_id="", tool_name=call.tool_name, tool_kwargs=call.tool_kwargs)
        for call in output.tool_calls
    ]
    blocks: list[ContentBlock] = [block for block in called if call_key(_call(block))[1:] not in said]
    asking = output.response.model_copy(update={"blocks": [*output.response.blocks, *blocks]})
    return [*(message for message in shown if message.role != MessageRole.SYSTEM), asking]


def _call(block: ToolCallBlock) -> Any:
    (call,) = message_of(ChatMessage(role=MessageRole.ASSISTANT, blocks=[block])).tool_calls
    return call
