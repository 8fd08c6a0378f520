"""Agents on Scout: alone, guarded from inside, and guarded by the wrapper."""

from __future__ import annotations

import pytest
from fake_provider import FakeProvider, Reply, ToolCall
from llama_index.core.agent.workflow import AgentStream, AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.memory import ChatMemoryBuffer  # the default leaves a database open
from llama_index.core.tools import FunctionTool
from with_llamaindex.scouts import (
    KINDS,
    REFUSAL,
    SECRET_TEXT,
    CompletionOnly,
    guard_of,
    scout,
    watching,
)

from llamaindex_llama_guard.guarded_llms import GuardedLLM

# LlamaIndex's agents look at deprecated attributes of their own: of their models, and of their context.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step"),
]

every_kind = pytest.mark.parametrize("kind", KINDS)
every_guarded = pytest.mark.parametrize("kind", ["guarded", "wrapped"])


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


TOOLS = [FunctionTool.from_defaults(add)]
ADD_2_3 = ToolCall("add", '{"a": 2, "b": 3}', "c1")
ADD_4_5 = ToolCall("add", '{"a": 4, "b": 5}', "c2")


@every_kind
@pytest.mark.parametrize("streaming", [True, False])
async def test_a_function_agent_calls_two_tools_at_once_and_answers(kind: str, streaming: bool) -> None:
    """Both results go back to the model under their ids; what is streamed adds up to the answer."""
    provider = FakeProvider(chat=[Reply("", (ADD_2_3, ADD_4_5)), "Five and nine."])
    agent = FunctionAgent(tools=TOOLS, llm=scout(provider, kind), streaming=streaming)
    handler = agent.run(user_msg="2+3 and 4+5?", memory=ChatMemoryBuffer.from_defaults())
    streamed = [event.delta async for event in handler.stream_events() if isinstance(event, AgentStream)]
    assert "Five and nine." == str(await handler)
    assert ("Five and nine." if streaming else "") == "".join(streamed)
    results = [message for message in provider.requests_of("chat")[1].messages if message["role"] == "tool"]
    expected = [("c1", "5"), ("c2", "9")] if streaming else [("c1", "5")]  # older versions ask for one, unless streamed
    assert expected == [(message["tool_call_id"], message["content"]) for message in results][: len(expected)]


@every_guarded
@pytest.mark.parametrize("streaming", [True, False])
async def test_an_agents_unsafe_answer_is_nowhere(kind: str, streaming: bool) -> None:
    """Not in the result, not on its stream, not in its memory, not in traces."""
    provider = FakeProvider(chat=[Reply("", (ADD_2_3,)), Reply(SECRET_TEXT, reasoning="secret thought")])
    with watching() as watcher:
        llm = scout(provider, kind, callback_manager=watcher.callback_manager)
        buffer = ChatMemoryBuffer.from_defaults()
        handler = FunctionAgent(tools=TOOLS, llm=llm, streaming=streaming).run(user_msg="2+3?", memory=buffer)
        streamed = [repr(event) async for event in handler.stream_events()]
        result = await handler
        memory = buffer.get_all()
    assert REFUSAL == str(result)
    assert [REFUSAL] == [message.content for message in memory[-1:]]
    for seen in (repr(result), *streamed, repr(memory), watcher.everything):
        assert "You take" not in seen
        assert "secret thought" not in seen


@every_guarded
async def test_an_answer_made_when_an_agent_has_gone_on_too_long_is_judged(kind: str) -> None:
    """No hook of an agent sees that answer; the LLM under it does."""
    if "early_stopping_method" not in FunctionAgent.model_fields:
        pytest.skip("this version stops with an error alone")
    provider = FakeProvider(chat=[Reply("", (ADD_2_3,)), Reply("", (ADD_4_5,)), SECRET_TEXT])
    agent = FunctionAgent(tools=TOOLS, llm=scout(provider, kind), early_stopping_method="generate")
    handler = agent.run(user_msg="Add", memory=ChatMemoryBuffer.from_defaults(), max_iterations=2)
    streamed = [repr(event) async for event in handler.stream_events()]
    assert REFUSAL == str(await handler)
    assert 3 == len(provider.requests_of("chat"))
    assert all("You take" not in event for event in streamed)


@every_guarded
async def test_an_unsafe_call_is_not_made(kind: str) -> None:
    """A refusal has no calls: the tool does not run."""
    ran: list[str] = []

    def search(query: str) -> str:
        """Search."""
        ran.append(query)
        return "found"

    provider = FakeProvider(chat=[Reply("", (ToolCall("search", '{"query": "BOMB"}'),))])
    agent = FunctionAgent(tools=[FunctionTool.from_defaults(search)], llm=scout(provider, kind))
    assert REFUSAL == str(await agent.run(user_msg="Look it up", memory=ChatMemoryBuffer.from_defaults()))
    assert [] == ran


@every_guarded
async def test_an_unsafe_result_of_a_tool_is_not_read_by_the_model(kind: str) -> None:
    """What a tool found is judged before the model's next turn."""

    def search(query: str) -> str:
        """Search."""
        return "How to build a BOMB"

    provider = FakeProvider(chat=[Reply("", (ToolCall("search", '{"query": "news"}'),))])
    agent = FunctionAgent(tools=[FunctionTool.from_defaults(search)], llm=scout(provider, kind))
    assert REFUSAL == str(await agent.run(user_msg="Look it up", memory=ChatMemoryBuffer.from_defaults()))
    assert 1 == len(provider.requests_of("chat"))


@every_kind
@pytest.mark.parametrize("streaming", [True, False])
async def test_a_react_agent_reasons_in_words(kind: str, streaming: bool) -> None:
    """It needs no tools of the API, only text that is not empty."""
    thought = 'Thought: I need a tool.\nAction: add\nAction Input: {"a": 2, "b": 3}'
    provider = FakeProvider(chat=[thought, "Thought: I can answer without using any more tools.\nAnswer: Five."])
    agent = ReActAgent(tools=TOOLS, llm=scout(provider, kind), streaming=streaming)
    assert "Five." == str(await agent.run(user_msg="2+3?", memory=ChatMemoryBuffer.from_defaults()))


@every_guarded
async def test_a_react_agents_refusal_ends_its_run(kind: str) -> None:
    """A refusal is an answer to it."""
    provider = FakeProvider(chat=[f"Thought: easy.\nAnswer: {SECRET_TEXT}"])
    assert REFUSAL in str(
        await ReActAgent(tools=TOOLS, llm=scout(provider, kind)).run(
            user_msg="Hello", memory=ChatMemoryBuffer.from_defaults()
        )
    )


@every_kind
async def test_a_workflow_picks_the_agent_by_the_metadata(kind: str) -> None:
    """Function calling for Scout, words for an LLM that has no functions."""
    provider = FakeProvider(chat=[Reply("", (ADD_2_3,)), "Five."])
    workflow = AgentWorkflow.from_tools_or_functions([add], llm=scout(provider, kind))
    assert [FunctionAgent] == [type(agent) for agent in workflow.agents.values()]
    assert "Five." == str(await workflow.run(user_msg="2+3?", memory=ChatMemoryBuffer.from_defaults()))
    wordy = GuardedLLM(CompletionOnly(), guard_of(provider))
    workflow = AgentWorkflow.from_tools_or_functions([add], llm=wordy)
    assert [ReActAgent] == [type(agent) for agent in workflow.agents.values()]
