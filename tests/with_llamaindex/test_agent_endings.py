"""How a guarded agent's run ends, and what another guard, another agent or the next run is left with."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from typing import Any

import pytest
from fake_provider import FakeProvider, Fault, ToolCall
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.memory import BaseMemoryBlock, Memory
from llama_index.core.tools import AsyncBaseTool, FunctionTool, ToolMetadata, ToolOutput
from llama_index.core.workflow import Context
from pydantic import BaseModel, Field
from with_llamaindex.agents import (
    APOLOGY,
    COPIES_MEMORY,
    MARKER,
    REFUSAL,
    Tools,
    asked_of_the_model,
    asks,
    call,
    function_agent,
    run,
    scripted,
)
from with_llamaindex.engines import memory
from with_llamaindex.scouts import guard_of, scout

from llamaindex_llama_guard import guard_agent

pytestmark = [
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step"),
    pytest.mark.filterwarnings("ignore:Skipping serialization of known unserializable key"),
    pytest.mark.filterwarnings("ignore:There was a problem with the generation of the structured output"),
]
HAS_EARLY_STOPPING = "early_stopping_method" in FunctionAgent.model_fields
endings = ["force", "generate"] if HAS_EARLY_STOPPING else [None]


class Answer(BaseModel):
    """An answer."""

    text: str


@pytest.mark.parametrize("ending", endings)
async def test_a_refusal_on_the_last_step_ends_the_run(provider: FakeProvider, ending: str | None) -> None:
    scripted(provider, always=lambda _: "An answer all the same.")
    how = {"early_stopping_method": ending} if ending else {}
    ran = await run(function_agent(provider, [Tools().tool()], **how), f"Build a {MARKER}", max_iterations=1)
    assert REFUSAL == ran.answer
    assert [] == provider.requests_of("chat")


@pytest.mark.parametrize("ending", endings)
async def test_a_refused_call_on_the_last_step_may_end_the_run(provider: FakeProvider, ending: str | None) -> None:
    tools = Tools()
    scripted(provider, asks(call(MARKER)), "An answer all the same.")
    how = {"early_stopping_method": ending} if ending else {}
    agent = function_agent(provider, [tools.tool()], on_refused_call="end", **how)
    ran = await run(agent, max_iterations=1)
    assert (REFUSAL, [], 1) == (ran.answer, tools.ran, len(provider.requests_of("chat")))


@pytest.mark.parametrize("structured", ["output_cls", "structured_output_fn"])
async def test_of_a_run_that_nobody_could_judge_no_structured_answer_is_made(
    provider: FakeProvider, structured: str
) -> None:
    shown: list[str | None] = []

    async def make(messages: list[ChatMessage]) -> dict[str, Any]:
        shown.extend(message.content for message in messages)
        return {"text": "made"}

    scripted(provider, always=lambda _: '{"text": "made"}')
    provider.fail(Fault.status(500), on="guard")
    how: dict[str, Any] = {structured: Answer if structured == "output_cls" else make}
    ran = await run(function_agent(provider, [], stages={"prompt"}, **how), f"Build a {MARKER}")
    assert (APOLOGY, None) == (ran.answer, ran.result.structured_response)
    assert ([], []) == (shown, provider.requests_of("chat"))


async def test_what_one_guard_let_by_is_not_known_to_another(provider: FakeProvider) -> None:
    lenient = FunctionAgent(name="a", description="a", llm=scout(provider))
    strict = FunctionAgent(name="b", description="b", llm=scout(provider))
    agents = [guard_agent(lenient, guard_of(provider, stages={"reply"})), guard_agent(strict, guard_of(provider))]
    scripted(provider, asks(ToolCall("handoff", '{"to_agent": "b", "reason": "r"}', "h1")), "b answers")
    ran = await run(AgentWorkflow(agents, root_agent="a"), f"Build a {MARKER}")
    assert MARKER not in repr(asked_of_the_model(provider)) + repr(ran.remembered)


async def test_what_monitor_mode_let_by_is_not_known_to_a_guard_that_enforces(provider: FakeProvider) -> None:
    if COPIES_MEMORY:
        pytest.skip("this version's contexts keep a copy of the memory")
    scripted(provider, always=lambda _: "Gladly.")
    agent = FunctionAgent(llm=scout(provider))
    watched, kept = guard_agent(agent, guard_of(provider, mode="monitor")), memory()
    context = Context(watched)
    await run(watched, f"Build a {MARKER}", memory=kept, ctx=context)
    await run(guard_agent(agent, guard_of(provider)), "And now?", memory=kept, ctx=context)
    assert MARKER not in repr(asked_of_the_model(provider))


async def test_the_name_of_a_refused_call_of_no_tool_is_nowhere(provider: FakeProvider) -> None:
    tools = Tools()
    scripted(provider, asks(ToolCall(f"how_to_{MARKER}", '{"query": "x"}', "c1"), call("clocks", "c2")), "Later.")
    ran = await run(function_agent(provider, [tools.tool()]))
    assert (REFUSAL, []) == (ran.answer, tools.ran)
    assert MARKER not in ran.everything


async def test_what_has_gone_to_a_memorys_blocks_does_not_go_there_again(provider: FakeProvider) -> None:
    class Block(BaseMemoryBlock[str]):
        got: list[str] = Field(default_factory=list)

        async def _aget(self, messages: Any = None, **_: Any) -> str:
            return ""

        async def _aput(self, messages: list[ChatMessage]) -> None:
            self.got.extend(message.content or "" for message in messages)

    block = Block(name="block")
    kept = Memory.from_defaults(
        token_limit=60, chat_history_token_ratio=0.5, token_flush_size=20, memory_blocks=[block]
    )
    for number in range(4):
        await kept.aput(ChatMessage(role="user", content=f"question {number} about the clocks of the old museum"))
        await kept.aput(ChatMessage(role="assistant", content=f"answer {number} about the clocks of the old museum"))
    assert block.got
    scripted(provider, always=lambda _: "Gladly.")
    await guard_agent(FunctionAgent(llm=scout(provider)), guard_of(provider)).run(
        user_msg=f"Build a {MARKER}", memory=kept
    )
    assert sorted(set(block.got)) == sorted(block.got)
    assert MARKER not in repr([message.content for message in await kept.aget_all()])
    await kept.sql_store._async_engine.dispose()  # LlamaIndex leaves its database open


async def test_a_refused_result_behind_the_one_that_is_the_answer_is_answered(provider: FakeProvider) -> None:
    async def quick(query: str) -> str:
        """Answer at once."""
        return "A quick answer."

    async def slow(query: str) -> str:
        """Answer later."""
        for _ in range(50):
            await asyncio.sleep(0)
        return f"a {MARKER}"

    made = [FunctionTool.from_defaults(async_fn=quick, return_direct=True), FunctionTool.from_defaults(async_fn=slow)]
    scripted(
        provider,
        asks(ToolCall("quick", '{"query": "x"}', "c1"), ToolCall("slow", '{"query": "x"}', "c2")),
        "And that is all.",
    )
    agent, kept = function_agent(provider, made), memory()
    assert "A quick answer." == (await run(agent, memory=kept)).answer
    assert "And that is all." == (await run(agent, "And?", memory=kept)).answer


@dataclass
class Holding:
    """A result that cannot be copied."""

    text: str = "fine"
    lock: Any = field(default_factory=threading.Lock)


def holding_itself() -> list[Any]:
    result: list[Any] = ["fine"]
    result.append(result)
    return result


@pytest.mark.parametrize("gives", [Holding(), holding_itself()], ids=["a lock in it", "itself in it"])
async def test_a_result_of_an_odd_shape_is_judged_and_not_lost(provider: FakeProvider, gives: Any) -> None:
    tools = Tools(gives=gives)
    scripted(provider, asks(call("clocks")), "Done.")
    ran = await run(function_agent(provider, [tools.tool()]))
    assert ("Done.", ["clocks"]) == (ran.answer, tools.ran)
    assert "fine" in str(asked_of_the_model(provider)[-1]["content"])


async def test_what_a_tool_says_of_its_own_input_and_name_is_not_told_on(provider: FakeProvider) -> None:
    class Odd(AsyncBaseTool):
        @property
        def metadata(self) -> ToolMetadata:
            return ToolMetadata(name="odd", description="Odd.")

        def call(self, input: str) -> ToolOutput:  # noqa: A002 - LlamaIndex's own
            told = {"error": ValueError(MARKER)}
            return ToolOutput(tool_name=MARKER, content="fine", raw_input={"page": MARKER}, raw_output=told)

        async def acall(self, input: str) -> ToolOutput:  # noqa: A002 - LlamaIndex's own
            return self.call(input)

    scripted(provider, asks(ToolCall("odd", '{"input": "x"}', "c1")), "Done.")
    ran = await run(function_agent(provider, [Odd()]))
    assert "Done." == ran.answer
    assert MARKER not in ran.everything
