"""LangChain's attach points in agents and graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from langchain.agents import create_agent
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from fault_matrix.langchain_points import config_of, model_of, tool_of
from fault_matrix.points import WAYS, Point, Way
from fault_matrix.stand import Stand
from fault_matrix.watch import Seen
from langchain_llama_guard import LlamaGuard, LlamaGuardMiddleware
from langchain_llama_guard.graph_nodes import GuardNode

MODES = ["messages", "updates", "values", "custom"]
Build = Callable[[Stand], Any]


def _agent(stand: Stand) -> Any:
    middleware = [LlamaGuardMiddleware(stand.guard)]
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


def _asks(stand: Stand) -> dict[str, Any]:
    return {"messages": [("user", stand.script.prompt)]}


def _said(state: Any) -> Iterator[Any]:
    """What the run came to, without the caller's own message."""
    return (message for message in state["messages"] if message.type != "human")


def _pieces(mode: str, piece: Any, seen: Seen, stand: Stand) -> None:
    is_own_echo = stand.stage == "prompt" and mode == "values"
    seen.note("state" if is_own_echo else "stream", piece)


def graph_ways(build: Build) -> dict[str, Way]:
    """The four ways to run an agent; each looks at the state and its history afterwards."""

    def states(graph: Any, config: Any, seen: Seen) -> None:
        seen.give(*_said(graph.get_state(config).values))
        seen.note("state", *graph.get_state_history(config))

    def invoke(stand: Stand, seen: Seen) -> None:
        graph, config = stand.built(build), config_of(stand, seen)
        seen.give(*_said(graph.invoke(_asks(stand), config)))
        states(graph, config, seen)

    def stream(stand: Stand, seen: Seen) -> None:
        graph, config = stand.built(build), config_of(stand, seen)
        for mode, piece in graph.stream(_asks(stand), config, stream_mode=MODES):
            _pieces(mode, piece, seen, stand)
        states(graph, config, seen)

    async def ainvoke(stand: Stand, seen: Seen) -> None:
        graph, config = stand.built(build), config_of(stand, seen)
        seen.give(*_said(await graph.ainvoke(_asks(stand), config)))
        states(graph, config, seen)

    async def astream(stand: Stand, seen: Seen) -> None:
        graph, config = stand.built(build), config_of(stand, seen)
        async for mode, piece in graph.astream(_asks(stand), config, stream_mode=MODES):
            _pieces(mode, piece, seen, stand)
        states(graph, config, seen)

    return dict(zip(WAYS, (invoke, stream, ainvoke, astream), strict=True))


SEEN_BEFORE_THE_NODE = frozenset({"callbacks", "state", "stream", "given"})
"""What has seen a result by the time the node before the model judges it: its class says so."""

POINTS = [
    *(
        Point("LlamaGuardMiddleware", stage, LlamaGuard, graph_ways(_agent))
        for stage in ("prompt", "reply", "tool call", "tool result")
    ),
    Point("GuardNode", "prompt", LlamaGuard, graph_ways(_graph)),
    Point("GuardNode", "tool result", LlamaGuard, graph_ways(_graph), unheard=SEEN_BEFORE_THE_NODE),
]
