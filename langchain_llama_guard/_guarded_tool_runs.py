"""Tools that are judged from inside: what a refused one is called with, and what it gives, is told to no callback.

LangChain tells callbacks what a tool is called with before the tool's own code runs, and what it gave right after. So a
call is judged before LangChain's `run` begins, and a result inside `_run`, which `run` wraps. Each guarded tool is of a
class made from its own: LangChain and LangGraph look at a tool's class and signatures to find what they inject.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool
from langchain_core.tools.base import _format_output

from langchain_llama_guard._history import refused_call, with_decisions
from langchain_llama_guard._tool_results import said_in
from langchain_llama_guard._tool_runs import failed
from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.drive import acatching, arun, catching, run
from llama_guard_core.errors import ConfigurationError
from llama_guard_core.guardrail.decisions import Allow, Refuse
from llama_guard_core.guardrail.failures import Failed
from llama_guard_core.guardrail.screening import Flow, RunTool
from llama_guard_core.guardrail.tool_screening import screen_tool_call, screen_tool_result, up_to_call
from llama_guard_core.messages import Conversation, Message, ToolCall, Unjudgeable, written_arguments

T = TypeVar("T", bound=BaseTool)
_GUARD = "_llama_guard"
_TOOL = "_llama_guard_tool"


@dataclass
class ToolRun:
    """One run of a guarded tool, from its call to its result.

    Attributes:
        guard: what judges.
        conversation: the chat up to the call, as far as it is known.
        call: the call, without what LangChain injects.
        judged: what of the result was judged last.
        decision: what was decided about it.
    """

    guard: LlamaGuard
    conversation: Conversation
    call: ToolCall
    judged: Message | None = None
    decision: Allow | Refuse | None = None

    def flow(self, tool: BaseTool) -> Flow[Any]:
        """Run the tool's own code and judge what it gives; an exception is judged like a result."""
        result: Any = yield RunTool()
        refusal = yield from self._screen(tool, _said(tool, result))
        if refusal:
            refused = refused_output(tool, self.call.id, refusal)
            return (refused, None) if tool.response_format == "content_and_artifact" else refused
        if isinstance(result, Failed):
            raise result.error
        return result

    def shown(self, tool: BaseTool, output: Any, about_call: Allow | Refuse) -> Flow[Any]:
        """What LangChain made of the result, saying what was decided.

        It is judged here if it is not what was judged: LangChain refuses arguments that do not fit by itself, a tool's
        class may have a `run` of its own, and somebody's thread may not know this context.
        """
        said = _said(tool, output)
        if not isinstance(self.decision, Refuse) and (self.decision is None or said != self.judged):
            yield from self._screen(tool, said)
        if isinstance(self.decision, Refuse):
            return refused_output(tool, self.call.id, self.decision)
        if isinstance(output, Failed):
            raise output.error
        return with_decisions(output, [about_call, self.decision]) if isinstance(output, ToolMessage) else output

    def has_refused(self, output: Any) -> bool:
        """Whether this is what stands in the place of a refused result."""
        if not (isinstance(self.decision, Refuse) and isinstance(output, ToolMessage)):
            return False
        return (output.content, output.status) == (self.decision.text, "error")

    def _screen(self, tool: BaseTool, said: Message | None) -> Flow[Refuse | None]:
        decision: Allow | Refuse = Allow()
        if said is not None:
            conversation = up_to_call(self.conversation, self.call)
            policy, is_answer = self.guard.policy, tool.return_direct
            decision = yield from screen_tool_result(policy, conversation, said, is_answer=is_answer)
        self.judged, self.decision = said, decision
        return decision if isinstance(decision, Refuse) else None


@contextmanager
def under_way(tool_run: ToolRun | None) -> Iterator[None]:
    """The context in which a guarded tool finds the run that was begun for it; none for the tool's own code."""
    token = _under_way.set(tool_run)
    try:
        yield
    finally:
        _under_way.reset(token)


_under_way: ContextVar[ToolRun | None] = ContextVar("llama_guard_tool_run", default=None)


def guard_of(tool: object) -> LlamaGuard | None:
    """The guard that a guarded tool has."""
    return tool.__dict__[_GUARD] if isinstance(tool, GuardedRuns) else None


def runs_past_guards(tool: BaseTool) -> bool:
    """Whether the tool's class has an `invoke` of its own, which need not come by LangChain's `run`."""
    ways = (type(tool).invoke, type(tool).ainvoke)
    return not all(way.__module__.startswith("langchain_core.") for way in ways)


def guarded_twin(tool: T, guard: LlamaGuard) -> T:
    """A copy of the tool that judges its calls and results; the tool itself, if this guard guards it already.

    Raises:
        ConfigurationError: another guard guards it already, and would be lost; or its class has an `invoke` of its own.
    """
    if guard_of(tool) is guard:
        return tool
    if guard_of(tool) is not None:
        msg = f"the tool {tool.name!r} is guarded already, by another guard: guard the tool itself"
        raise ConfigurationError(msg)
    if runs_past_guards(tool):
        msg = f"the tool {tool.name!r} cannot be guarded: its class has an invoke() of its own; give it a _run()"
        raise ConfigurationError(msg)
    twin = tool.model_copy()
    object.__setattr__(twin, "__class__", _guarded_class(type(tool)))
    twin.__dict__.update({_GUARD: guard, _TOOL: tool})
    return twin


def refused_output(tool: BaseTool, call_id: str, refusal: Refuse) -> Any:
    """What a tool gives in the place of a refused call or result: for a tool call an error message, else the text."""
    return refused_call(call_id, tool.name, refusal) if call_id else refusal.text


class GuardedRuns(BaseTool):
    """What a guarded tool does before the tool's own class is asked."""

    def run(self, tool_input: str | dict[str, Any], *args: Any, tool_call_id: str | None = None, **kwargs: Any) -> Any:
        """Judge the call, and run the tool if that is allowed."""
        run_of_tool = self._run_of(tool_input, tool_call_id)
        if run_of_tool is None:
            return super().run(tool_input, *args, tool_call_id=tool_call_id, **kwargs)
        guard = run_of_tool.guard
        decision = run(screen_tool_call(guard.policy, run_of_tool.conversation, run_of_tool.call), guard.judge)
        if isinstance(decision, Refuse):
            return refused_output(self, tool_call_id or "", decision)
        allowed = functools.partial(super().run, tool_input, *args, tool_call_id=tool_call_id, **kwargs)
        with under_way(run_of_tool):
            output = catching(allowed, failed)()
        return run(run_of_tool.shown(self, output, decision), guard.judge)

    async def arun(
        self, tool_input: str | dict[str, Any], *args: Any, tool_call_id: str | None = None, **kwargs: Any
    ) -> Any:
        """Judge the call, and run the tool if that is allowed."""
        run_of_tool = self._run_of(tool_input, tool_call_id)
        if run_of_tool is None:
            return await super().arun(tool_input, *args, tool_call_id=tool_call_id, **kwargs)
        guard = run_of_tool.guard
        decision = await arun(screen_tool_call(guard.policy, run_of_tool.conversation, run_of_tool.call), guard.ajudge)
        if isinstance(decision, Refuse):
            return refused_output(self, tool_call_id or "", decision)
        allowed = functools.partial(super().arun, tool_input, *args, tool_call_id=tool_call_id, **kwargs)
        with under_way(run_of_tool):
            output = await acatching(allowed, failed)()
        return await arun(run_of_tool.shown(self, output, decision), guard.ajudge)

    def _run_of(self, tool_input: str | dict[str, Any], call_id: str | None) -> ToolRun | None:
        """The run that begins here; `None` if somebody has begun it, and judged the call, already."""
        arguments = tool_input if isinstance(tool_input, str) else self._filter_injected_args(tool_input)
        call = ToolCall(call_id or "", self.name, written_arguments(arguments))
        begun = _under_way.get()
        if begun is None or not call_id or begun.call.id != call_id:
            return ToolRun(self.__dict__[_GUARD], (), call)
        if begun.call == call and begun.decision is None:
            return None
        guard = begun.guard if begun.call == call else self.__dict__[_GUARD]  # run again, or changed on the way
        return ToolRun(guard, begun.conversation, call)


@functools.cache
def _guarded_class(kind: type[BaseTool]) -> type[BaseTool]:
    """A class whose tools are judged, made from a tool's class; the signatures stay that class's."""
    members: dict[str, Any] = {"__module__": __name__, "__doc__": kind.__doc__, "_run": _judging(kind._run)}  # noqa: SLF001 - to wrap a tool is to wrap its hooks
    if kind._arun is not BaseTool._arun:  # noqa: SLF001 - as above
        members["_arun"] = _ajudging(kind._arun)  # noqa: SLF001
    return cast("type[BaseTool]", type(f"Guarded{kind.__name__}", (GuardedRuns, kind), members))


def _judging(work: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(work)
    def judging(self: BaseTool, *args: Any, **kwargs: Any) -> Any:
        begun = _under_way.get()
        if begun is None:  # called past `run`, or by an async form that is judged itself
            return work(self.__dict__[_TOOL], *args, **kwargs)

        def unjudged() -> Any:
            with under_way(None):
                return work(self.__dict__[_TOOL], *args, **kwargs)

        return run(begun.flow(self), begun.guard.judge, catching(unjudged, failed))

    return judging


def _ajudging(work: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(work)
    async def judging(self: BaseTool, *args: Any, **kwargs: Any) -> Any:
        begun = _under_way.get()
        if begun is None:
            return await work(self.__dict__[_TOOL], *args, **kwargs)

        async def unjudged() -> Any:
            with under_way(None):
                return await work(self.__dict__[_TOOL], *args, **kwargs)

        return await arun(begun.flow(self), begun.guard.ajudge, acatching(unjudged, failed))

    return judging


def _said(tool: BaseTool, result: Any) -> Message | None:
    """What a model would read of what the tool's own code gave: what LangChain makes a message of, as that message."""
    if isinstance(result, Failed):
        return said_in(result)
    has_artifact = tool.response_format == "content_and_artifact" and isinstance(result, tuple) and result
    try:
        output = _format_output(result[0] if has_artifact else result, None, "-", tool.name, "success")
    except Exception:  # noqa: BLE001 - nested too deeply, or somebody's own code to write it out failed
        return Message("tool", (Unjudgeable("a result that cannot be written out"),))
    return said_in(output)
