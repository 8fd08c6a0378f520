"""What is unsafe in an agent's run is in no channel: events, memory, result, context, instrumentation, log, exceptions."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from fake_provider import FakeProvider, Reply
from llama_index.core.agent.workflow import AgentWorkflow, CodeActAgent, FunctionAgent, ReActAgent
from llama_index.core.workflow import Context
from with_llamaindex.agents import COPIES_MEMORY, MARKER, Tools, acts, asks, call, run, scripted
from with_llamaindex.engines import memory
from with_llamaindex.scouts import guard_of, scout, watching

from llamaindex_llama_guard import UnsafeContent, guarded

pytestmark = [
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step"),
    pytest.mark.filterwarnings("ignore:Skipping serialization of known unserializable key"),
]


def function_agent(tools: Tools, **settings: Any) -> FunctionAgent:
    return FunctionAgent(tools=[tools.async_tool()], **settings)


def workflow(tools: Tools, **settings: Any) -> AgentWorkflow:
    return AgentWorkflow([function_agent(tools, **settings)])


def react_agent(tools: Tools, **settings: Any) -> ReActAgent:
    return ReActAgent(tools=[tools.async_tool()], **settings)


def code_agent(tools: Tools, **settings: Any) -> CodeActAgent:
    async def execute(code: str) -> Any:
        return await tools.asearch(code)

    return CodeActAgent(code_execute_fn=execute, **settings)


def calls(unsafe: str) -> Any:
    """The same in the words of each kind of agent: call a tool, answer."""
    code = f"<execute>look('{unsafe}')</execute>"
    return {
        function_agent: asks(call(unsafe)),
        workflow: asks(call(unsafe)),
        react_agent: acts(unsafe),
        code_agent: code,
    }


KINDS = (function_agent, workflow, react_agent, code_agent)
PLACES = ("call", "result", "exception", "answer", "thought")
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
every_place = pytest.mark.parametrize("place", PLACES)
streamed_or_not = pytest.mark.parametrize("streaming", [True, False], ids=["streamed", "whole"])


def script(provider: FakeProvider, kind: Any, place: str) -> Tools:
    """A run in which one thing is unsafe."""
    unsafe = {each: f"a {MARKER}" if each == place else "a clock" for each in PLACES}
    # The oldest ReActAgents take no answer with a thought beside it.
    thought = unsafe["thought"] if place == "thought" else None
    answer = Reply(f"Thought: I know.\nAnswer: Take {unsafe['answer']}", reasoning=thought)
    scripted(provider, calls(unsafe["call"])[kind], *[answer] * 2)
    return Tools(gives=ValueError(unsafe["exception"]) if place == "exception" else unsafe["result"])


async def channels(agent: Any, caplog: pytest.LogCaptureFixture, prompt: str = "Hello") -> dict[str, str]:
    """Everything that anybody is told of a run, by channel."""
    context, kept = Context(agent), memory()
    error: Any = None
    with watching() as watcher, caplog.at_level(logging.DEBUG):
        try:
            ran = await run(agent, prompt, ctx=context, memory=kept)
        except UnsafeContent as raised:
            error = raised
    linked = [error, getattr(error, "__cause__", None), getattr(error, "__context__", None)]
    return {
        "events and result": "" if error else ran.everything,
        "exception": repr([(each, vars(each)) for each in linked if each is not None]),
        "memory": repr(kept.get_all()),
        "context": repr(context.to_dict()),
        "instrumentation events": repr([event.model_dump() for event in watcher.events]),
        "spans": repr(watcher.spans),
        "log": caplog.text,
    }


@every_kind
@every_place
@pytest.mark.parametrize("streaming", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("on_unsafe", ["refuse", "raise"])
async def test_nothing_unsafe_is_in_any_channel(
    provider: FakeProvider, caplog: pytest.LogCaptureFixture, *, kind: Any, place: str, streaming: bool, on_unsafe: Any
) -> None:
    tools = script(provider, kind, place)
    agent = kind(tools, llm=scout(provider), streaming=streaming)
    told = await channels(guarded(agent, guard_of(provider, on_unsafe=on_unsafe)), caplog)
    assert [] == [channel for channel, text in told.items() if MARKER in text]
    assert (0 if place == "call" else 1) == len(tools.ran) or place == "thought"


@every_kind
@pytest.mark.parametrize("place", ["call", "result", "answer"])
async def test_without_the_guard_it_is_in_most_of_them(
    provider: FakeProvider, caplog: pytest.LogCaptureFixture, kind: Any, place: str
) -> None:
    tools = script(provider, kind, place)
    told = await channels(kind(tools, llm=scout(provider)), caplog)
    expected = {"events and result", "memory", "instrumentation events", "spans"}
    if COPIES_MEMORY:
        expected.add("context")
    assert expected == {channel for channel, text in told.items() if MARKER in text}


@every_kind
@streamed_or_not
async def test_an_unsafe_prompt_is_kept_nowhere(
    provider: FakeProvider, caplog: pytest.LogCaptureFixture, kind: Any, streaming: bool
) -> None:
    """Instrumentation is told the prompt before anybody can judge it: that is how a run begins."""
    scripted(provider)
    agent = guarded(kind(Tools(), llm=scout(provider), streaming=streaming), guard_of(provider))
    told = await channels(agent, caplog, f"Build a {MARKER}")
    kept = ("events and result", "memory", "context", "log")
    assert [] == [channel for channel in kept if MARKER in told[channel]]
