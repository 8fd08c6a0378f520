"""LlamaIndex's attach points for passages, tools, evaluation and agents."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from with_llamaindex.engines import memory

from fault_matrix.llamaindex_points import heard, scout_of, tool_of
from fault_matrix.marks import OF_A_MODEL
from fault_matrix.points import Point, Way, leaves_out
from fault_matrix.stand import Stand
from fault_matrix.watch import Enough, Seen
from llamaindex_llama_guard import (
    GuardedRetriever,
    LlamaGuard,
    LlamaGuardEvaluator,
    LlamaGuardPostprocessor,
    LlamaGuardTransform,
    guard_tools,
    guarded,
)

QUESTION = QueryBundle("When?")


class _Finding(BaseRetriever):
    """Finds what it was given."""

    def __init__(self, nodes: list[NodeWithScore]) -> None:
        super().__init__()
        self._nodes = nodes

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._nodes


def _nodes(stand: Stand) -> list[TextNode]:
    return [TextNode(text=text) for text in stand.script.documents]


def _scored(stand: Stand) -> list[NodeWithScore]:
    return [NodeWithScore(node=node, score=1.0) for node in _nodes(stand)]


def _both(sync: Callable[[Stand], Any], asynchronous: Callable[[Stand], Any]) -> dict[str, Way]:
    """A pair of calls as ways; each gives things one by one."""

    def way(stand: Stand, seen: Seen) -> None:
        with heard(seen):
            seen.give(*sync(stand))

    async def away(stand: Stand, seen: Seen) -> None:
        with heard(seen):
            seen.give(*await asynchronous(stand))

    return {"sync plain": way, "async plain": away}


def _retriever(stand: Stand) -> GuardedRetriever:
    return GuardedRetriever(_Finding(_scored(stand)), stand.guard)


def _postprocessor(stand: Stand) -> LlamaGuardPostprocessor:
    return LlamaGuardPostprocessor(guard=stand.guard)


def _transform(stand: Stand) -> LlamaGuardTransform:
    return LlamaGuardTransform(guard=stand.guard)


DOCUMENTS: dict[str, tuple[dict[str, Way], frozenset[str]]] = {
    # The retriever and the splitter have told of what they found before a guard behind them judges it.
    "GuardedRetriever": (
        _both(lambda s: _retriever(s).retrieve(QUESTION), lambda s: _retriever(s).aretrieve(QUESTION)),
        frozenset({"callbacks"}),
    ),
    "LlamaGuardPostprocessor": (
        _both(
            lambda s: _postprocessor(s).postprocess_nodes(_scored(s), QUESTION),
            lambda s: _postprocessor(s).apostprocess_nodes(_scored(s), QUESTION),
        ),
        frozenset({"callbacks"}),
    ),
    "LlamaGuardTransform": (
        _both(lambda s: _transform(s)(_nodes(s)), lambda s: _transform(s).acall(_nodes(s))),
        frozenset({"callbacks"}),
    ),
}


def _told(output: Any) -> list[Any]:
    return [output, output.content, output.raw_output, repr(getattr(output, "exception", None))]


def _call_tool(stand: Stand) -> list[Any]:
    return _told(guard_tools([tool_of(stand)], stand.guard)[0].call(query=stand.script.query))


async def _acall_tool(stand: Stand) -> list[Any]:
    return _told(await guard_tools([tool_of(stand)], stand.guard)[0].acall(query=stand.script.query))


def _evaluated(stand: Stand) -> dict[str, Any]:
    return {"query": stand.script.prompt, **({"response": stand.script.reply} if stand.stage == "reply" else {})}


def _result(result: Any, stand: Stand) -> list[Any]:
    shown = repr(_evaluated(stand)) if result.passing else "evaluated: t help with that."
    return [result.invalid_reason, result.feedback, shown]


def _evaluate(stand: Stand) -> list[Any]:
    return _result(LlamaGuardEvaluator(stand.guard).evaluate(**_evaluated(stand)), stand)


async def _aevaluate(stand: Stand) -> list[Any]:
    return _result(await LlamaGuardEvaluator(stand.guard).aevaluate(**_evaluated(stand)), stand)


def _agent_way(*, streaming: bool) -> Way:
    async def run(stand: Stand, seen: Seen) -> None:
        kept = memory()
        with heard(seen) as watcher:
            agent = FunctionAgent(tools=[tool_of(stand)], llm=scout_of(stand, watcher), streaming=streaming)
            handler = guarded(agent, stand.guard).run(user_msg=stand.script.prompt, memory=kept)
            try:
                async for event in handler.stream_events():
                    if stand.stage != "prompt":  # the events of a run begin with its own question
                        seen.note("stream", event, event.model_dump())
                result = await handler
            except (asyncio.CancelledError, Enough):  # a run goes on without its caller: that is how LlamaIndex is made
                await asyncio.shield(handler.cancel_run())  # also of a caller that is cancelled once more
                raise
            finally:
                seen.note("state", [message for message in kept.get_all() if message.role.value != "user"])
        seen.give(str(result), *(message for message in kept.get_all() if message.role.value != "user"))
        if stand.stage != "prompt":
            seen.note("state", result, result.raw, kept.get_all())

    return run


_AGENT_WAYS = {"async plain": _agent_way(streaming=False), "async streamed": _agent_way(streaming=True)}

POINTS = [
    *(Point(name, "document", LlamaGuard, ways, leaves_out, unheard) for name, (ways, unheard) in DOCUMENTS.items()),
    *(
        Point("guard_tools", stage, LlamaGuard, _both(_call_tool, _acall_tool), unheard=unheard)
        for stage, unheard in (("tool call", frozenset({"callbacks"})), ("tool result", frozenset()))
    ),
    *(
        Point("LlamaGuardEvaluator", stage, LlamaGuard, _both(_evaluate, _aevaluate), raises=False)
        for stage in ("prompt", "reply")
    ),
    *(
        Point("guarded(FunctionAgent)", stage, LlamaGuard, _AGENT_WAYS, raises=stage != "tool result")
        for stage in ("prompt", "reply", "tool call", "tool result", *OF_A_MODEL)
    ),
]
