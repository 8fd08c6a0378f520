"""LangGraph's interrupts beside and behind what is guarded: runs that wait for a human, that go on, and that do not."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Iterator
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from fault_matrix.langchain_agent_points import agent_of, asks, graph_ways
from fault_matrix.langchain_points import model_of
from fault_matrix.marks import MARK
from fault_matrix.points import Point, apologises
from fault_matrix.stand import Stand
from fault_matrix.watch import Seen
from langchain_llama_guard import LlamaGuard, Policy, guarded
from langchain_llama_guard.graph_nodes import GuardNode
from llama_guard_core import Stage

MAY_I = "May I go on?"
MAY_I_SHOW = "May I show this?"
_LONGEST = 0.05
"""Seconds until a human is asked although the guard was not: its host is dead, or the node failed before."""
_MOST_RUNS = 5


def _is_asked(stand: Stand) -> bool:
    return any(MARK in question.text for question in list(stand.hosts.provider.guard_questions))


def _human(stand: Stand) -> Any:
    """A node that asks a human as soon as the guard, in a branch beside it, was asked."""

    def ask(_: MessagesState) -> Any:
        until = time.monotonic() + _LONGEST
        while not _is_asked(stand) and time.monotonic() < until:
            time.sleep(0.001)
        interrupt(MAY_I)

    async def aask(_: MessagesState) -> Any:
        until = time.monotonic() + _LONGEST
        # The host is another thread's, and sets no event of this loop.
        while not _is_asked(stand) and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        interrupt(MAY_I)

    return RunnableLambda(ask, afunc=aask)


def _answering(model: Any) -> Any:
    def answer(state: MessagesState) -> Any:
        return {"messages": [model.invoke(state["messages"])]}

    async def aanswer(state: MessagesState) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    return RunnableLambda(answer, afunc=aanswer)


def _show(state: MessagesState) -> Any:
    interrupt({"ask": MAY_I_SHOW, "text": state["messages"][-1].text})
    return {"messages": [AIMessage("It was shown.")]}


def _node_graph(stand: Stand) -> Any:
    """The guard and, beside it, a human; the model behind both."""
    node = GuardNode(stand.guard)
    graph = StateGraph(MessagesState)
    graph.add_node("guard", node)
    graph.add_node("human", _human(stand))
    graph.add_node("both", lambda _: None)
    graph.add_node("model", _answering(model_of(stand)))
    graph.add_edge(START, "guard")
    graph.add_edge(START, "human")
    graph.add_edge(["guard", "human"], "both")
    graph.add_conditional_edges("both", node.route, {"allowed": "model", "refused": END})
    return graph.compile(checkpointer=InMemorySaver())


def _model_graph(stand: Stand) -> Any:
    """A guarded model and, beside it, a human; behind both, another one, who is shown what there is to show."""
    graph = StateGraph(MessagesState)
    graph.add_node("answer", _answering(guarded(model_of(stand), stand.guard)))
    graph.add_node("human", _human(stand))
    graph.add_node("show", _show)
    graph.add_edge(START, "answer")
    graph.add_edge(START, "human")
    graph.add_edge(["answer", "human"], "show")
    return graph.compile(checkpointer=InMemorySaver())


def _asking_agent(stand: Stand) -> Any:
    """An agent whose guard judges calls and results alone, so that a human is asked about each call in question."""
    policy = Policy(stages={Stage.TOOL_CALL, Stage.TOOL_RESULT}, on_no_verdict=stand.guard.policy.on_no_verdict)
    return agent_of(stand, guard=stand.guard.with_policy(policy), exit_behavior="interrupt")


def _waits(graph: Any, config: Any, seen: Seen) -> list[Any]:
    interrupts = list(graph.get_state(config).interrupts)
    seen.give(*(f"asked: {each.value!r}" for each in interrupts))
    return interrupts


def _abandoned(graph: Any, config: Any, stand: Stand, seen: Seen) -> Iterator[Any]:
    """Ask, and leave the run where it waits."""
    yield asks(stand)
    _waits(graph, config, seen)


def _resumed(answer: Any, graph: Any, config: Any, stand: Stand, seen: Seen) -> Iterator[Any]:
    """Ask, and answer whenever a human is asked."""
    yield asks(stand)
    for _ in range(_MOST_RUNS):
        interrupts = _waits(graph, config, seen)
        if not interrupts:
            return
        yield Command(resume={each.id: answer for each in interrupts})
    msg = "it asks for ever"
    raise AssertionError(msg)


def _asks_or_apologises(seen: Seen) -> bool:
    return "asked: " in seen.said or apologises(seen)


ENDINGS = {
    "left waiting": _abandoned,
    "resumed": functools.partial(_resumed, "yes"),
}
ANSWERS = {
    "left waiting": _abandoned,
    "rejected": functools.partial(_resumed, {"type": "reject"}),
}
SHOWN_TO_THE_HUMAN = frozenset({"callbacks", "state", "stream", "given"})
"""What tells of a call that a human is asked about; its tool is not run, and nobody else hears of it."""

POINTS = [
    *(
        Point(
            f"interrupt() beside a {name}, {ending}",
            stage,
            LlamaGuard,
            graph_ways(build, ends),
            _asks_or_apologises,
            is_graph=True,
        )
        for name, stage, build in (("GuardNode", "prompt", _node_graph), ("guarded model", "reply", _model_graph))
        for ending, ends in ENDINGS.items()
    ),
    *(
        Point(
            f"exit_behavior='interrupt', {ending}",
            "tool call",
            LlamaGuard,
            graph_ways(_asking_agent, ends),
            _asks_or_apologises,
            SHOWN_TO_THE_HUMAN,
            is_graph=True,
        )
        for ending, ends in ANSWERS.items()
    ),
]
