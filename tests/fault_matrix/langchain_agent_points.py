"""LangChain's attach points in agents and graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from langchain.agents import create_agent
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from fault_matrix.langchain_points import config_of, model_of, tool_of
from fault_matrix.marks import OF_A_MODEL
from fault_matrix.points import WAYS, Point, Way
from fault_matrix.stand import Stand
from fault_matrix.watch import Seen
from langchain_llama_guard import LlamaGuard, LlamaGuardMiddleware
from langchain_llama_guard.graph_nodes import GuardNode

MODES = ["messages", "updates", "values", "custom"]
Build = Callable[[Stand], Any]
Ends = Callable[[Any, Any, Stand, Seen], Iterator[Any]]
"""What a graph is given, one run after the other, from the graph, its settings, and what the last run came to."""


def agent_of(stand: Stand, guard: LlamaGuard | None = None, **settings: Any) -> Any:
    """An agent with one tool and the guard's middleware."""
    middleware = [LlamaGuardMiddleware(guard or stand.guard, **settings)]
    return create_agent(model_of(stand), [tool_of(stand)], middleware=middleware, checkpointer=InMemorySaver())


def _graph(stand: Stand) -> Any:
    """Guard, model, tools that nobody guards, and back to the guard before the model reads what they gave."""
    node = GuardNode(stand.guard)
    model = model_of(stand).bind_tools([tool_of(stand)])

    def answer(state: MessagesState) -> Any:
        return {"messages": [model.invoke(state["messages"])]}

    async def aanswer(state: MessagesState) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("guard", node)
    graph.add_node("model", RunnableLambda(answer, afunc=aanswer))
    graph.add_node("tools", ToolNode([tool_of(stand)]))
    graph.add_edge(START, "guard")
    graph.add_conditional_edges("guard", node.route, {"allowed": "model", "refused": END})
    graph.add_conditional_edges("model", tools_condition, {"tools": "tools", END: END})
    graph.add_edge("tools", "guard")
    return graph.compile(checkpointer=InMemorySaver())


def asks(stand: Stand) -> dict[str, Any]:
    return {"messages": [("user", stand.script.prompt)]}


def only_once(graph: Any, config: Any, stand: Stand, seen: Seen) -> Iterator[Any]:
    """Ask, and no more."""
    yield asks(stand)


def _said(state: Any) -> Iterator[Any]:
    """What the run came to, without the caller's own message."""
    return (message for message in state["messages"] if message.type != "human")


def _piece(mode: str, piece: Any, seen: Seen, stand: Stand) -> None:
    is_own_echo = stand.stage == "prompt" and mode == "values"
    seen.note("state" if is_own_echo else "stream", piece)
    if mode == "messages":
        seen.join("stream", *(call["args"] or "" for call in getattr(piece[0], "tool_call_chunks", ())))


def _state_of(graph: Any, config: Any, seen: Seen) -> None:
    seen.give(*_said(graph.get_state(config).values))


@dataclass
class _looked_into(AbstractContextManager[None]):  # noqa: N801
    """Looks at every checkpoint, also at those of a run that failed or that somebody left."""

    graph: Any
    config: Any
    seen: Seen

    def __exit__(self, *_: object) -> None:
        self.seen.note("state", *self.graph.get_state_history(self.config))


def graph_ways(build: Build, ends: Ends = only_once) -> dict[str, Way]:
    """The four ways to run an agent, and to run it on behind each of its interrupts; each looks at all checkpoints."""
    sync, asynchronous = _sync_ways(build, ends), _async_ways(build, ends)
    return dict(zip(WAYS, (*sync, *asynchronous), strict=True))


def _sync_ways(build: Build, ends: Ends) -> tuple[Way, Way]:
    def invoke(stand: Stand, seen: Seen) -> None:
        graph, config = stand.built(build), config_of(stand, seen)
        with _looked_into(graph, config, seen):
            for given in ends(graph, config, stand, seen):
                seen.give(*_said(graph.invoke(given, config)))
            _state_of(graph, config, seen)

    def stream(stand: Stand, seen: Seen) -> None:
        graph, config = stand.built(build), config_of(stand, seen)
        with _looked_into(graph, config, seen):
            for given in ends(graph, config, stand, seen):
                for mode, piece in seen.reading(graph.stream(given, config, stream_mode=MODES)):
                    _piece(mode, piece, seen, stand)
            _state_of(graph, config, seen)

    return invoke, stream


def _async_ways(build: Build, ends: Ends) -> tuple[Way, Way]:
    async def ainvoke(stand: Stand, seen: Seen) -> None:
        graph, config = stand.built(build), config_of(stand, seen)
        with _looked_into(graph, config, seen):
            for given in ends(graph, config, stand, seen):
                seen.give(*_said(await graph.ainvoke(given, config)))
            _state_of(graph, config, seen)

    async def astream(stand: Stand, seen: Seen) -> None:
        graph, config = stand.built(build), config_of(stand, seen)
        with _looked_into(graph, config, seen):
            for given in ends(graph, config, stand, seen):
                async for mode, piece in seen.reading(graph.astream(given, config, stream_mode=MODES)):
                    _piece(mode, piece, seen, stand)
            _state_of(graph, config, seen)

    return ainvoke, astream


SEEN_BEFORE_THE_NODE = frozenset({"callbacks", "state", "stream", "given"})
"""What has seen a result by the time the node before the model judges it: its class says so."""

POINTS = [
    *(
        Point("LlamaGuardMiddleware", stage, LlamaGuard, graph_ways(agent_of), is_graph=True)
        for stage in ("prompt", "reply", "tool call", "tool result", *OF_A_MODEL)
    ),
    Point("GuardNode", "prompt", LlamaGuard, graph_ways(_graph), is_graph=True),
    Point("GuardNode", "tool result", LlamaGuard, graph_ways(_graph), unheard=SEEN_BEFORE_THE_NODE, is_graph=True),
]
