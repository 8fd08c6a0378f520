"""LangChain's attach points, streamed, and every channel that may hear of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from with_langchain.attach_points import PROMPT, Scene, get_weather
from with_langchain.channels import Channels

from langchain_llama_guard import ChatLlamaScout, Policy, guarded
from leaks.counting import REFUSAL, WORDS, Seen

RUNNABLE_CHANNELS = ("pieces", "callbacks", "events v2", "events v3")
GRAPH_CHANNELS = (
    "messages", "updates", "values", "custom", "final state", "history", "callbacks",
    "events v2", "v2 without nostream", "v3 messages",
)  # fmt: skip
MODES = ["messages", "updates", "values", "custom"]
QUESTION = "What shall I do?"
ASKED = {"messages": [("user", QUESTION)]}


class CheckedAfterwards(AgentMiddleware):
    """A guard that judges what the model has said already, as most packages do."""

    def __init__(self, scene: Scene) -> None:
        super().__init__()
        self.guard = scene.guard

    def after_model(self, state: Any, runtime: Any) -> dict[str, Any] | None:
        last = state["messages"][-1]
        verdict = self.guard.check([{"role": "user", "content": QUESTION}, {"role": "assistant", "content": last.text}])
        return None if verdict.safe else {"messages": [AIMessage(REFUSAL, id=last.id)]}


def _node(answer: Runnable[Any, Any], *, by_question: bool = False) -> Any:
    def node(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
        said = answer.invoke({"question": QUESTION} if by_question else state["messages"], config)
        return {"messages": [("assistant", said) if isinstance(said, str) else said]}

    graph = StateGraph(MessagesState)
    graph.add_node("answer", node)
    graph.add_edge(START, "answer")
    return graph.compile(checkpointer=InMemorySaver())


def _agent(model: Any, *middleware: AgentMiddleware) -> Any:
    return create_agent(model, [get_weather], middleware=middleware, checkpointer=InMemorySaver())


@dataclass(frozen=True)
class Row:
    """One attach point; a question is put to it in the form it takes."""

    make: Callable[[Scene], Any]
    takes: Any
    is_graph: bool = False
    is_model: bool = False

    @property
    def channels(self) -> tuple[str, ...]:
        if self.is_graph:
            return GRAPH_CHANNELS
        return RUNNABLE_CHANNELS if self.is_model else RUNNABLE_CHANNELS[:3]


GUARDED: dict[str, Row] = {
    "ChatLlamaScout(guard=...)": Row(lambda s: ChatLlamaScout(guard=s.guard, **s.host), QUESTION, is_model=True),
    "guarded(model)": Row(lambda s: guarded(s.foreign, s.guard), QUESTION, is_model=True),
    "prompt | guarded(model) | parser": Row(
        lambda s: PROMPT | guarded(s.foreign, s.guard) | StrOutputParser(), {"question": QUESTION}
    ),
    "guarded(prompt | model | parser)": Row(
        lambda s: guarded(PROMPT | s.foreign | StrOutputParser(), s.guard), {"question": QUESTION}
    ),
    "agent on ChatLlamaScout(guard=...)": Row(
        lambda s: _agent(ChatLlamaScout(guard=s.guard, **s.host)), ASKED, is_graph=True
    ),
    "agent on guarded(model)": Row(lambda s: _agent(guarded(s.foreign, s.guard)), ASKED, is_graph=True),
    "graph node with guarded(model)": Row(lambda s: _node(guarded(s.foreign, s.guard)), ASKED, is_graph=True),
    "graph node with guarded(chain)": Row(
        lambda s: _node(guarded(PROMPT | s.foreign | StrOutputParser(), s.guard), by_question=True),
        ASKED,
        is_graph=True,
    ),
}
BEHIND_THE_MODEL: dict[str, Row] = {
    "chain | guard.output()": Row(
        lambda s: PROMPT | s.foreign | StrOutputParser() | s.guard.output(), {"question": QUESTION}
    ),
    "agent, guard in after_model": Row(lambda s: _agent(s.foreign, CheckedAfterwards(s)), ASKED, is_graph=True),
}
"""Guards that come after the model. They leak, and so the table is known to be able to say so."""


async def streamed(row: Row, policy: Policy, *, asynchronous: bool) -> Seen:
    """Stream the unsafe reply once for each way to look at it."""
    scene = Scene(policy, WORDS)
    seen = Seen(scene.provider, row.channels)
    channels = Channels()
    thing = row.make(scene)
    config = {"callbacks": channels.handlers(), "configurable": {"thread_id": "1"}}
    if row.is_graph and asynchronous:
        await _agraph(thing, row.takes, config, seen)
    elif row.is_graph:
        _graph(thing, row.takes, config, seen)
    elif asynchronous:
        seen.note("pieces", *[piece async for piece in thing.astream(row.takes, config)])
    else:
        seen.note("pieces", *thing.stream(row.takes, config))
    seen.note("callbacks", *channels.seen)
    await _events(thing, row, seen)
    return seen


def _graph(graph: Any, value: Any, config: Any, seen: Seen) -> None:
    for mode, piece in graph.stream(value, config, stream_mode=MODES):
        seen.note(mode, piece)
    seen.note("final state", graph.get_state(config).values)
    seen.note("history", *graph.get_state_history(config))
    for message in graph.stream_events(value, _elsewhere("3"), version="v3").messages:
        seen.note("v3 messages", *message)


async def _agraph(graph: Any, value: Any, config: Any, seen: Seen) -> None:
    async for mode, piece in graph.astream(value, config, stream_mode=MODES):
        seen.note(mode, piece)
    seen.note("final state", (await graph.aget_state(config)).values)
    seen.note("history", *[snapshot async for snapshot in graph.aget_state_history(config)])
    run = await graph.astream_events(value, _elsewhere("3"), version="v3")
    async for message in run.messages:
        seen.note("v3 messages", *[event async for event in message])


async def _events(thing: Any, row: Row, seen: Seen) -> None:
    async for event in thing.astream_events(row.takes, _elsewhere("2"), version="v2"):
        seen.note("events v2", event)
        if row.is_graph and "nostream" not in (event.get("tags") or ()):
            seen.note("v2 without nostream", event)
    if row.is_model:
        run = await thing.astream_events(row.takes, version="v3")
        seen.note("events v3", *[event async for event in run])


def _elsewhere(thread: str) -> dict[str, Any]:
    return {"configurable": {"thread_id": thread}}
