"""LlamaGuardMiddleware: Llama Guard at every step of a `create_agent` agent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Iterable, Sequence
from typing import Any, Literal

try:
    from langchain.agents.middleware import (
        AgentMiddleware,
        AgentState,
        ModelRequest,
        ModelResponse,
        ToolCallRequest,
        TracePolicy,
        hook_config,
        omit_payload,
    )
except ImportError as error:
    msg = 'LlamaGuardMiddleware is for create_agent: pip install "llama-guardrails[agents]"'
    raise ImportError(msg) from error

from langchain_core.messages import BaseMessage, ToolMessage
from langgraph.runtime import Runtime
from langgraph.types import Command

from langchain_llama_guard._agent_model_calls import AgentModelCall
from langchain_llama_guard._agent_tool_calls import AgentToolCall
from langchain_llama_guard._agent_turns import AgentTurn, new_records
from langchain_llama_guard._refusals import METADATA_KEY
from langchain_llama_guard._tool_descriptions import aallowed_tools, allowed_tools
from langchain_llama_guard._tool_results import messages_in
from langchain_llama_guard._tool_runs import aguarded_tool_run, guarded_tool_run
from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.drive import acatching, arun, arun_all, catching, run
from llama_guard_core.guardrail.verdict import Stage

ExitBehavior = Literal["continue", "end", "interrupt"]
PromptHook = Literal["before_model", "before_agent"]
_AT_ONCE = 8


class LlamaGuardMiddleware(AgentMiddleware[AgentState[Any], Any, Any]):
    """Judges what an agent is told, what it says, the tools it calls and what they give.

    - **Prompts** in `before_model`: what a user says, and every other message that is new to the guard: history that
      was handed in, messages from other middleware, results of sub-agents. An unsafe prompt ends the run with the
      refusal; it, and any other unsafe message, is replaced in the history under its own id.
    - **Replies** inside the model, below callbacks and streams: `wrap_model_call` puts a guarded model in the place of
      the agent's. Streams are shown as verdicts cover them. Structured answers are judged with their reply.
    - **Tool calls** with the reply that asks for them. A call that is refused never runs. Its arguments are withheld
      from the history, an error answers it, harmless calls beside it run, and the agent goes on.
    - **Tool results** in `wrap_tool_call`, before the model reads them; what is refused is replaced.

    Each message is judged once: the guard's cache knows the rest of the history at the next step. With
    `LlamaGuard(cache=False)` all of it is judged again at every step.

    What was decided is in `response_metadata["llama_guard"]` of replies and tool messages, and is written to the
    agent's `custom` stream as `{"llama_guard": record}`.

    One object may serve several agents: `create_agent(model, tools, middleware=[middleware])` for a sub-agent is all it
    takes to guard that too. List it before middleware that retries or turns errors into messages.

    It does not take the user's message out of the first checkpoint, which LangGraph writes before any middleware runs;
    an unsafe one is replaced from the next on. Tools that a provider runs at its side are judged with the reply, after
    they ran. Of a tool's `Command`, the messages are judged and not what else it writes to the state; the artifact of a
    tool's message, which no model reads, goes with a refused result and is not judged. Llama Guard has no category for
    prompt injection.

    Args:
        guard: what judges, with the policy for each stage.
        exit_behavior: what follows a refused tool call: `continue` answers it with an error, and the agent goes on;
            `end` ends the run with the refusal; `interrupt` asks a human: the run stops at an interrupt of LangChain's
            form `tool_approval` with the verdict under `llama_guard`, and goes on by
            `Command(resume={"type": "approve"})`, or `"reject"`, `"edit"`, `"respond"`. That takes a checkpointer, and
            the call's arguments stay in the history for the human to see. An edited call is judged again.
        prompt_hook: `before_model`, or `before_agent`: once, before the agent begins. What comes into the history
            later, other than by the model and its tools, is then not judged.
        descriptions: whether the tools' descriptions are judged too, as documents, before the model first reads them.
            A tool whose description is refused is not offered and not run.
        name: the middleware's name, for several in one agent.

    Raises:
        UnsafeContent: where the policy says `on_unsafe="raise"`; the run ends.
        GuardUnavailable: where it says `on_no_verdict="raise"`.
        ConfigurationError: the agent's model is no chat model.

    Example:
        ```python
        agent = create_agent(model, tools, middleware=[LlamaGuardMiddleware(LlamaGuard())])
        ```
    """

    # The guard's own spans do not repeat the conversation; the model's and the tools' have what was judged of it.
    trace_policy = TracePolicy(process_inputs=omit_payload)

    def __init__(
        self,
        guard: LlamaGuard,
        *,
        exit_behavior: ExitBehavior = "continue",
        prompt_hook: PromptHook = "before_model",
        descriptions: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__()
        self.guard = guard
        self.exit_behavior: ExitBehavior = exit_behavior
        self.prompt_hook: PromptHook = prompt_hook
        self.descriptions = descriptions
        self.tools = []
        self._name = name
        inside = {Stage.REPLY, Stage.TOOL_CALL} | ({Stage.PROMPT} if self._is_parallel else set())
        self._judging = guard.with_policy(guard.policy.model_copy(update={"stages": guard.policy.stages & inside}))

    @property
    def name(self) -> str:
        """The name of its nodes in the agent's graph."""
        return self._name or type(self).__name__

    @hook_config(can_jump_to=["end"])
    def before_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Judge what is new in the history, where this is the hook for it."""
        return self._screened(self._turn(state, "before_agent"), runtime)

    @hook_config(can_jump_to=["end"])
    async def abefore_agent(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Judge what is new in the history, where this is the hook for it."""
        return await self._ascreened(self._turn(state, "before_agent"), runtime)

    @hook_config(can_jump_to=["end"])
    def before_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Judge what is new in the history, and end the run where a refused tool call is to end it."""
        return self._screened(self._turn(state, "before_model"), runtime)

    @hook_config(can_jump_to=["end"])
    async def abefore_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Judge what is new in the history, and end the run where a refused tool call is to end it."""
        return await self._ascreened(self._turn(state, "before_model"), runtime)

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Call the agent's model, guarded from inside."""
        if self.descriptions:
            request = request.override(tools=allowed_tools(self.guard, request.tools))
        call = self._model_call(request)
        return run(call.flow(), self.guard.judge, catching(lambda: handler(call.request), call.failed))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Call the agent's model, guarded from inside."""
        if self.descriptions:
            request = request.override(tools=await aallowed_tools(self.guard, request.tools))
        call = self._model_call(request)
        return await arun(call.flow(), self.guard.ajudge, acatching(lambda: handler(call.request), call.failed))

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> Any:
        """Run a tool whose call may be carried out, and judge what it gives."""
        call = self._tool_call(request)
        if answer := call.answer_to(run(call.flow(), self.guard.judge)):
            return answer
        with call.judged_inside() as (made, begun):
            result = guarded_tool_run(
                call.guard, call.conversation, made.tool_call, lambda: handler(made), begun.has_refused
            )
        return _told(request, result)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]]
    ) -> Any:
        """Run a tool whose call may be carried out, and judge what it gives."""
        call = self._tool_call(request)
        if answer := call.answer_to(await arun(call.flow(), self.guard.ajudge)):
            return answer
        with call.judged_inside() as (made, begun):
            result = await aguarded_tool_run(
                call.guard, call.conversation, made.tool_call, lambda: handler(made), begun.has_refused
            )
        return _told(request, result)

    def _screened(self, turn: AgentTurn, runtime: Runtime[Any]) -> dict[str, Any] | None:
        decisions = [run(flow, self.guard.judge) for flow in turn.flows]
        _write(runtime, new_records(decisions))
        return turn.update(decisions)

    async def _ascreened(self, turn: AgentTurn, runtime: Runtime[Any]) -> dict[str, Any] | None:
        decisions = await arun_all(turn.flows, self.guard.ajudge, at_once=_AT_ONCE)
        _write(runtime, new_records(decisions))
        return turn.update(decisions)

    def _turn(self, state: AgentState[Any], hook: PromptHook) -> AgentTurn:
        ends_on_tools = self.exit_behavior == "end" and hook == "before_model"
        judged = None if hook == self.prompt_hook else ()
        return self._turn_of(state["messages"], only=judged, ends_on_tools=ends_on_tools)

    def _turn_of(
        self, messages: Sequence[BaseMessage], *, only: Container[int] | None, ends_on_tools: bool = False
    ) -> AgentTurn:
        return AgentTurn(
            self.guard.policy,
            messages,
            only=only,
            prompt_beside=self._is_parallel,
            ends_on_tools=ends_on_tools,
            asks_human=self.exit_behavior == "interrupt",
        )

    def _model_call(self, request: ModelRequest[Any]) -> AgentModelCall:
        known = {id(message) for message in request.state["messages"]}
        added = {at for at, message in enumerate(request.messages) if id(message) not in known}
        # Where the cache answers for what was judged, it need not be known what other hooks did since.
        asks_again = self.prompt_hook == "before_model" and self.guard.cache is not None
        return AgentModelCall(
            self.guard,
            self._judging,
            request,
            self._turn_of(request.messages, only=None if asks_again else added),
            refuses_apart=self.exit_behavior != "end",
            keeps_arguments=self.exit_behavior == "interrupt",
        )

    def _tool_call(self, request: ToolCallRequest) -> AgentToolCall:
        asks_human = self.exit_behavior == "interrupt"
        return AgentToolCall(self.guard, request, asks_human=asks_human, descriptions=self.descriptions)

    @property
    def _is_parallel(self) -> bool:
        return self.guard.policy.prompt_check == "parallel"


def _told(request: ToolCallRequest, result: Any) -> Any:
    """The result, after the application was told what was decided about it."""
    for message in messages_in(result):
        _write(request.runtime, message.response_metadata.get(METADATA_KEY, ()))
    return result


def _write(runtime: Any, records: Iterable[dict[str, Any]]) -> None:
    """Tell the agent's `custom` stream what was decided. No judged text is in it."""
    if runtime is None:  # a ToolNode outside of any graph
        return
    for record in records:
        runtime.stream_writer({METADATA_KEY: record})
