"""In a LangGraph graph and in an agent, what the guard did not let through is in no stream mode and no checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import Runnable, RunnableConfig
from with_langchain.attach_points import PROMPT, Scene, get_weather
from with_langchain.channels import Channels
from with_langchain.foreign_model import calling, saying

from langchain_llama_guard import ChatLlamaScout, guarded

pytest.importorskip("langgraph", reason="LangGraph is not installed")
agents = pytest.importorskip("langchain.agents", reason="langchain, which has create_agent, is not installed")

from langgraph.checkpoint.memory import InMemorySaver  # noqa: E402 - where it is installed
from langgraph.config import get_stream_writer  # noqa: E402
from langgraph.graph import START, MessagesState, StateGraph  # noqa: E402

MARKER = "BOMB"
MODES = ["messages", "updates", "values", "custom", "debug"]
ASKED = {"messages": [("user", "What shall I do?")]}


def _answering(answer: Runnable[Any, Any], *, with_config: bool = True) -> Any:
    """A graph of one node that answers."""

    def node(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
        said = answer.invoke(_taken(answer, state), *([config] if with_config else []))
        return {"messages": [said if not isinstance(said, str) else ("assistant", said)]}

    graph = StateGraph(MessagesState)
    graph.add_node("answer", node)
    graph.add_edge(START, "answer")
    return graph.compile(checkpointer=InMemorySaver())


def _taken(answer: Runnable[Any, Any], state: MessagesState) -> Any:
    return state["messages"] if hasattr(answer, "bind_tools") else {"question": state["messages"][-1].text}


GRAPHS: dict[str, Callable[[Scene], Any]] = {
    "a guarded model in a node": lambda s: _answering(guarded(s.foreign, s.guard)),
    "a guarded model in a node that hands on no config": lambda s: _answering(
        guarded(s.foreign, s.guard), with_config=False
    ),
    "ChatLlamaScout in a node": lambda s: _answering(ChatLlamaScout(guard=s.guard, **s.host)),
    "a guarded chain in a node": lambda s: _answering(guarded(PROMPT | s.foreign | StrOutputParser(), s.guard)),
    "an agent on a guarded model": lambda s: agents.create_agent(
        guarded(s.foreign, s.guard), [get_weather], checkpointer=InMemorySaver()
    ),
    "an agent on ChatLlamaScout": lambda s: agents.create_agent(
        ChatLlamaScout(guard=s.guard, **s.host), [get_weather], checkpointer=InMemorySaver()
    ),
}


def _config(channels: Channels) -> dict[str, Any]:
    return {"configurable": {"thread_id": "1"}, "callbacks": channels.handlers()}


@pytest.mark.parametrize("make", GRAPHS.values(), ids=GRAPHS)
def test_an_unsafe_reply_is_in_no_stream_mode_and_no_checkpoint(make: Callable[[Scene], Any]) -> None:
    channels, scene = Channels(), Scene()
    graph = make(scene)
    for piece in graph.stream(ASKED, _config(channels), stream_mode=MODES):
        channels.note("stream", piece)
    for snapshot in graph.get_state_history({"configurable": {"thread_id": "1"}}):
        channels.note("history", snapshot)
    assert 1 == scene.model_calls
    assert set() == channels.that_saw(MARKER)
    assert {"stream", "history", "handler", "tracer"} <= channels.that_saw("help with that.")


@pytest.mark.parametrize("make", GRAPHS.values(), ids=GRAPHS)
async def test_an_unsafe_reply_is_in_no_async_stream_and_no_event(make: Callable[[Scene], Any]) -> None:
    channels, scene = Channels(), Scene()
    graph = make(scene)
    async for piece in graph.astream(ASKED, _config(channels), stream_mode=MODES):
        channels.note("stream", piece)
    async for event in graph.astream_events(ASKED, _config(channels), version="v2"):
        channels.note("events", event)
    async for snapshot in graph.aget_state_history({"configurable": {"thread_id": "1"}}):
        channels.note("history", snapshot)
    assert 2 == scene.model_calls
    assert set() == channels.that_saw(MARKER)


def test_the_streams_and_checkpoints_do_see_what_no_guard_withholds() -> None:
    channels = Channels()
    graph = _answering(Scene().foreign)
    for piece in graph.stream(ASKED, _config(channels), stream_mode=MODES):
        channels.note("stream", piece)
    for snapshot in graph.get_state_history({"configurable": {"thread_id": "1"}}):
        channels.note("history", snapshot)
    assert {"stream", "history"} <= channels.that_saw(MARKER)


def test_an_agent_does_not_run_a_tool_whose_call_was_judged_unsafe() -> None:
    """The refusal stands in the place of the call, in a history that the next turn can be built on."""
    ran: list[str] = []

    def build(what: str) -> str:
        """Build something."""
        ran.append(what)
        return "built"

    scene = Scene()
    scene.foreign.reply = calling("build", '{"what": ', '"a BOMB"}')
    agent = agents.create_agent(guarded(scene.foreign, scene.guard), [build])
    messages = agent.invoke(ASKED)["messages"]
    assert [] == ran
    assert ["human", "ai"] == [message.type for message in messages]
    assert ("I can't help with that.", []) == (messages[-1].text, messages[-1].tool_calls)


def test_an_agent_on_a_guarded_model_runs_its_tools_and_answers() -> None:
    scene = Scene()
    script = iter([calling("get_weather", '{"city": "Bern"}'), saying("Rain.")])
    scene.foreign.reply = lambda _: next(script)
    agent = agents.create_agent(guarded(scene.foreign, scene.guard), [get_weather])
    messages = agent.invoke(ASKED)["messages"]
    assert ["human", "ai", "tool", "ai"] == [message.type for message in messages]
    assert ["What shall I do?", "", "Rain in Bern.", "Rain."] == [message.text for message in messages]


def _nested(scene: Scene) -> Any:
    """A graph around a guarded graph, whose node also writes to the stream by itself."""

    def node(state: MessagesState) -> dict[str, Any]:
        said = scene.foreign.invoke(state["messages"])
        get_stream_writer()(f"wrote {said.text}")
        return {"messages": [said]}

    inner = StateGraph(MessagesState)
    inner.add_node("inside", node)
    inner.add_edge(START, "inside")
    outer = StateGraph(MessagesState)
    refused = {"messages": [("assistant", "Refused.")]}
    guarded_graph = guarded(inner.compile(), scene.guard, output_key="messages", refuse_with=lambda _: refused)
    outer.add_node("guarded", guarded_graph)
    outer.add_edge(START, "guarded")
    return outer.compile()


NESTED_MODES = [*MODES, "tasks", "checkpoints"]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
async def test_what_a_guarded_graph_writes_to_the_streams_around_it_is_withheld(asynchronous: bool) -> None:
    graph, settings = _nested(Scene()), {"stream_mode": NESTED_MODES, "subgraphs": True}
    if asynchronous:
        pieces = [piece async for piece in graph.astream(ASKED, **settings)]
    else:
        pieces = list(graph.stream(ASKED, **settings))
    assert MARKER not in repr(pieces)
    assert "Refused." in repr(pieces)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
async def test_what_a_guarded_graph_wrote_is_there_once_its_output_may_be_seen(asynchronous: bool) -> None:
    graph, settings = _nested(Scene(says=("All ", "is well."))), {"stream_mode": NESTED_MODES, "subgraphs": True}
    if asynchronous:
        pieces = [piece async for piece in graph.astream(ASKED, **settings)]
    else:
        pieces = list(graph.stream(ASKED, **settings))
    assert "wrote All is well." in [piece for _, mode, piece in pieces if mode == "custom"]
    assert [True] == [bool(namespace) for namespace, mode, piece in pieces if mode == "updates" and "inside" in piece]
