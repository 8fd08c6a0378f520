"""A refused tool call as a human's question: asked once, answered once, carried out once or never."""

from __future__ import annotations

from typing import Any

import pytest
from fake_provider import Fault, Reply
from langchain.agents.middleware import AgentMiddleware, HumanInTheLoopMiddleware, ToolRetryMiddleware
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.graph import MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, interrupt
from with_langchain.guarded_agents import CONFIG, REFUSAL, RUNS, Bench, Run, asks, call, is_accepted, last_text

from langchain_llama_guard import LlamaGuard, LlamaGuardMiddleware, guard_tools

both_colours = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
every_run = pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
DONE = "All done."


def waiting(replies: Any = None, **settings: Any) -> tuple[Bench, Any]:
    bench = Bench(replies or [Reply("", (call("build", "a BOMB"),)), DONE], **settings)
    return bench, bench.agent("build", "read", exit_behavior="interrupt")


def question(agent: Any) -> dict[str, Any]:
    (asked,) = agent.get_state(CONFIG).interrupts
    return dict(asked.value)


@every_run
async def test_the_run_stops_and_the_human_is_shown_the_call_and_the_verdict(run: Run) -> None:
    bench, agent = waiting()
    await run(agent, asks("Go"))
    asked = question(agent)
    assert ("tool_approval", "c1", "build", {"text": "a BOMB"}) == (
        asked["type"],
        asked["tool_call_id"],
        asked["name"],
        asked["args"],
    )
    assert "Llama Guard judged this tool call unsafe (S9 Indiscriminate Weapons)." == asked["description"]
    assert "S9" == asked["llama_guard"]["verdict"]["categories"][0]["code"]
    assert {} == bench.ran


@every_run
async def test_an_approved_call_runs_exactly_once_and_is_not_judged_again(run: Run) -> None:
    bench, agent = waiting()
    await run(agent, asks("Go"))
    judged = len(bench.asked)
    state = await run(agent, Command(resume={"type": "approve"}))
    assert {"build": 1} == bench.ran
    assert DONE == last_text(state)
    assert ["Result of a tool:\ndone with build", DONE] == bench.asked[judged:]
    assert {"text": "a BOMB"} == state["messages"][1].tool_calls[0]["args"]


@every_run
@pytest.mark.parametrize(
    "answer",
    [
        *({"type": "reject"}, {"type": "reject", "message": "No."}, "approve", True, None),
        *({"decisions": {"type": "approve"}}, {"decisions": 5}, {"decisions": []}),
    ],
)
async def test_a_rejected_call_or_one_with_an_answer_nobody_understands_never_runs(run: Run, answer: Any) -> None:
    bench, agent = waiting()
    await run(agent, asks("Go"))
    state = await run(agent, Command(resume=answer or {"type": "?"}))
    assert {} == bench.ran
    (said,) = [message for message in state["messages"] if isinstance(message, ToolMessage)]
    assert ("error", "c1") == (said.status, said.tool_call_id)
    assert said.text.startswith("A human rejected this call")
    assert DONE == last_text(state)


@every_run
async def test_a_human_may_answer_in_the_tools_place(run: Run) -> None:
    bench, agent = waiting()
    await run(agent, asks("Go"))
    state = await run(agent, Command(resume={"type": "respond", "message": "It is built."}))
    assert ({}, "It is built.", "success") == (bench.ran, state["messages"][2].text, state["messages"][2].status)


@every_run
async def test_an_edited_call_is_judged_as_it_will_run(run: Run) -> None:
    for text, ran in (("a hut", {"build": 1}), ("another BOMB", {})):
        bench, agent = waiting()
        await run(agent, asks("Go"))
        edited = {"type": "edit", "edited_action": {"name": "build", "args": {"text": text}}}
        state = await run(agent, Command(resume=edited))
        assert ran == bench.ran
        assert (REFUSAL if not ran else "done with build") == state["messages"][2].text


@every_run
async def test_an_edit_cannot_name_another_tool(run: Run) -> None:
    bench, agent = waiting()
    await run(agent, asks("Go"))
    edited = {"type": "edit", "edited_action": {"name": "read", "args": {"text": "a hut"}}}
    await run(agent, Command(resume=edited))
    assert {} == bench.ran


@every_run
async def test_the_answer_of_batched_approvals_is_understood(run: Run) -> None:
    bench, agent = waiting()
    await run(agent, asks("Go"))
    await run(agent, Command(resume={"decisions": [{"type": "approve"}]}))
    assert {"build": 1} == bench.ran


@every_run
async def test_a_harmless_call_beside_it_runs_exactly_once_across_the_interrupt(run: Run) -> None:
    calls = (call("read", "notes", "c1"), call("build", "a BOMB", "c2"))
    bench, agent = waiting([Reply("", calls), DONE])
    await run(agent, asks("Go"))
    assert {"read": 1} == bench.ran
    state = await run(agent, Command(resume={"type": "reject"}))
    assert {"read": 1} == bench.ran
    assert is_accepted(state["messages"])


@every_run
async def test_two_refused_calls_are_two_questions(run: Run) -> None:
    calls = (call("build", "a BOMB", "c1"), call("build", "a KNIFE", "c2"))
    bench, agent = waiting([Reply("", calls), DONE])
    await run(agent, asks("Go"))
    interrupts = agent.get_state(CONFIG).interrupts
    assert {"c1", "c2"} == {it.value["tool_call_id"] for it in interrupts}
    answers = {it.id: {"type": "approve" if it.value["tool_call_id"] == "c2" else "reject"} for it in interrupts}
    state = await run(agent, Command(resume=answers))
    assert {"build": 1} == bench.ran
    assert DONE == last_text(state)


@every_run
async def test_in_another_process_the_verdict_is_still_known(run: Run) -> None:
    """There the guard's cache is empty, and the guard might even say otherwise: the human was asked already."""
    bench, agent = waiting()
    await run(agent, asks("Go"))
    judged = len(bench.asked)
    bench.guard = LlamaGuard(**bench.host)
    bench.provider._guard = lambda role, text: "safe"
    fresh = bench.agent("build", "read", middleware=[LlamaGuardMiddleware(bench.guard, exit_behavior="interrupt")])
    await run(fresh, Command(resume={"type": "reject"}))
    assert {} == bench.ran
    assert not [text for text in bench.asked[judged:] if text.startswith("Call of")]


@every_run
async def test_the_result_of_an_approved_call_is_judged(run: Run) -> None:
    bench, agent = waiting(results={"build": "the BOMB is ready"})
    await run(agent, asks("Go"))
    state = await run(agent, Command(resume={"type": "approve"}))
    assert ({"build": 1}, REFUSAL) == (bench.ran, state["messages"][2].text)


@every_run
async def test_a_human_is_asked_about_a_call_that_could_not_be_judged(run: Run) -> None:
    """The reply as a whole was judged unsafe; of this call alone no verdict could be had."""
    bench, agent = waiting([Reply("I do.", (call("build", "a BOMB"),)), DONE])
    bench.provider.fail(Fault.status(500), on="guard", nth=4)
    await run(agent, asks("Go"))
    assert "Llama Guard could not judge this tool call (server)." == question(agent)["description"]
    await run(agent, Command(resume={"type": "reject"}))
    assert {} == bench.ran


@both_colours
async def test_in_a_tool_node_nobody_is_asked_about_one_of_several_calls(asynchronous: bool) -> None:
    """LangGraph gives answers to the interrupts of one task in their order, which there is none of between threads."""
    bench = Bench()
    hooks = LlamaGuardMiddleware(bench.guard, exit_behavior="interrupt")
    node = ToolNode(
        [bench.tool("read"), bench.tool("build")],
        wrap_tool_call=hooks.wrap_tool_call,
        awrap_tool_call=hooks.awrap_tool_call,
    )
    graph = StateGraph(MessagesState).add_node("tools", node).set_entry_point("tools").compile(checkpointer=bench.saver)
    for texts, asked in ((("a hut", "a BOMB"), 0), (("a BOMB",), 1)):
        calls = [{"name": "build", "args": {"text": text}, "id": f"c{at}"} for at, text in enumerate(texts)]
        config: Any = {"configurable": {"thread_id": str(len(texts))}}
        given = {"messages": [HumanMessage("Go"), AIMessage("", tool_calls=calls)]}
        await graph.ainvoke(given, config) if asynchronous else graph.invoke(given, config)
        assert asked == len(graph.get_state(config).interrupts)
    assert {"build": 1} == bench.ran


@every_run
async def test_an_approved_call_may_be_tried_again_by_whoever_retries(run: Run) -> None:
    gives = iter([ConnectionError("away"), "built"])

    def work(text: str) -> Any:
        given = next(gives)
        if isinstance(given, Exception):
            raise given
        return given

    bench = Bench([Reply("", (call("build", "a BOMB"),)), DONE], results={"build": work})
    middleware = [LlamaGuardMiddleware(bench.guard, exit_behavior="interrupt"), ToolRetryMiddleware(max_retries=1)]
    agent = bench.agent(tools=guard_tools([bench.tool("build")], bench.guard), middleware=middleware)
    await run(agent, asks("Go"))
    state = await run(agent, Command(resume={"type": "approve"}))
    assert ("built", {"build": 2}) == (state["messages"][2].text, bench.ran)


@every_run
async def test_an_interrupt_of_a_tools_own_passes_through(run: Run) -> None:
    bench = Bench([Reply("", (call("read", "notes"),)), DONE], results={"read": lambda text: interrupt("May I?")})
    agent = bench.agent("read")
    await run(agent, asks("Go"))
    assert ["May I?"] == [it.value for it in agent.get_state(CONFIG).interrupts]
    state = await run(agent, Command(resume="yes"))
    assert ["yes", DONE] == [message.text for message in state["messages"][2:]]
    assert {"read": 2} == bench.ran  # begun twice, as LangGraph does it


@every_run
async def test_an_interrupt_around_the_model_passes_through(run: Run) -> None:
    class Asks(AgentMiddleware):
        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            interrupt("May it speak?")
            return handler(request)

        async def awrap_model_call(self, request: Any, handler: Any) -> Any:
            interrupt("May it speak?")
            return await handler(request)

    bench = Bench([DONE])
    agent = bench.agent("read", middleware=[LlamaGuardMiddleware(bench.guard), Asks()])
    await run(agent, asks("Go"))
    assert ["May it speak?"] == [it.value for it in agent.get_state(CONFIG).interrupts]
    assert ["Go"] == bench.asked
    assert DONE == last_text(await run(agent, Command(resume="yes")))


@every_run
async def test_langchains_own_approvals_work_beside_it(run: Run) -> None:
    bench = Bench([Reply("", (call("read", "notes"),)), DONE])
    middleware = [LlamaGuardMiddleware(bench.guard), HumanInTheLoopMiddleware(interrupt_on={"read": True})]
    agent = bench.agent("read", middleware=middleware)
    await run(agent, asks("Go"))
    assert {} == bench.ran
    state = await run(agent, Command(resume={"decisions": [{"type": "approve"}]}))
    assert ({"read": 1}, DONE) == (bench.ran, last_text(state))
    assert len(state["messages"]) == len(bench.asked)
