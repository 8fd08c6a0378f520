"""Guarded agents: input, stream, tool calls, results, answer and memory of LlamaIndex's agents, all judged."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from copy import copy
from functools import cache
from typing import Any, Literal, TypeVar, cast, get_args

from llama_index.core.agent.react.types import ActionReasoningStep
from llama_index.core.agent.workflow import AgentWorkflow, CodeActAgent, ReActAgent
from llama_index.core.agent.workflow.base_agent import BaseWorkflowAgent
from llama_index.core.agent.workflow.codeact_agent import EXECUTE_TOOL_NAME
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.objects import ObjectRetriever
from llama_index.core.schema import QueryType
from llama_index.core.tools import BaseTool

from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.drive import acatching, arun
from llama_guard_core.errors import ConfigurationError, GuardUnavailable
from llama_guard_core.guardrail.decisions import Refuse, refusal_error
from llama_guard_core.guardrail.failures import Failed
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.screening import Flow, RunTool, screen_reply
from llama_guard_core.messages import Conversation, ToolCall, assistant, written_arguments
from llamaindex_llama_guard._agent_llms import ReadsAction, agent_llm, run_was_refused
from llamaindex_llama_guard._agent_steps import GuardedSteps, GuardedWorkflow, tools_under_guard
from llamaindex_llama_guard._conversation import arguments_text, conversation_of
from llamaindex_llama_guard._failures import as_output
from llamaindex_llama_guard._unobserved import unobserved

A = TypeVar("A", bound=BaseWorkflowAgent | AgentWorkflow)
OnRefusedCall = Literal["continue", "end"]


def guard_agent(agent: A, guard: LlamaGuard, *, on_refused_call: OnRefusedCall = "continue") -> A:
    """An agent, or a workflow of agents, with everything judged that goes in and out of it.

    What is returned is an agent of the same class, for use wherever the agent was used, alone or in an
    `AgentWorkflow`; the agent itself stays as it is. An agent that is guarded already is left as it is.

    - A **prompt** is judged before the model sees it, once a run. In the place of an unsafe one stands a note, in
      memory too. Earlier messages that the guard has not judged in this conversation, such as a `chat_history` of
      yours, are judged once; an unsafe one is replaced, and the run goes on. Where one cannot be judged, it ends.
    - A **reply** is judged inside the model, before the agent, its stream and its memory have it: its words, its
      thoughts and its tool calls. So is the answer made when an agent has gone on too long
      (`early_stopping_method="generate"`), and a structured answer (`output_cls`, `structured_output_fn`): where one
      is refused, `structured_response` is `None`, and LlamaIndex warns.
    - A **tool call** is judged before the tool runs, a **result** before the model or anybody else reads it, also one
      that is the agent's answer (`return_direct`); see `GuardedTool`. Tools of a `tool_retriever` and of an overridden
      `get_tools` are guarded too. A hand-off is judged as a call, and its tool is left as it is.
    - `ReActAgent` and `CodeActAgent` ask for tools in their text. A refused reply is the end of the run for them. Code
      is judged as a call before it is executed, and what it prints as a result; what else it does is not looked at.

    `AgentOutput.raw["llama_guard"]` says what was decided, where something was refused. Each message costs one question
    in a conversation, and a streamed one more for each window.

    With `prompt_check="parallel"` an agent's model is called while its messages are judged, and what it says is held
    until then. Where the policy says raise, the run ends with the exception; a tool that raises does not end it (see
    `GuardedTool`). System messages, and what an agent of a class of your own adds to its model's input by itself, are
    not judged. LlamaIndex's instrumentation is told the prompt before it is judged.

    Args:
        agent: the agent or the workflow. An `AgentWorkflow` has all its agents guarded.
        guard: what judges, with the policy for what follows. Without its cache, more is asked more than once.
        on_refused_call: what becomes of a run whose model asks for an unsafe call of a function. `continue`: the call
            is answered with an error in the policy's words, the harmless calls beside it are carried out, and the model
            may go on. `end`: the run ends with the refusal. It ends so, too, where a call could not be judged.

    Raises:
        TypeError: for anything else than an agent or an `AgentWorkflow`.
        ConfigurationError: if `on_refused_call` is neither of the two.

    Example:
        ```python
        agent = guard_agent(FunctionAgent(tools=[search, read_file], llm=llm), LlamaGuard())
        print(await agent.run("What is new in the archive?"))
        ```
    """
    if on_refused_call not in get_args(OnRefusedCall):
        msg = "on_refused_call is 'continue' or 'end'"
        raise ConfigurationError(msg)
    if isinstance(agent, GuardedSteps | GuardedWorkflow):
        return agent
    if isinstance(agent, AgentWorkflow):
        return cast("A", _guarded_workflow(agent, guard, on_refused_call))
    if isinstance(agent, BaseWorkflowAgent):
        return cast("A", _guarded_agent(agent, guard, on_refused_call))
    msg = f"guard_agent takes an agent or an AgentWorkflow, not a {type(agent).__name__}"
    raise TypeError(msg)


def _guarded_agent(agent: Any, guard: LlamaGuard, on_refused_call: OnRefusedCall) -> Any:
    twin = _twin(agent, GuardedSteps, guard)
    twin.llm = agent_llm(agent.llm, guard, _reads_action(agent), ends_run=on_refused_call == "end")
    twin.tools = None if agent.tools is None else tools_under_guard(agent, agent.tools, guard)
    if agent.tool_retriever is not None:
        twin.tool_retriever = _GuardedToolRetriever(agent, agent.tool_retriever, guard)
    twin.structured_output_fn = _judged(agent.structured_output_fn, guard)
    return twin


def _guarded_workflow(workflow: Any, guard: LlamaGuard, on_refused_call: OnRefusedCall) -> Any:
    twin = _twin(workflow, GuardedWorkflow, guard)
    twin.agents = {
        name: guard_agent(agent, guard, on_refused_call=on_refused_call) for name, agent in workflow.agents.items()
    }
    twin.structured_output_fn = _judged(workflow.structured_output_fn, guard)
    return twin


def _twin(thing: Any, guarded: Any, guard: LlamaGuard) -> Any:
    """A copy that is of the thing's class and, before that, of the guarded kind."""
    twin, own = copy(thing), cast("Any", type(thing))
    twin.__class__ = _class_of(guarded, own)
    twin._llama_guard = guard  # noqa: SLF001 - one of us
    if runtime := getattr(twin, "runtime", None):  # some run only workflows that they know
        runtime.track_workflow(twin)
    return twin


@cache
def _class_of(guarded: Any, own: Any) -> Any:
    kind: Any = type(own)
    return kind(f"Guarded{own.__name__}", (guarded, own), {"__module__": own.__module__, "__doc__": own.__doc__})


def _reads_action(agent: BaseWorkflowAgent) -> ReadsAction | None:
    """How to read in a reply's text the call that the agent will make of it, if it makes any."""
    match agent:
        case ReActAgent():
            return lambda text: _react_action(agent, text)
        case CodeActAgent():
            return lambda text: _code_action(agent, text)
        case _:
            return None


def _react_action(agent: ReActAgent, text: str) -> ToolCall | None:
    try:
        with unobserved():  # the text has not been judged yet, and parsers tell what they parse
            step = agent.output_parser.parse(text)
    except ValueError:
        return None
    if not isinstance(step, ActionReasoningStep):
        return None
    return ToolCall("", step.action, arguments_text(step.action_input))


def _code_action(agent: CodeActAgent, text: str) -> ToolCall | None:
    code = agent._extract_code_from_response(text)  # noqa: SLF001 - as the agent itself does
    return ToolCall("", EXECUTE_TOOL_NAME, arguments_text({"code": code})) if code else None


class _GuardedToolRetriever(ObjectRetriever[BaseTool]):
    """Finds the tools that another finds, and guards them."""

    def __init__(self, agent: BaseWorkflowAgent, retriever: ObjectRetriever[BaseTool], guard: LlamaGuard) -> None:
        super().__init__(retriever.retriever, retriever.object_node_mapping, retriever.node_postprocessors)
        self._agent, self._inner, self._guard = agent, retriever, guard

    def retrieve(self, str_or_query_bundle: QueryType) -> list[BaseTool]:
        """The tools for a query."""
        return [*tools_under_guard(self._agent, self._inner.retrieve(str_or_query_bundle), self._guard)]

    async def aretrieve(self, str_or_query_bundle: QueryType) -> list[BaseTool]:
        """The tools for a query."""
        return [*tools_under_guard(self._agent, await self._inner.aretrieve(str_or_query_bundle), self._guard)]


_Makes = Callable[[list[ChatMessage]], Any]


def _judged(make: _Makes | None, guard: LlamaGuard) -> Callable[[list[ChatMessage]], Awaitable[Any]] | None:
    """A function for structured answers whose answers are judged as replies."""
    if make is None:
        return None

    async def made(messages: list[ChatMessage]) -> Any:
        if run_was_refused.get():
            msg = "no answer is made of a run that was refused"
            raise GuardUnavailable(msg, reason="not_judgeable")

        async def call() -> Any:
            with unobserved():
                answer = make(messages)
                return await answer if inspect.isawaitable(answer) else answer

        flow = _structured_answer(guard.policy, conversation_of(messages))
        return await arun(flow, guard.ajudge, acatching(call, as_output))

    return made


def _structured_answer(policy: Policy, conversation: Conversation) -> Flow[Any]:
    answer = yield RunTool()
    said = answer.text if isinstance(answer, Failed) else written_arguments(answer)
    decision = yield from screen_reply(policy, conversation, assistant(said))
    if isinstance(decision, Refuse):
        raise refusal_error(decision)
    if isinstance(answer, Failed):
        raise answer.error
    return answer
