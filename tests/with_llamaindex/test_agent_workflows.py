"""Several agents under one guard: hand-offs work, and each of them is guarded."""

from __future__ import annotations

from typing import Any

import pytest
from fake_provider import FakeProvider, ToolCall
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.workflow import Context
from pydantic import BaseModel
from with_llamaindex.agents import (
    MARKER,
    REFUSAL,
    WITHHELD_PROMPT,
    Found,
    Tools,
    acts,
    asked_of_the_model,
    asks,
    call,
    run,
    scripted,
)
from with_llamaindex.engines import memory
from with_llamaindex.scouts import guard_of, scout

from llamaindex_llama_guard import guard_agent, guarded

pytestmark = [
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step"),
    pytest.mark.filterwarnings("ignore:Skipping serialization of known unserializable key"),
]

streamed_or_not = pytest.mark.parametrize("streaming", [True, False], ids=["streamed", "whole"])
needs_early_stopping = pytest.mark.skipif(
    "early_stopping_method" not in FunctionAgent.model_fields, reason="this version stops with an error alone"
)
Way = Any


def handoff(reason: str, to_agent: str = "writer") -> ToolCall:
    return ToolCall("handoff", f'{{"to_agent": "{to_agent}", "reason": "{reason}"}}', "h1")


def team(provider: FakeProvider, tools: Tools, streaming: bool = True, **settings: Any) -> AgentWorkflow:
    llm = scout(provider)
    finder = FunctionAgent(
        name="finder",
        description="Finds.",
        tools=[tools.tool()],
        llm=llm,
        streaming=streaming,
        can_handoff_to=["writer"],
    )
    writer = FunctionAgent(name="writer", description="Writes.", tools=[tools.tool()], llm=llm, streaming=streaming)
    return AgentWorkflow([finder, writer], root_agent="finder", **settings)


def whole(workflow: AgentWorkflow, provider: FakeProvider, **policy: Any) -> AgentWorkflow:
    """The workflow, guarded as one."""
    return guarded(workflow, guard_of(provider, **policy))


def by_agent(workflow: AgentWorkflow, provider: FakeProvider, **policy: Any) -> AgentWorkflow:
    """A workflow of agents that were guarded before."""
    guard = guard_of(provider, **policy)
    agents = [guard_agent(agent, guard) for agent in workflow.agents.values()]
    return AgentWorkflow(agents, root_agent=workflow.root_agent, initial_state=workflow.initial_state)


every_way = pytest.mark.parametrize("way", [whole, by_agent])


def test_a_guarded_workflow_is_one_of_its_class(provider: FakeProvider) -> None:
    workflow = team(provider, Tools())
    safe = whole(workflow, provider)
    assert isinstance(safe, AgentWorkflow)
    assert ["finder", "writer"] == list(safe.agents)
    assert all(isinstance(agent, FunctionAgent) for agent in safe.agents.values())
    assert all(agent.llm is not workflow.agents[name].llm for name, agent in safe.agents.items())
    assert FunctionAgent is type(workflow.agents["finder"])


@every_way
@streamed_or_not
async def test_one_agent_hands_over_to_another(provider: FakeProvider, way: Way, streaming: bool) -> None:
    scripted(provider, asks(call("clocks", "c1")), asks(handoff("it can write")), asks(call("dials", "c2")), "A poem.")
    tools = Tools()
    ran = await run(way(team(provider, tools, streaming), provider), "Write about clocks")
    assert (["clocks", "dials"], "A poem.") == (tools.ran, ran.answer)
    assert "writer" == ran.result.current_agent_name


@every_way
@streamed_or_not
async def test_each_of_them_is_guarded(provider: FakeProvider, way: Way, streaming: bool) -> None:
    script = (asks(handoff("it can write")), asks(call(MARKER)), asks(call("dials", "c2")), f"Take a {MARKER}")
    scripted(provider, *script)
    tools = Tools(gives=f"a {MARKER}")
    ran = await run(way(team(provider, tools, streaming), provider), "Write about clocks")
    assert (["dials"], REFUSAL) == (tools.ran, ran.answer)
    assert MARKER not in ran.everything
    assert MARKER not in repr([request.messages for request in provider.requests_of("chat")])


@every_way
@streamed_or_not
async def test_an_unsafe_hand_over_ends_the_run(provider: FakeProvider, way: Way, streaming: bool) -> None:
    scripted(provider, asks(handoff(f"it can build a {MARKER}")))
    ran = await run(way(team(provider, Tools(), streaming), provider), "Write about clocks")
    assert REFUSAL == ran.answer
    assert MARKER not in ran.everything


@every_way
@pytest.mark.parametrize("prompt_check", ["before", "parallel"])
async def test_an_unsafe_prompt_is_refused_and_the_conversation_goes_on(
    provider: FakeProvider, way: Way, prompt_check: str
) -> None:
    scripted(provider, always=lambda _: "Gladly.")
    workflow, kept = way(team(provider, Tools()), provider, prompt_check=prompt_check), memory()
    context = Context(workflow)
    refused = await run(workflow, f"Build a {MARKER}", memory=kept, ctx=context)
    assert (REFUSAL, [("user", WITHHELD_PROMPT), ("assistant", REFUSAL)]) == (refused.answer, refused.remembered)
    assert MARKER not in refused.everything
    assert "Gladly." == (await run(workflow, "A clock, then", memory=kept, ctx=context)).answer
    assert MARKER not in repr(asked_of_the_model(provider))


@every_way
async def test_a_hand_over_costs_what_is_new_in_it(provider: FakeProvider, way: Way) -> None:
    scripted(provider, asks(call("clocks", "c1")), asks(handoff("it can write")), asks(call("dials", "c2")), "A poem.")
    tools = Tools(gives=lambda query: f"{query} are old")
    ran = await run(way(team(provider, tools), provider, streaming="whole"), "Write about clocks")
    assert len(ran.memory.get_all()) == len(provider.guard_questions)


@needs_early_stopping
async def test_the_answer_of_a_team_that_went_on_too_long_is_judged(provider: FakeProvider) -> None:
    scripted(provider, asks(call("clocks")), f"Take a {MARKER}")
    workflow = whole(team(provider, Tools(), early_stopping_method="generate"), provider)
    ran = await run(workflow, "Clocks", max_iterations=1)
    assert REFUSAL == ran.answer
    assert MARKER not in ran.everything


class Poem(BaseModel):
    title: str


@pytest.mark.filterwarnings("ignore:There was a problem with the generation of the structured output")
@pytest.mark.parametrize(("title", "expected"), [("Clocks", {"title": "Clocks"}), (MARKER, None)])
@pytest.mark.parametrize("by", ["output_cls", "structured_output_fn"])
async def test_a_structured_answer_of_a_team_is_judged(
    provider: FakeProvider, by: str, title: str, expected: Any
) -> None:
    def answer(received: Any) -> Any:
        is_structured = received.body.get("tool_choice") == "required"
        return asks(ToolCall("Poem", f'{{"title": "{title}"}}')) if is_structured else "A poem."

    scripted(provider, always=answer)
    making = {"output_cls": Poem} if by == "output_cls" else {"structured_output_fn": lambda _: {"title": title}}
    ran = await run(whole(team(provider, Tools(), **making), provider), "Write")
    assert ("A poem.", expected) == (ran.answer, ran.result.structured_response)
    assert MARKER not in ran.everything


async def test_tools_that_a_workflow_adds_by_itself_are_guarded(provider: FakeProvider) -> None:
    tools = Tools()

    class Team(AgentWorkflow):
        async def get_tools(self, agent_name: str, input_str: str | None = None) -> Any:
            return [tools.tool()]

    scripted(provider, asks(call(MARKER)), asks(call("clocks", "c2")), "Done.")
    tools.gives = f"a {MARKER}"
    ran = await run(guarded(Team([FunctionAgent(llm=scout(provider))]), guard_of(provider)))
    assert (["clocks"], "Done.") == (tools.ran, ran.answer)
    assert MARKER not in ran.everything


@every_way
async def test_tools_that_an_agent_of_a_team_finds_are_guarded(provider: FakeProvider, way: Way) -> None:
    tools = Tools(gives=f"a {MARKER}")
    scripted(provider, asks(call(MARKER)), asks(call("clocks", "c2")), "Done.")
    agent = FunctionAgent(tool_retriever=Found(tools.tool()), llm=scout(provider))
    ran = await run(way(AgentWorkflow([agent]), provider))
    assert (["clocks"], "Done.") == (tools.ran, ran.answer)
    assert MARKER not in ran.everything


async def test_agents_of_different_kinds_work_together(provider: FakeProvider) -> None:
    tools = Tools()
    llm = scout(provider)
    finder = ReActAgent(name="finder", description="Finds.", tools=[tools.tool()], llm=llm)
    writer = FunctionAgent(name="writer", description="Writes.", tools=[tools.tool()], llm=llm)
    action = 'Thought: over.\nAction: handoff\nAction Input: {"to_agent": "writer", "reason": "it writes"}'
    scripted(provider, acts("clocks"), action, asks(call(MARKER)), "A poem.")
    ran = await run(whole(AgentWorkflow([finder, writer], root_agent="finder"), provider), "Write about clocks")
    assert (["clocks"], "A poem.") == (tools.ran, ran.answer)
    assert MARKER not in ran.everything


async def test_an_agent_with_a_guard_of_its_own_keeps_it(provider: FakeProvider) -> None:
    tools = Tools()
    own = guard_agent(FunctionAgent(tools=[tools.tool()], llm=scout(provider)), guard_of(provider, mode="monitor"))
    scripted(provider, asks(call(MARKER)), "Done.")
    workflow = guard_agent(AgentWorkflow([own]), guard_of(provider))
    assert own is workflow.agents["Agent"]
