"""Guarded tools: a call is judged before the tool runs, what it gives before anybody reads it."""

# No `from __future__ import annotations` here: LlamaIndex finds out from annotations which tools want its context.

import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from llama_index.core.agent.workflow.multi_agent_workflow import handoff
from llama_index.core.tools import AsyncBaseTool, BaseTool, FunctionTool, ToolOutput, adapt_to_async_tool

from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.drive import acatching, arun, arun_all, catching, run
from llama_guard_core.guardrail.decisions import Allow, Refuse
from llama_guard_core.guardrail.screening import Flow
from llama_guard_core.guardrail.tool_screening import screen_description
from llama_guard_core.guardrail.verdict import Stage
from llama_guard_core.messages import Conversation
from llamaindex_llama_guard._tool_runs import Run, call_of, conversation_in, failed, guarded_run, output_of
from llamaindex_llama_guard._unobserved import unobserved

_log = logging.getLogger(__name__)
_OWN_CONTEXT = "llama_guard_context"
_DESCRIPTIONS_AT_ONCE = 8


class GuardedTool(FunctionTool):
    """A tool whose calls are judged before it runs, and whose output before it is shown.

    It has the name, description and parameters of the tool, and is a `FunctionTool` whatever the tool is, so that
    LlamaIndex hands it the workflow's context and never runs it a second time. In an agent, the call and the output
    are judged in the agent's conversation; called by your own code, on their own.

    A refusal is an output like any other, with `is_error` and the policy's words as its content. It says what was
    decided in `raw_output["llama_guard"]` and, in newer versions of LlamaIndex, as an `UnsafeContent` or a
    `GuardUnavailable` in `exception`; the arguments are not in it. What the tool raises is judged like an output and,
    if it is harmless, is one: an error with its text, as agents make of it. The output of a tool with `return_direct`
    is judged as the agent's reply too. What `raw_output` holds beyond the content, such as the sources of an answer, is
    judged on its own and left out if it is refused.

    Where the policy says raise, the tool raises. LlamaIndex's agents make of that an error whose text the model reads:
    it names the hazards, and nothing else. An agent's run is ended by its guard, not by its tools: see `guard_agent`.

    While the tool runs, LlamaIndex's instrumentation and callbacks do not see what happens in it; its span tells of the
    call as it was made, and of the output as it was judged. `fn`, `async_fn` and `real_fn` are the tool's own
    functions, and not guarded. What a tool does by itself is not judged: what it writes to the workflow's stream or
    store, sends or deletes.

    Args:
        tool: the tool to guard.
        guard: what judges it, with the policy for what follows.
        in_conversation: whether it asks an agent for its context. `CodeActAgent` takes no tools that do.
    """

    def __init__(self, tool: BaseTool, guard: LlamaGuard, *, in_conversation: bool = True) -> None:
        self.tool = tool
        self.guard = guard
        partial_params = tool.partial_params if isinstance(tool, FunctionTool) else None
        super().__init__(fn=_function_of(tool), metadata=tool.metadata, partial_params=partial_params)
        self._wants_context = isinstance(tool, FunctionTool) and tool.requires_context
        self._context_name = self.ctx_param_name or _OWN_CONTEXT
        if in_conversation:
            self.requires_context, self.ctx_param_name = True, self._context_name

    # LlamaIndex's own bridge would hand out the tool's function, unguarded.
    to_langchain_tool = BaseTool.to_langchain_tool
    to_langchain_structured_tool = BaseTool.to_langchain_structured_tool

    def __call__(self, *args: Any, **kwargs: Any) -> ToolOutput:
        """Run the tool, if that is allowed."""
        return self.call(*args, **kwargs)

    def call(self, *args: Any, **kwargs: Any) -> ToolOutput:
        """Run the tool, if that is allowed.

        Raises:
            UnsafeContent: the call or its output is unsafe, and the policy says raise.
            GuardUnavailable: no verdict could be had, and the policy says raise.
        """
        context, arguments = self._without_context(kwargs)

        def call() -> ToolOutput:
            with self._hidden():
                return self.tool(*args, **self._with_context(context, arguments))

        outcome = run(self._flow((), args, arguments), self.guard.judge, catching(call, failed))
        return output_of(outcome, self.metadata.get_name())

    async def acall(self, *args: Any, **kwargs: Any) -> ToolOutput:
        """Run the tool, if that is allowed; see `call`."""
        context, arguments = self._without_context(kwargs)

        async def call() -> ToolOutput:
            with self._hidden():
                return await _acall(self.tool)(*args, **self._with_context(context, arguments))

        flow = self._flow(await conversation_in(context), args, arguments)
        outcome = await arun(flow, self.guard.ajudge, acatching(call, failed))
        return output_of(outcome, self.metadata.get_name())

    def _flow(self, conversation: Conversation, args: Sequence[Any], arguments: Mapping[str, Any]) -> Flow[Run]:
        call = call_of(self.metadata.get_name(), self.real_fn, args, arguments)
        return guarded_run(self.guard.policy, conversation, call, is_answer=self.metadata.return_direct)

    def _hidden(self) -> AbstractContextManager[None]:
        return unobserved() if self.guard.policy.judges(Stage.TOOL_RESULT) else nullcontext()

    def _without_context(self, kwargs: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        arguments = {name: value for name, value in kwargs.items() if name != self._context_name}
        return kwargs.get(self._context_name), arguments

    def _with_context(self, context: Any, arguments: dict[str, Any]) -> dict[str, Any]:
        return {**arguments, self._context_name: context} if self._wants_context and context else arguments


def guard_tools(
    tools: Iterable[BaseTool | Callable[..., Any]], guard: LlamaGuard, *, descriptions: bool = False
) -> list[AsyncBaseTool]:
    """Tools for an agent or a program, each with its calls and its output judged.

    `guard_agent` does this for an agent by itself. The tool by which agents hand over to one another stays as it is,
    and so do tools that this guard guards already.

    Args:
        tools: tools, or functions to make them of.
        guard: what judges them, with the policy for what follows.
        descriptions: whether the tools' names, descriptions and parameters are judged first, as the policy says for
            documents: whoever serves a tool has written them, and models do what they say. A tool that is refused for
            it is left out, with a warning in the log that does not say its name. Llama Guard has no category for
            prompt injection: it finds harmful descriptions, not treacherous ones.

    Returns:
        The guarded tools in order, without those left out.

    Raises:
        UnsafeContent: a description is unsafe, and the policy says raise.
        GuardUnavailable: a description could not be judged, and the policy says raise.

    Example:
        ```python
        agent = FunctionAgent(tools=guard_tools([search, read_file], guard), llm=llm)
        ```
    """
    made = [_as_tool(tool) for tool in tools]
    if descriptions:
        made = _left(made, [run(_screen(guard, tool), guard.judge) for tool in made])
    return [guarded_tool(tool, guard) for tool in made]


async def aguard_tools(
    tools: Iterable[BaseTool | Callable[..., Any]], guard: LlamaGuard, *, descriptions: bool = False
) -> list[AsyncBaseTool]:
    """Tools for an agent or a program, with their calls and output judged; see `guard_tools`.

    Descriptions, if they are judged, are judged several at a time.
    """
    made = [_as_tool(tool) for tool in tools]
    if descriptions:
        flows = [_screen(guard, tool) for tool in made]
        made = _left(made, await arun_all(flows, guard.ajudge, at_once=_DESCRIPTIONS_AT_ONCE))
    return [guarded_tool(tool, guard) for tool in made]


def guarded_tool(tool: BaseTool, guard: LlamaGuard, *, in_conversation: bool = True) -> AsyncBaseTool:
    """The tool under guard, unless it is the hand-off or is guarded by this guard already."""
    if _is_handoff(tool) or (isinstance(tool, GuardedTool) and tool.guard is guard):
        return adapt_to_async_tool(tool)
    return GuardedTool(tool, guard, in_conversation=in_conversation)


def _as_tool(tool: BaseTool | Callable[..., Any]) -> BaseTool:
    return tool if isinstance(tool, BaseTool) else FunctionTool.from_defaults(tool)


def _is_handoff(tool: BaseTool) -> bool:
    return isinstance(tool, FunctionTool) and tool.real_fn is handoff


def _function_of(tool: BaseTool) -> Callable[..., Any]:
    if isinstance(tool, FunctionTool):
        return tool.real_fn
    return tool.call if isinstance(tool, AsyncBaseTool) else tool.__call__


def _acall(tool: BaseTool) -> Callable[..., Awaitable[ToolOutput]]:
    return adapt_to_async_tool(tool).acall


def _screen(guard: LlamaGuard, tool: BaseTool) -> Flow[Allow | Refuse]:
    """Judge what a model is told of a tool; the hand-off is told of by the application."""
    told = "" if _is_handoff(tool) else _described(tool)
    return screen_description(guard.policy, told)


def _described(tool: BaseTool) -> str:
    parameters = json.dumps(tool.metadata.get_parameters_dict(), ensure_ascii=False)
    return "\n".join([tool.metadata.name or "", tool.metadata.description, parameters])


def _left(tools: Sequence[BaseTool], decisions: Sequence[Allow | Refuse]) -> list[BaseTool]:
    left = [tool for tool, decision in zip(tools, decisions, strict=True) if isinstance(decision, Allow)]
    if len(left) < len(tools):
        _log.warning("%d of %d tools are left out: their descriptions were refused", len(tools) - len(left), len(tools))
    return left
