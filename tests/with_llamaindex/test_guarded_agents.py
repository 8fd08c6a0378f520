"""Whole agents with tools: what is refused does not run, is nowhere to be read, and the conversation can go on."""

from __future__ import annotations

import asyncio
import json
import warnings
from typing import Any

import httpx
import pytest
from fake_provider import FakeProvider, Fault, Reply, ToolCall
from llama_index.core.agent.workflow import CodeActAgent, FunctionAgent, ReActAgent, ToolCallResult
from llama_index.core.llms import MockLLM
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import Context, HumanResponseEvent, InputRequiredEvent
from pydantic import BaseModel
from with_llamaindex.agents import (
    APOLOGY,
    COPIES_MEMORY,
    MARKER,
    REFUSAL,
    WITHHELD,
    WITHHELD_PROMPT,
    Found,
    Tools,
    acts,
    asked_of_the_model,
    asks,
    call,
    code_agent,
    function_agent,
    react_agent,
    run,
    said,
    scripted,
)
from with_llamaindex.engines import memory
from with_llamaindex.scouts import guard_of, scout

from llamaindex_llama_guard import (
    ConfigurationError,
    GuardedLLM,
    GuardUnavailable,
    LlamaGuard,
    Policy,
    UnsafeContent,
    guard_agent,
    guarded,
)

# LlamaIndex's agents look at deprecated attributes of their own: of their models, and of their context.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step"),
    pytest.mark.filterwarnings("ignore:Skipping serialization of known unserializable key"),
]

streamed_or_not = pytest.mark.parametrize("streaming", [True, False], ids=["streamed", "whole"])
every_tool = pytest.mark.parametrize("kind", ["tool", "async_tool"])
IS_OLD = "early_stopping_method" not in FunctionAgent.model_fields
needs_early_stopping = pytest.mark.skipif(IS_OLD, reason="this version stops with an error alone")
streamed_or_not_where_all_calls_are_kept = pytest.mark.parametrize(
    "streaming",
    [
        True,
        pytest.param(False, marks=pytest.mark.skipif(IS_OLD, reason="this version keeps one call, unless streamed")),
    ],
    ids=["streamed", "whole"],
)


@pytest.fixture
def tools() -> Tools:
    return Tools()


def test_a_guarded_agent_is_one_of_its_class(provider: FakeProvider, tools: Tools) -> None:
    agent = FunctionAgent(tools=[tools.tool()], llm=scout(provider), name="finder")
    safe = guarded(agent, guard_of(provider))
    assert isinstance(safe, FunctionAgent)
    assert "finder" == safe.name
    assert "search" == safe.tools[0].metadata.name
    assert safe is guard_agent(safe, guard_of(provider))
    assert FunctionAgent is type(agent)
    assert FunctionTool is type(agent.tools[0])


def test_only_agents_and_workflows_of_agents_are_guarded_as_agents(provider: FakeProvider) -> None:
    with pytest.raises(TypeError, match="not a Tools"):
        guard_agent(Tools(), guard_of(provider))  # type: ignore[type-var]
    with pytest.raises(ConfigurationError, match="'continue' or 'end'"):
        guard_agent(FunctionAgent(llm=scout(provider)), guard_of(provider), on_refused_call="stop")  # type: ignore[arg-type]


# Side effects


@streamed_or_not_where_all_calls_are_kept
@every_tool
async def test_a_refused_call_never_runs_and_the_harmless_one_beside_it_once(
    provider: FakeProvider, tools: Tools, kind: str, streaming: bool
) -> None:
    scripted(provider, asks(call(f"a {MARKER}", "c1"), call("clocks", "c2")), "Clocks it is.")
    ran = await run(function_agent(provider, [getattr(tools, kind)()], streaming=streaming))
    assert ["clocks"] == tools.ran
    assert "Clocks it is." == ran.answer
    assert MARKER not in ran.everything
    call_1, call_2 = asked_of_the_model(provider)[-3]["tool_calls"]
    assert '{"llama_guard": "withheld"}' == call_1["function"]["arguments"]
    assert '{"query": "clocks"}' == call_2["function"]["arguments"]
    answers = [(message["tool_call_id"], message["content"]) for message in asked_of_the_model(provider)[-2:]]
    assert [("c1", REFUSAL), ("c2", "Nothing of note.")] == answers


@streamed_or_not
async def test_a_refused_call_alone_does_not_end_the_run(provider: FakeProvider, tools: Tools, streaming: bool) -> None:
    scripted(provider, asks(call(MARKER)), asks(call("clocks", "c2")), "Done.")
    ran = await run(function_agent(provider, [tools.tool()], streaming=streaming))
    assert (["clocks"], "Done.") == (tools.ran, ran.answer)
    assert MARKER not in ran.everything
    (refused,) = [event for event in ran.events if isinstance(event, ToolCallResult) and event.tool_output.is_error]
    assert (WITHHELD, REFUSAL) == (refused.tool_kwargs, refused.tool_output.content)


@streamed_or_not
async def test_a_refused_call_ends_the_run_where_that_is_asked_for(
    provider: FakeProvider, tools: Tools, streaming: bool
) -> None:
    scripted(provider, asks(call(MARKER, "c1"), call("clocks", "c2")))
    agent = function_agent(provider, [tools.tool()], streaming=streaming, on_refused_call="end")
    ran = await run(agent)
    assert ([], REFUSAL) == (tools.ran, ran.answer)
    assert [("user", "Hello"), ("assistant", REFUSAL)] == ran.remembered


@streamed_or_not
async def test_unsafe_words_beside_a_harmless_call_refuse_the_reply(
    provider: FakeProvider, tools: Tools, streaming: bool
) -> None:
    scripted(provider, asks(call("clocks"), text=f"First a {MARKER}"))
    ran = await run(function_agent(provider, [tools.tool()], streaming=streaming))
    assert ([], REFUSAL) == (tools.ran, ran.answer)
    assert MARKER not in ran.everything


@streamed_or_not
async def test_harmless_words_beside_a_refused_call_are_kept(
    provider: FakeProvider, tools: Tools, streaming: bool
) -> None:
    scripted(provider, asks(call(MARKER), text="Let me look."), "Done.")
    ran = await run(function_agent(provider, [tools.tool()], streaming=streaming))
    assert "Let me look." == asked_of_the_model(provider)[-2]["content"]
    assert ("Let me look.Done." if streaming else "") == ran.streamed


@streamed_or_not
@every_tool
async def test_an_unsafe_result_is_read_by_nobody_and_the_run_goes_on(
    provider: FakeProvider, kind: str, streaming: bool
) -> None:
    tools = Tools(gives=f"Now build a {MARKER}")
    scripted(provider, asks(call("clocks")), "Nothing found.")
    ran = await run(function_agent(provider, [getattr(tools, kind)()], streaming=streaming))
    assert (["clocks"], "Nothing found.") == (tools.ran, ran.answer)
    assert MARKER not in ran.everything
    assert REFUSAL == asked_of_the_model(provider)[-1]["content"]


async def test_what_a_tool_raises_is_judged_before_the_model_reads_it(provider: FakeProvider) -> None:
    tools = Tools(gives=ValueError(f"{MARKER} not found"))
    scripted(provider, asks(call("clocks")), "Nothing found.")
    ran = await run(function_agent(provider, [tools.tool()]))
    assert (["clocks"], "Nothing found.") == (tools.ran, ran.answer)
    assert MARKER not in ran.everything


async def test_a_tool_that_wants_the_context_gets_it(provider: FakeProvider) -> None:
    async def note(ctx: Context, query: str) -> str:
        await ctx.store.set("noted", query)
        return "Noted."

    note.__annotations__["ctx"] = Context  # as in a module without postponed annotations
    scripted(provider, asks(call("clocks", name="note")), "Done.")
    agent = function_agent(provider, [FunctionTool.from_defaults(async_fn=note)])
    context = Context(agent)
    ran = await run(agent, ctx=context)
    assert "clocks" == await context.store.get("noted")
    assert "Done." == ran.answer


@pytest.mark.skipif(IS_OLD, reason="this version takes the pause for an error of the tool")
async def test_a_tool_may_wait_for_a_human(provider: FakeProvider) -> None:
    """LlamaIndex pauses the tool by an exception, and begins it again with the answer."""

    async def ask(ctx: Context, query: str) -> str:
        answer = await ctx.wait_for_event(HumanResponseEvent, waiter_event=InputRequiredEvent(prefix=query))
        return f"{answer.response}, says the human"

    ask.__annotations__["ctx"] = Context
    scripted(provider, asks(call("May I?", name="ask")), "Done.")
    agent = function_agent(provider, [FunctionTool.from_defaults(async_fn=ask)])
    handler = agent.run("Hello", memory=memory())
    async for event in handler.stream_events():
        if isinstance(event, InputRequiredEvent):
            handler.ctx.send_event(HumanResponseEvent(response="Yes"))
    assert "Done." == str(await handler)
    assert "Yes, says the human" == asked_of_the_model(provider)[-1]["content"]
    assert 4 == len(provider.guard_questions)


async def test_an_agent_may_be_the_tool_of_another(provider: FakeProvider) -> None:
    scripted(provider, asks(call("clocks", name="inquire")), f"Take a {MARKER}", "Nothing found.")
    inner = function_agent(provider)

    async def inquire(query: str) -> str:
        return str(await inner.run(query, memory=memory()))

    ran = await run(function_agent(provider, [FunctionTool.from_defaults(async_fn=inquire)]))
    assert "Nothing found." == ran.answer
    assert REFUSAL == asked_of_the_model(provider)[-1]["content"]


@streamed_or_not_where_all_calls_are_kept
async def test_a_tool_found_by_a_retriever_is_guarded(provider: FakeProvider, tools: Tools, streaming: bool) -> None:
    scripted(provider, asks(call(MARKER, "c1"), call("clocks", "c2")), "Done.")
    agent = FunctionAgent(tool_retriever=Found(tools.tool()), llm=scout(provider), streaming=streaming)
    ran = await run(guard_agent(agent, guard_of(provider)))
    assert (["clocks"], "Done.") == (tools.ran, ran.answer)


async def test_a_tool_of_an_overridden_get_tools_is_guarded(provider: FakeProvider) -> None:
    tools = Tools(gives=MARKER)

    class Finder(FunctionAgent):
        async def get_tools(self, input_str: str | None = None) -> Any:
            return [tools.tool()]

    scripted(provider, asks(call("clocks")), "Done.")
    ran = await run(guard_agent(Finder(llm=scout(provider)), guard_of(provider)))
    assert (["clocks"], "Done.") == (tools.ran, ran.answer)
    assert MARKER not in ran.everything


# What goes in


@streamed_or_not
@pytest.mark.parametrize("prompt_check", ["before", "parallel"])
async def test_an_unsafe_prompt_is_refused_and_withheld_in_memory(
    provider: FakeProvider, tools: Tools, streaming: bool, prompt_check: str
) -> None:
    scripted(provider, always=lambda _: Reply("An answer."))
    agent = function_agent(provider, [tools.tool()], streaming=streaming, prompt_check=prompt_check)
    ran = await run(agent, f"Build a {MARKER}")
    assert REFUSAL == ran.answer
    assert (REFUSAL if streaming else "") == ran.streamed
    assert [("user", WITHHELD_PROMPT), ("assistant", REFUSAL)] == ran.remembered
    assert MARKER not in ran.everything
    assert "prompt" == ran.result.raw["llama_guard"][0]["stage"]
    if prompt_check == "before":
        assert [] == provider.requests_of("chat")


@streamed_or_not
@pytest.mark.parametrize("prompt_check", ["before", "parallel"])
@pytest.mark.parametrize("kind", [FunctionAgent, ReActAgent])
async def test_after_a_refusal_the_conversation_goes_on(
    provider: FakeProvider, kind: Any, streaming: bool, prompt_check: str
) -> None:
    """In the same context, and with the same memory in another."""
    scripted(provider, always=lambda _: Reply("Gladly."))
    agent = kind(tools=[Tools().tool()], llm=scout(provider), streaming=streaming)
    agent = guard_agent(agent, guard_of(provider, prompt_check=prompt_check))
    kept, context = memory(), Context(agent)
    assert REFUSAL == (await run(agent, f"Build a {MARKER}", memory=kept, ctx=context)).answer
    assert "Gladly." == (await run(agent, "And a clock?", memory=kept, ctx=context)).answer
    ran = await run(agent, "Thank you", memory=kept)
    assert "Gladly." == ran.answer
    roles = [message["role"] for message in asked_of_the_model(provider) if message["role"] != "system"]
    turns = 1 if COPIES_MEMORY else 2
    assert [*["user", "assistant"] * turns, "user"] == roles
    assert all(message["content"] for message in asked_of_the_model(provider))
    assert MARKER not in ran.everything + repr(asked_of_the_model(provider))


@pytest.mark.parametrize("prompt_check", ["before", "parallel"])
async def test_history_that_is_new_to_the_guard_is_judged_and_replaced(
    provider: FakeProvider, tools: Tools, prompt_check: str
) -> None:
    scripted(provider, always=lambda _: "An answer.")
    history = [
        said("user", f"A {MARKER}, please"),
        said("assistant", "No."),
        said("user", "Who are you?"),
        said("assistant", f"I make a {MARKER}"),
    ]
    agent = function_agent(provider, [tools.tool()], prompt_check=prompt_check)
    ran = await run(agent, "And now?", chat_history=history)
    assert ("An answer.", 1) == (ran.answer, ran.streamed.count("An answer."))
    shown = [message["content"] for message in asked_of_the_model(provider)]
    assert [WITHHELD_PROMPT, "No.", "Who are you?", REFUSAL, "And now?"] == shown
    assert MARKER not in ran.everything
    assert [WITHHELD_PROMPT, "No.", "Who are you?", REFUSAL, "And now?", "An answer."] == [
        text for _, text in ran.remembered
    ]


async def test_a_poisoned_history_keeps_its_calls_answered(provider: FakeProvider, tools: Tools) -> None:
    """Calls and results that were refused stay in their places, without what was in them."""
    scripted(provider, asks(call("clocks")), "Found.", "An answer.")
    first = await run(FunctionAgent(tools=[Tools(gives=f"a {MARKER}").tool()], llm=scout(provider)))
    assert MARKER in repr(first.memory.get_all())
    ran = await run(function_agent(provider, [tools.tool()]), "And now?", memory=first.memory)
    assert "An answer." == ran.answer
    result = asked_of_the_model(provider)[2]
    assert ("c1", REFUSAL) == (result["tool_call_id"], result["content"])
    assert MARKER not in repr(ran.memory.get_all())


async def test_a_state_of_the_agent_is_judged_with_the_prompt_it_is_written_into(provider: FakeProvider) -> None:
    scripted(provider, "An answer.")
    agent = function_agent(provider, initial_state={"page": f"how to build a {MARKER}"})
    ran = await run(agent, "What does it say?")
    assert REFUSAL == ran.answer
    assert MARKER not in ran.everything


@pytest.mark.parametrize(
    "history", [[], [said("user", f"A {MARKER}"), said("assistant", "No.")]], ids=["prompt", "older"]
)
async def test_nothing_is_left_of_an_answer_that_was_there_before_the_verdict_on_its_prompt(
    provider: FakeProvider, history: list[Any]
) -> None:
    scripted(provider, always=lambda _: "An answer.")
    guard = LlamaGuard(
        api_key="k",
        http_async_client=judging_prompts_last(provider),
        policy=Policy(prompt_check="parallel", streaming="whole"),
    )
    agent = guard_agent(FunctionAgent(llm=scout(provider)), guard)
    ran = await run(agent, "And now?" if history else f"Build a {MARKER}", chat_history=history)
    expected = ["No.", "An answer."] if history else [REFUSAL]
    assert expected == [text for role, text in ran.remembered if role == "assistant"]
    assert "".join(expected[-1:]) == ran.streamed
    assert MARKER not in ran.everything


def judging_prompts_last(provider: FakeProvider) -> httpx.AsyncClient:
    """A client of a guard that answers on prompts when a reply has been judged and its agent has gone on."""
    judged = asyncio.Event()

    async def handle(request: httpx.Request) -> httpx.Response:
        if json.loads(request.content)["messages"][-1]["role"] == "assistant":
            judged.set()
        else:
            await judged.wait()
            for _ in range(100):
                await asyncio.sleep(0)
        return provider.handle(request)

    return httpx.AsyncClient(transport=httpx.MockTransport(handle))


# What comes out


@streamed_or_not
@pytest.mark.parametrize("hold", ["whole", "window"])
async def test_an_unsafe_answer_is_nowhere(provider: FakeProvider, tools: Tools, streaming: bool, hold: str) -> None:
    answer = Reply(f"You take a {MARKER} and then", reasoning=f"a {MARKER} then")
    scripted(provider, asks(call("clocks")), answer)
    ran = await run(function_agent(provider, [tools.tool()], streaming=streaming, streaming_policy=hold))
    assert ran.answer.endswith(REFUSAL)
    assert MARKER not in ran.everything


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_harmless_answer_is_streamed_and_thought_as_it_was(provider: FakeProvider, streaming: bool) -> None:
    scripted(provider, Reply("It is closed on Mondays.", reasoning="Let me think."))
    ran = await run(function_agent(provider, streaming=streaming))
    assert "It is closed on Mondays." == ran.answer
    assert ("It is closed on Mondays." if streaming else "") == ran.streamed


@needs_early_stopping
@streamed_or_not
async def test_the_answer_of_an_agent_that_went_on_too_long_is_judged(
    provider: FakeProvider, tools: Tools, streaming: bool
) -> None:
    scripted(provider, asks(call("clocks")), asks(call("dials", "c2")), f"Take a {MARKER}")
    agent = function_agent(provider, [tools.tool()], streaming=streaming, early_stopping_method="generate")
    ran = await run(agent, max_iterations=2)
    assert REFUSAL == ran.answer
    assert 3 == len(provider.requests_of("chat"))
    assert MARKER not in ran.everything


@streamed_or_not
async def test_a_result_that_is_the_answer_is_judged(provider: FakeProvider, streaming: bool) -> None:
    tools = Tools(gives=f"Take a {MARKER}")
    scripted(provider, asks(call("clocks")), "Nothing found.")
    ran = await run(function_agent(provider, [tools.tool(return_direct=True)], streaming=streaming))
    assert (["clocks"], "Nothing found.") == (tools.ran, ran.answer)
    assert MARKER not in ran.everything
    assert "tool" == asked_of_the_model(provider)[-1]["role"]


async def test_a_harmless_result_that_is_the_answer_ends_the_run(provider: FakeProvider, tools: Tools) -> None:
    scripted(provider, asks(call("clocks")))
    ran = await run(function_agent(provider, [tools.tool(return_direct=True)]))
    assert "Nothing of note." == ran.answer


async def test_a_refused_result_beside_others_leaves_no_call_unanswered(provider: FakeProvider) -> None:
    """LlamaIndex drops the results beside one that is returned directly, error or not."""
    tools, others = Tools(gives=f"a {MARKER}"), Tools()
    other = FunctionTool.from_defaults(others.search, name="look")
    scripted(provider, asks(call("clocks", "c1"), call("dials", "c2", name="look")), "Done.")
    ran = await run(function_agent(provider, [tools.tool(return_direct=True), other]))
    assert "Done." == ran.answer
    answered = [message["tool_call_id"] for message in asked_of_the_model(provider) if message["role"] == "tool"]
    assert ["c1", "c2"] == answered


class Clock(BaseModel):
    name: str


@pytest.mark.filterwarnings("ignore:There was a problem with the generation of the structured output")
@pytest.mark.parametrize(("name", "expected"), [("night clock", {"name": "night clock"}), (MARKER, None)])
async def test_a_structured_answer_is_judged(provider: FakeProvider, name: str, expected: Any) -> None:
    def answer(received: Any) -> Any:
        is_structured = received.body.get("tool_choice") == "required"
        return asks(ToolCall("Clock", f'{{"name": "{name}"}}')) if is_structured else Reply("A clock.")

    scripted(provider, always=answer)
    ran = await run(function_agent(provider, output_cls=Clock))
    assert ("A clock.", expected) == (ran.answer, ran.result.structured_response)
    assert MARKER not in ran.everything


@pytest.mark.parametrize("fails", [False, True])
async def test_a_structured_answer_of_a_function_of_yours_is_judged(provider: FakeProvider, fails: bool) -> None:
    async def structured(messages: Any) -> dict[str, Any]:
        if fails:
            raise ValueError(MARKER)
        return {"name": MARKER}

    scripted(provider, "A clock.")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ran = await run(function_agent(provider, structured_output_fn=structured))
    assert ("A clock.", None) == (ran.answer, ran.result.structured_response)
    assert MARKER not in ran.everything + repr([str(warning.message) for warning in caught])


# Agents that ask for tools in their text


@streamed_or_not
async def test_a_refused_action_ends_a_react_agents_run_with_the_refusal(
    provider: FakeProvider, tools: Tools, streaming: bool
) -> None:
    scripted(provider, acts("clocks"), acts(MARKER))
    ran = await run(react_agent(provider, [tools.tool()], streaming=streaming))
    assert ["clocks"] == tools.ran
    assert ran.answer.endswith(REFUSAL)
    assert MARKER not in ran.everything


@pytest.mark.parametrize("text", ["Thought: I know.\nAnswer: Take a ", "Thought: Now I will take a ", "Take a "])
@streamed_or_not
@pytest.mark.parametrize("hold", ["whole", "window"])
async def test_however_a_react_agents_reply_was_cut_the_refusal_is_its_answer(
    provider: FakeProvider, text: str, streaming: bool, hold: str
) -> None:
    """What was shown of it before may be half a thought, which LlamaIndex would ask the model to mend."""
    lead = "All is well. It was a long day. " * 4
    scripted(provider, text.replace("a ", lead) + MARKER)
    ran = await run(react_agent(provider, streaming=streaming, streaming_policy=hold))
    assert ran.answer.endswith(REFUSAL)
    assert 1 == len(provider.requests_of("chat"))
    assert MARKER not in ran.everything


async def test_a_refusal_in_words_that_look_like_an_action_is_an_answer_all_the_same(provider: FakeProvider) -> None:
    refusal = "Recommended Action: talk to somebody. Thought: we care."
    scripted(provider, f"Take a {MARKER}")
    assert refusal == (await run(react_agent(provider, refusal=refusal))).answer


@streamed_or_not
async def test_a_react_agents_unsafe_result_is_not_read(provider: FakeProvider, streaming: bool) -> None:
    tools = Tools(gives=f"a {MARKER}")
    scripted(provider, acts("clocks"), "Thought: nothing.\nAnswer: Nothing found.")
    ran = await run(react_agent(provider, [tools.tool()], streaming=streaming))
    assert (["clocks"], "Nothing found.") == (tools.ran, ran.answer)
    assert MARKER not in ran.everything
    assert f"Observation: {REFUSAL}" == asked_of_the_model(provider)[-1]["content"]


@streamed_or_not
async def test_code_is_judged_before_it_is_executed(provider: FakeProvider, streaming: bool) -> None:
    tools = Tools(gives="3")
    scripted(provider, "<execute>print(1 + 2)</execute>", f"<execute>build('{MARKER}')</execute>")
    ran = await run(code_agent(provider, tools.execute, streaming=streaming))
    assert ["print(1 + 2)"] == tools.ran
    assert ran.answer.endswith(REFUSAL)
    assert MARKER not in ran.everything


@streamed_or_not
async def test_what_code_prints_is_judged_before_it_is_read(provider: FakeProvider, streaming: bool) -> None:
    tools = Tools(gives=f"a {MARKER}")
    scripted(provider, "<execute>print(1 + 2)</execute>", "Nothing.")

    async def execute(code: str) -> str:
        return tools.execute(code)

    ran = await run(code_agent(provider, execute, streaming=streaming))
    assert (["print(1 + 2)"], "Nothing.") == (tools.ran, ran.answer)
    assert MARKER not in ran.everything


async def test_an_agent_whose_code_may_use_functions_describes_them(provider: FakeProvider, tools: Tools) -> None:
    scripted(provider, "Done.")
    await run(code_agent(provider, tools.execute, tools=[tools.tool()]))
    assert "def search(query" in asked_of_the_model(provider)[0]["content"]


async def test_a_model_without_functions_serves_a_code_agent_under_guard(provider: FakeProvider) -> None:
    agent = CodeActAgent(code_execute_fn=Tools().execute, llm=MockLLM(max_tokens=2), streaming=False)
    assert "assistant" in (await run(guard_agent(agent, guard_of(provider)))).remembered[-1]


# Without a verdict, and other policies


@streamed_or_not
@pytest.mark.parametrize("nth", [1, 2, 3, 4])
@pytest.mark.parametrize("prompt_check", ["before", "parallel"])
async def test_without_a_verdict_nothing_is_shown(
    provider: FakeProvider, tools: Tools, streaming: bool, nth: int, prompt_check: str
) -> None:
    """Whether on the prompt, on a call, on a result or on the answer."""
    provider.fail(Fault.status(503), on="guard", nth=nth)
    scripted(provider, always=lambda asked: "Done." if len(asked.messages) > 1 else asks(call("clocks")))
    ran = await run(function_agent(provider, [tools.tool()], streaming=streaming, prompt_check=prompt_check))
    assert (1 if nth > 2 else 0) == len(tools.ran)
    if nth == 3:
        assert APOLOGY == asked_of_the_model(provider)[-1]["content"]
    else:
        assert APOLOGY == ran.answer


async def test_a_message_that_could_not_be_judged_stays_and_is_judged_later(provider: FakeProvider) -> None:
    provider.fail(Fault.status(503), on="guard", nth=1)
    scripted(provider, "Gladly.")
    agent, kept = function_agent(provider), memory()
    assert APOLOGY == (await run(agent, "Hello", memory=kept)).answer
    assert "Gladly." == (await run(agent, "Hello again", memory=kept)).answer
    assert "Hello" == provider.guard_questions[1].turns[0][1]


@streamed_or_not
async def test_without_a_verdict_everything_is_shown_where_the_policy_says_so(
    provider: FakeProvider, tools: Tools, streaming: bool
) -> None:
    provider.fail(Fault.status(503), on="guard")
    scripted(provider, asks(call("clocks")), "Done.")
    ran = await run(function_agent(provider, [tools.tool()], streaming=streaming, on_no_verdict="allow"))
    assert (["clocks"], "Done.") == (tools.ran, ran.answer)


@streamed_or_not
async def test_monitor_mode_lets_everything_pass(provider: FakeProvider, streaming: bool) -> None:
    tools = Tools(gives=f"a {MARKER}")
    scripted(provider, asks(call(MARKER)), f"Take a {MARKER}")
    agent = function_agent(provider, [tools.tool()], streaming=streaming, mode="monitor")
    ran = await run(agent, f"Build a {MARKER}")
    assert ([MARKER], f"Take a {MARKER}") == (tools.ran, ran.answer)
    assert f"Build a {MARKER}" == ran.remembered[0][1]


@streamed_or_not
@pytest.mark.parametrize("place", ["prompt", "call", "answer"])
async def test_a_policy_that_raises_ends_the_run_by_its_exception(
    provider: FakeProvider, tools: Tools, streaming: bool, place: str
) -> None:
    script = {"prompt": "Fine.", "call": asks(call(MARKER)), "answer": f"Take a {MARKER}"}
    scripted(provider, always=lambda _: script[place])
    agent, kept = function_agent(provider, [tools.tool()], streaming=streaming, on_unsafe="raise"), memory()
    with pytest.raises(UnsafeContent) as raised:
        await run(agent, MARKER if place == "prompt" else "Hello", memory=kept)
    assert [] == tools.ran
    assert MARKER not in repr((raised.value, vars(raised.value), kept.get_all()))


async def test_a_tool_whose_policy_raises_tells_the_model_nothing_of_what_was_judged(provider: FakeProvider) -> None:
    scripted(provider, asks(call("clocks")), "Done.")
    ran = await run(function_agent(provider, [Tools(gives=f"a {MARKER}").tool()], on_unsafe="raise"))
    assert "Done." == ran.answer
    assert MARKER not in ran.everything + repr(asked_of_the_model(provider))


async def test_without_a_verdict_a_policy_may_raise(provider: FakeProvider) -> None:
    provider.fail(Fault.status(503), on="guard")
    with pytest.raises(GuardUnavailable):
        await run(function_agent(provider, on_no_verdict="raise"))


@streamed_or_not
@pytest.mark.parametrize("stage", ["prompt", "reply", "tool_call", "tool_result"])
async def test_a_stage_that_the_policy_leaves_out_is_not_refused(
    provider: FakeProvider, streaming: bool, stage: str
) -> None:
    unsafe = {each: MARKER if each == stage else "fine" for each in ("prompt", "reply", "tool_call", "tool_result")}
    tools = Tools(gives=unsafe["tool_result"])
    scripted(provider, asks(call(unsafe["tool_call"])), unsafe["reply"])
    stages = {"prompt", "reply", "tool_call", "tool_result"} - {stage}
    ran = await run(function_agent(provider, [tools.tool()], streaming=streaming, stages=stages), unsafe["prompt"])
    assert ([unsafe["tool_call"]], unsafe["reply"]) == (tools.ran, ran.answer)


# How often is asked


@streamed_or_not
@pytest.mark.parametrize("prompt_check", ["before", "parallel"])
async def test_ten_steps_cost_one_question_for_each_new_message(
    provider: FakeProvider, tools: Tools, streaming: bool, prompt_check: str
) -> None:
    scripted(provider, *(asks(call(f"clock {at}", f"c{at}")) for at in range(9)), "Done.")
    ran = await run(function_agent(provider, [tools.tool()], streaming=streaming, prompt_check=prompt_check))
    assert (9, "Done.") == (len(tools.ran), ran.answer)
    assert 1 + 9 * 2 + 1 == len(ran.memory.get_all()) == len(provider.guard_questions)


async def test_so_do_parallel_calls(provider: FakeProvider) -> None:
    tools = Tools(gives=lambda query: f"{query} is old")
    scripted(provider, asks(*(call(f"clock {at}", f"c{at}") for at in range(3))), "Done.")
    ran = await run(function_agent(provider, [tools.tool()]))
    assert 3 == len(tools.ran)
    assert 1 + 1 + 3 + 1 == len(ran.memory.get_all()) == len(provider.guard_questions)


@pytest.mark.parametrize("same_context", [True, False])
async def test_later_turns_cost_what_is_new_in_them(provider: FakeProvider, tools: Tools, same_context: bool) -> None:
    if same_context and COPIES_MEMORY:
        pytest.skip("this version's contexts keep a copy of the memory")
    script = (asks(call("clocks", "c1")), "Done.", asks(call("dials", "c2")), "Done again.")
    scripted(provider, *script)
    agent, kept = function_agent(provider, [tools.tool()]), memory()
    how = {"ctx": Context(agent)} if same_context else {}
    await run(agent, "Clocks?", memory=kept, **how)
    await run(agent, "Dials?", memory=kept, **how)
    assert 8 == len(kept.get_all()) == len(provider.guard_questions)


async def test_what_was_judged_in_a_context_is_not_asked_about_again(provider: FakeProvider) -> None:
    """A reply is asked about once more, as a part of the history; without the guard's cache, to see it."""
    scripted(provider, always=lambda _: "Gladly.")
    policy = Policy(streaming="whole")
    guard = LlamaGuard(api_key="k", http_async_client=provider.async_client(), policy=policy, cache=False)
    agent, kept = guard_agent(FunctionAgent(llm=scout(provider)), guard), memory()
    context = Context(agent)
    for asked in (2, 2 + 3, 2 + 3 + 3):
        await run(agent, "And now?", memory=kept, ctx=context)
        assert asked == len(provider.guard_questions)


async def test_what_the_policy_says_itself_is_not_judged() -> None:
    """It might be unsafe to the guard, and would be refused again."""
    provider = FakeProvider(guard={MARKER: "S9", "hurt yourself": "S11"})
    refusal = "Please do not hurt yourself."
    scripted(provider, asks(call(MARKER)), "Done.", "Gladly.")
    agent, kept = function_agent(provider, [Tools().tool()], refusal=refusal), memory()
    assert "Done." == (await run(agent, memory=kept)).answer
    assert "Gladly." == (await run(agent, "And now?", memory=kept)).answer
    assert refusal in repr(asked_of_the_model(provider))
    assert [] == [question for question in provider.guard_questions if refusal in question.text]


async def test_a_react_agent_asks_once_about_each_reply_and_each_result(provider: FakeProvider, tools: Tools) -> None:
    answer = "Thought: I can answer without using any more tools.\nAnswer: Done."
    scripted(provider, *(acts(f"clock {at}") for at in range(3)), answer)
    ran = await run(react_agent(provider, [tools.tool()], streaming_policy="whole"))
    assert (3, "Done.") == (len(tools.ran), ran.answer)
    assert 1 + 3 * 2 + 1 == len(provider.guard_questions)


async def test_a_code_agent_asks_once_about_each_reply_and_each_result(provider: FakeProvider, tools: Tools) -> None:
    scripted(provider, *(f"<execute>print({at})</execute>" for at in range(3)), "Done.")
    await run(code_agent(provider, tools.execute))
    assert 3 == len(tools.ran)
    assert 1 + 3 * 2 + 1 == len(provider.guard_questions)


async def test_a_call_is_judged_as_the_assistants_act_in_its_conversation(provider: FakeProvider, tools: Tools) -> None:
    """Also by tools that were guarded by hand, in an agent that is not."""
    safe = guarded(tools.tool(), guard_of(provider))
    scripted(provider, asks(call("clocks")), "Done.")
    await run(FunctionAgent(tools=[safe], llm=scout(provider)), "Which clocks?")
    called, result = provider.guard_questions
    assert (
        ("user", "Which clocks?"),
        ("assistant", 'Call of the tool search with {"query": "clocks"}'),
    ) == called.turns
    assert (*called.turns, ("user", "Result of a tool:\nNothing of note.")) == result.turns


@pytest.mark.parametrize("kind", ["guarded", "wrapped"])
async def test_a_model_that_is_guarded_already_serves_as_well(provider: FakeProvider, tools: Tools, kind: str) -> None:
    guard = guard_of(provider)
    scripted(provider, asks(call(MARKER, "c1"), call("clocks", "c2")), "Done.")
    llm = scout(provider, "guarded") if kind == "guarded" else GuardedLLM(scout(provider), guard)
    llm = llm.model_copy(update={"guard": guard})
    ran = await run(guard_agent(FunctionAgent(tools=[tools.tool()], llm=llm), guard))
    assert (["clocks"], "Done.") == (tools.ran, ran.answer)
