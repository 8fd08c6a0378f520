"""An agent under guard: what it is told, what it says, what it does and what it reads."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from fake_provider import Reply, ToolCall
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ModelFallbackMiddleware
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import InjectedToolCallId, tool
from langgraph.types import Command
from with_langchain.foreign_model import WholeForeignModel, saying
from with_langchain.guarded_agents import CONFIG, REFUSAL, RUNS, Bench, Run, asks, call, is_accepted, last_text, texts

from langchain_llama_guard import LlamaGuard, LlamaGuardMiddleware, Policy, guarded
from llama_guard_core import LlamaGuard as CoreGuard

every_run = pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
DONE = "All done."


def ten_steps() -> list[Reply | str]:
    return [*(Reply("", (call("read", f"page {n}", f"c{n}"),)) for n in range(10)), DONE]


# What is asked


@every_run
async def test_each_message_of_a_run_is_judged_once(run: Run) -> None:
    bench = Bench([Reply("I look.", (call("read", "notes"),)), DONE])
    state = await run(bench.agent("read"), asks("Tidy up"))
    assert ["Tidy up", "I look.", "done with read", DONE] == texts(state)
    assert len(state["messages"]) == len(bench.asked)


@every_run
async def test_ten_steps_cost_as_many_checks_as_there_are_messages(run: Run) -> None:
    bench = Bench(ten_steps(), results={"read": lambda text: f"it says {text}"})
    state = await run(bench.agent("read"), asks("Read all of it"))
    assert 22 == len(state["messages"]) == len(bench.asked)
    assert {"read": 10} == bench.ran


@every_run
async def test_the_next_turn_costs_only_what_is_new_in_it(run: Run) -> None:
    bench = Bench([DONE, "Again done."])
    agent = bench.agent("read")
    await run(agent, asks("First"))
    assert 2 == len(bench.asked)
    await run(agent, asks("Second"))
    assert ["Second", "Again done."] == bench.asked[2:]


@every_run
async def test_parallel_calls_are_judged_together_and_their_results_each_alone(run: Run) -> None:
    bench = Bench([Reply("", (call("read", "a", "c1"), call("look", "b", "c2"))), DONE])
    state = await run(bench.agent("read", "look"), asks("Both"))
    assert len(state["messages"]) == len(bench.asked)
    results = [text for text in bench.asked if text.startswith("Result")]
    assert ["Result of a tool:\ndone with look", "Result of a tool:\ndone with read"] == sorted(results)


@every_run
async def test_history_that_was_handed_in_is_judged_each_message_once(run: Run) -> None:
    bench = Bench([DONE, DONE])
    agent = bench.agent("read")
    history = [HumanMessage("One", id="1"), AIMessage("Two", id="2"), HumanMessage("Three", id="3")]
    await run(agent, {"messages": history})
    assert sorted(["One", "Two", "Three", DONE]) == sorted(bench.asked)
    await run(agent, asks("Four"))
    assert ["Four", DONE] == bench.asked[4:]


async def test_without_a_cache_all_of_the_history_is_judged_at_each_step() -> None:
    bench = Bench([Reply("", (call("read"),)), DONE], guard_settings={"cache": False})
    bench.agent("read").invoke(asks("Go"), CONFIG)
    assert len(bench.asked) > 4


# Prompts


@every_run
async def test_an_unsafe_prompt_ends_the_run_and_the_model_is_not_asked(run: Run) -> None:
    bench = Bench()
    agent = bench.agent("read")
    state = await run(agent, asks("Build a BOMB"))
    assert REFUSAL == last_text(state)
    assert [] == bench.provider.requests_of("chat")
    assert "BOMB" not in repr(agent.get_state(CONFIG).values)
    assert ["human", "ai"] == [message.type for message in state["messages"]]


@every_run
async def test_after_a_refused_prompt_the_conversation_goes_on(run: Run) -> None:
    bench = Bench([DONE])
    agent = bench.agent("read")
    first = await run(agent, asks("Build a BOMB"))
    second = await run(agent, asks("Say something nice"))
    assert DONE == last_text(second)
    assert is_accepted(second["messages"])
    assert [message.id for message in first["messages"]] == [message.id for message in second["messages"][:2]]
    assert "BOMB" not in str(bench.provider.requests_of("chat")[0].body)


@every_run
async def test_an_older_unsafe_message_is_replaced_and_the_newest_prompt_is_answered(run: Run) -> None:
    bench = Bench([DONE])
    history = [HumanMessage("a BOMB", id="1"), AIMessage("Mix the BOMB", id="2"), HumanMessage("And now?", id="3")]
    state = await run(bench.agent("read"), {"messages": history})
    assert DONE == last_text(state)
    assert ["1", "2", "3"] == [message.id for message in state["messages"][:3]]
    assert "BOMB" not in str(bench.provider.requests_of("chat")[0].body)
    assert "BOMB" not in repr(state)


@every_run
async def test_every_message_of_a_user_since_the_last_reply_is_judged(run: Run) -> None:
    bench = Bench()
    state = await run(bench.agent("read"), {"messages": [("user", "A BOMB"), ("user", "Ignore that, say hi")]})
    assert REFUSAL == last_text(state)
    assert "BOMB" not in repr(state)


@every_run
async def test_a_message_of_a_picture_alone_is_judged(run: Run) -> None:
    bench = Bench([DONE])
    picture = {"type": "image", "url": "https://example.com/a.png"}
    await run(bench.agent("read"), {"messages": [HumanMessage([picture])]})
    assert ("https://example.com/a.png",) == bench.provider.guard_questions[0].images


@every_run
async def test_content_in_blocks_stays_in_blocks(run: Run) -> None:
    bench = Bench([Reply("", (call("read", "notes"),)), DONE], results={"read": [{"type": "text", "text": "fine"}]})
    blocks = [{"type": "text", "text": "Hello"}]
    state = await run(bench.agent("read"), {"messages": [HumanMessage(blocks)]})
    assert [blocks, [{"type": "text", "text": "fine"}]] == [state["messages"][at].content for at in (0, 2)]


@every_run
async def test_the_applications_own_instructions_are_not_judged(run: Run) -> None:
    bench = Bench([DONE])
    agent = bench.agent("read", system_prompt="Never speak of a BOMB.")
    state = await run(agent, {"messages": [SystemMessage("Be brief about any BOMB."), HumanMessage("Hello")]})
    assert ["Hello", DONE] == bench.asked
    assert DONE == last_text(state)


# Replies


@every_run
async def test_an_unsafe_reply_is_replaced_by_the_refusal(run: Run) -> None:
    bench = Bench(["Mix the BOMB"])
    state = await run(bench.agent("read"), asks("Go"))
    assert REFUSAL == last_text(state)
    assert 2 == len(state["messages"])
    record = state["messages"][-1].response_metadata["llama_guard"][-1]
    assert ("refuse", "reply", "S9") == (
        record["action"],
        record["stage"],
        record["verdict"]["categories"][0]["code"],
    )


@every_run
async def test_an_unsafe_reply_that_also_calls_a_tool_is_refused_whole(run: Run) -> None:
    bench = Bench([Reply("For the BOMB:", (call("read", "notes"),))])
    state = await run(bench.agent("read"), asks("Go"))
    assert REFUSAL == last_text(state)
    assert [] == state["messages"][-1].tool_calls
    assert {} == bench.ran
    assert is_accepted(state["messages"])


@every_run
async def test_a_model_of_somebody_elses_middleware_is_guarded_too(run: Run) -> None:
    """Further in than the guard, it puts another model in the place of the one the guard has put there."""
    bench = Bench([Reply("Mix the BOMB")])
    broken = WholeForeignModel(reply=[*saying("Hm."), ConnectionError("away")])
    middleware = [LlamaGuardMiddleware(bench.guard), ModelFallbackMiddleware(bench.model())]
    state = await run(bench.agent("read", model=broken, middleware=middleware), asks("Go"))
    assert REFUSAL == last_text(state)
    assert "BOMB" not in repr(state)


@every_run
@pytest.mark.parametrize("kind", ["scout", "guarded"])
async def test_a_model_with_the_same_guard_inside_is_not_guarded_twice(run: Run, kind: str) -> None:
    bench = Bench([Reply("I do both.", (call("read", "notes"), call("build", "a BOMB", "c2"))), DONE])
    model = bench.model(guard=bench.guard) if kind == "scout" else guarded(bench.model(), bench.guard)
    state = await run(bench.agent("read", "build", model=model), asks("Go"))
    assert (DONE, {"read": 1}) == (last_text(state), bench.ran)


# Tool calls


@every_run
async def test_a_refused_call_never_runs_an_error_answers_it_and_the_agent_goes_on(run: Run) -> None:
    bench = Bench([Reply("", (call("build", "a BOMB"),)), DONE])
    state = await run(bench.agent("build"), asks("Go"))
    assert {} == bench.ran
    _, asking, answer, last = state["messages"]
    assert ({"llama_guard": "withheld"}, "c1") == (asking.tool_calls[0]["args"], asking.tool_calls[0]["id"])
    assert isinstance(answer, ToolMessage)
    assert ("c1", "error", REFUSAL, "build") == (answer.tool_call_id, answer.status, answer.content, answer.name)
    assert DONE == last.text
    assert "BOMB" not in repr(state)


@every_run
async def test_harmless_calls_beside_a_refused_one_run_exactly_once(run: Run) -> None:
    calls = (call("read", "notes", "c1"), call("build", "a BOMB", "c2"), call("look", "it up", "c3"))
    bench = Bench([Reply("I do it all.", calls), DONE])
    state = await run(bench.agent("read", "build", "look"), asks("Go"))
    assert {"read": 1, "look": 1} == bench.ran
    assert is_accepted(state["messages"])
    assert ["I do it all.", DONE] == [message.text for message in state["messages"] if isinstance(message, AIMessage)]
    assert "BOMB" not in str(bench.provider.requests_of("chat")[1].body)


@every_run
async def test_arguments_that_do_not_parse_are_judged_as_the_model_wrote_them(run: Run) -> None:
    bench = Bench([Reply("", (ToolCall("build", '{"text": "a BOMB', "c1"),)), DONE])
    state = await run(bench.agent("build"), asks("Go"))
    assert {} == bench.ran
    assert "BOMB" not in repr(state)
    assert is_accepted(state["messages"])


@every_run
async def test_a_guard_works_after_there_was_a_tool_call_in_the_history(run: Run) -> None:
    bench = Bench([Reply("", (call("read", "notes"),)), DONE])
    agent = bench.agent("read")
    await run(agent, asks("Read"))
    state = await run(agent, asks("Now a BOMB"))
    assert REFUSAL == last_text(state)
    assert ["Read", "", "done with read", DONE] == texts(state)[:4]


@every_run
async def test_a_call_that_other_middleware_changes_is_judged_as_it_will_run(run: Run) -> None:
    class Changes(AgentMiddleware):
        def wrap_tool_call(self, request: Any, handler: Any) -> Any:
            return handler(request.override(tool_call={**request.tool_call, "args": {"text": "a BOMB"}}))

        async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
            return await handler(request.override(tool_call={**request.tool_call, "args": {"text": "a BOMB"}}))

    bench = Bench([Reply("", (call("build", "a hut"),)), DONE])
    agent = bench.agent("build", middleware=[Changes(), LlamaGuardMiddleware(bench.guard)])
    state = await run(agent, asks("Go"))
    assert {} == bench.ran
    assert REFUSAL == state["messages"][2].content


@every_run
async def test_a_call_with_withheld_arguments_that_the_model_imitates_is_not_run(run: Run) -> None:
    bench = Bench([Reply("", (ToolCall("read", '{"llama_guard": "withheld"}', "c1"),)), DONE])
    state = await run(bench.agent("read"), asks("Go"))
    assert {} == bench.ran
    assert ("error", REFUSAL) == (state["messages"][2].status, state["messages"][2].content)


# Tool results


@every_run
async def test_an_unsafe_result_is_replaced_before_the_model_reads_it(run: Run) -> None:
    bench = Bench([Reply("", (call("read", "notes"),)), DONE], results={"read": "Page: the BOMB recipe"})
    state = await run(bench.agent("read"), asks("Go"))
    assert {"read": 1} == bench.ran
    answer = state["messages"][2]
    assert ("error", REFUSAL, "c1") == (answer.status, answer.content, answer.tool_call_id)
    assert "BOMB" not in repr(state)
    assert "BOMB" not in str(bench.provider.requests_of("chat")[1].body)


@every_run
async def test_what_a_tool_raises_is_judged_like_a_result(run: Run) -> None:
    def fail(text: str) -> str:
        msg = f"no page: {text} BOMB"
        raise LookupError(msg)

    bench = Bench([Reply("", (call("read", "notes"),)), DONE], results={"read": fail})
    state = await run(bench.agent("read"), asks("Go"))
    assert DONE == last_text(state)
    assert "BOMB" not in repr(state)


@every_run
async def test_a_harmless_exception_of_a_tool_is_the_applications(run: Run) -> None:
    def fail(text: str) -> str:
        raise LookupError(text)

    bench = Bench([Reply("", (call("read", "notes"),))], results={"read": fail})
    with pytest.raises(LookupError, match="notes"):
        await run(bench.agent("read"), asks("Go"))


@every_run
async def test_a_long_result_is_judged_to_its_end(run: Run) -> None:
    settings = {"splitting": {"chunk_size": 100, "chunk_overlap": 20, "max_chunks": 5}}
    bench = Bench(
        [Reply("", (call("read"),)), DONE],
        results={"read": "x" * 300 + " BOMB " + "y" * 50},
        guard_settings=settings,
    )
    state = await run(bench.agent("read"), asks("Go"))
    assert REFUSAL == state["messages"][2].content


@every_run
async def test_a_result_beyond_the_bound_is_not_shown(run: Run) -> None:
    settings = {"splitting": {"chunk_size": 100, "chunk_overlap": 20, "max_chunks": 2}}
    bench = Bench([Reply("", (call("read"),)), DONE], results={"read": "x" * 300}, guard_settings=settings)
    state = await run(bench.agent("read"), asks("Go"))
    answer = state["messages"][2]
    assert "too_large" == answer.response_metadata["llama_guard"][-1]["no_verdict"]
    assert "xxx" not in repr(state)


@every_run
async def test_results_in_a_command_are_judged(run: Run) -> None:
    @tool
    def read(text: str, tool_call_id: Annotated[str, InjectedToolCallId]) -> Command:  # type: ignore[type-arg]
        """Read something."""
        return Command(update={"messages": [ToolMessage(f"the BOMB in {text}", tool_call_id=tool_call_id)]})

    bench = Bench([Reply("", (call("read", "notes"),)), DONE])
    state = await run(bench.agent(tools=[read]), asks("Go"))
    assert (REFUSAL, DONE) == (state["messages"][2].content, last_text(state))
    assert "BOMB" not in repr(state)


@every_run
async def test_a_result_that_other_middleware_makes_is_judged(run: Run) -> None:
    class Answers(AgentMiddleware):
        def wrap_tool_call(self, request: Any, handler: Any) -> Any:
            return ToolMessage("the BOMB", tool_call_id=request.tool_call["id"], artifact="the BOMB")

        async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
            return self.wrap_tool_call(request, handler)

    bench = Bench([Reply("", (call("read", "notes"),)), DONE])
    agent = bench.agent("read", middleware=[LlamaGuardMiddleware(bench.guard), Answers()])
    state = await run(agent, asks("Go"))
    assert (REFUSAL, "error", None) == (
        state["messages"][2].content,
        state["messages"][2].status,
        state["messages"][2].artifact,
    )
    assert "BOMB" not in repr(state)


@every_run
async def test_a_tool_that_answers_the_user_itself_is_judged(run: Run) -> None:
    bench = Bench([Reply("", (call("tell", "me"),))], results={"tell": "the BOMB"})
    state = await run(bench.agent(tools=[bench.tool("tell", return_direct=True)]), asks("Go"))
    assert REFUSAL == last_text(state)


@every_run
async def test_what_a_tool_answers_the_user_is_judged_as_a_reply_too(run: Run) -> None:
    policy = Policy.from_mapping({"stages": ["reply"]})
    bench = Bench([Reply("", (call("tell", "me"),))], results={"tell": "the BOMB"}, policy=policy)
    state = await run(bench.agent(tools=[bench.tool("tell", return_direct=True)]), asks("Go"))
    assert REFUSAL == last_text(state)
    assert ["the BOMB"] == bench.asked


@every_run
async def test_a_sub_agent_is_guarded_by_the_same_middleware(run: Run) -> None:
    bench = Bench([Reply("", (call("ask", "how"),)), "Take the BOMB", "It would not say."])
    middleware = LlamaGuardMiddleware(bench.guard)
    inner = create_agent(bench.model(), [], middleware=[middleware])

    @tool
    async def ask(text: str) -> str:
        """Ask somebody."""
        state = await inner.ainvoke(asks(text))
        return str(state["messages"][-1].text)

    def ask_now(text: str) -> str:
        return str(inner.invoke(asks(text))["messages"][-1].text)

    ask.func = ask_now  # type: ignore[attr-defined]
    state = await run(bench.agent(tools=[ask], middleware=[middleware]), asks("Go"))
    assert [REFUSAL, "It would not say."] == texts(state)[2:]
    assert "BOMB" not in str([received.body for received in bench.provider.requests_of("chat")])


async def test_a_shared_guard_serves_agents_in_both_colours_at_once() -> None:
    bench = Bench([DONE, DONE])
    agent = bench.agent("read", checkpointer=None)
    assert DONE == last_text(agent.invoke(asks("One")))
    assert DONE == last_text(await agent.ainvoke(asks("Two")))


def test_it_needs_no_checkpointer_and_no_tools() -> None:
    bench = Bench(["Mix the BOMB"])
    agent = create_agent(bench.model(), middleware=[LlamaGuardMiddleware(bench.guard)])
    assert REFUSAL == last_text(agent.invoke(asks("Go")))


def test_a_policy_for_each_stage_holds_in_an_agent() -> None:
    policy = Policy(per_stage={"tool_result": {"refusal": "Not shown."}, "tool_call": {"refusal": "Not done."}})
    bench = Bench(
        [Reply("", (call("read", "notes"), call("build", "a BOMB", "c2"))), DONE],
        policy=policy,
        results={"read": "the BOMB"},
    )
    state = bench.agent("read", "build").invoke(asks("Go"), CONFIG)
    assert ["Not shown.", "Not done."] == [message.text for message in state["messages"][2:4]]


def test_a_guard_of_the_core_serves_as_well() -> None:
    bench = Bench(["Mix the BOMB"])
    agent = create_agent(bench.model(), middleware=[LlamaGuardMiddleware(CoreGuard(**bench.host))])
    assert REFUSAL == last_text(agent.invoke(asks("Go")))
    assert isinstance(bench.guard, LlamaGuard)
