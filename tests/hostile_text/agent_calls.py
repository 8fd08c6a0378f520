"""Calls that a model writes in a guarded agent, nested as deeply as JSON goes: they run judged, or do not run."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from fake_provider import FakeProvider, Reply, ToolCall
from langchain_core.tools import StructuredTool
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.tools import FunctionTool
from with_langchain.guarded_agents import CONFIG, Bench, asks
from with_llamaindex.scouts import guard_of, scout

from hostile_text.counting import Row, cases_of
from hostile_text.tool_values import MARK, taking
from llama_guard_core.errors import LlamaGuardError
from llama_guard_core.written import written
from llamaindex_llama_guard import guard_agent

_DEPTHS = (3, 180, 220, 300, 450, 700, 850, 900, 930, 950, 970, 985, 1000, 2000, 100_000)


def rows(seed: int, cases: int) -> list[Row]:
    """LangChain's agent and LlamaIndex's, sync and async, so many times with other depths."""
    return [asyncio.run(_langchain(seed, cases)), asyncio.run(_llamaindex(seed, cases))]


def _arguments(seed: int, name: str, cases: int) -> list[str]:
    """Calls' arguments: nested by lists, by objects or by both, whole or cut; some hold what no JSON has."""
    written = []
    for chance, _ in cases_of(name, seed, cases):
        for depth in (*_DEPTHS, *(chance.randint(150, 1000) for _ in range(5))):
            opening, closing = chance.choice([("[", "]"), ('{"a":', "}")])
            inner = f'{opening * depth}"{MARK}"{closing * depth}'
            written.append(f'{{"x": {inner}}}')
        written += [f'{{"x": [NaN, "{MARK}"]}}', f'{{"x": "{MARK}" , "x": 1}}', f'["{MARK}"]', f'{{"x": "{MARK}', MARK]
        written += [json.dumps({"x": MARK + "a" * 1_000_000}), json.dumps({"x": f"\ud83d\x00\x1b[2J{MARK}"})]
    return written


async def _langchain(seed: int, cases: int) -> Row:
    row = Row("LangChain agent, call of a model")
    for number, arguments in enumerate(_arguments(seed, row.name, cases)):
        bench = Bench([Reply("", (ToolCall("work", arguments, "c1"),)), *["Done."] * 3])
        ran: list[Any] = []
        tool = StructuredTool.from_function(taking(ran), name="work", args_schema=_SCHEMA)
        agent = bench.agent(
            tools=[tool], checkpointer=None
        )  # LangGraph's own cannot store what is nested some 300 deep
        with row.case(arguments[:80], typed=(LlamaGuardError,)):
            await agent.ainvoke(asks("Hi"), CONFIG) if number % 2 else agent.invoke(asks("Hi"), CONFIG)
            row.outcomes["ran" if ran else "refused"] += 1
        _check(row, bench.provider, ran, arguments)
    return row


_SCHEMA = {"type": "object", "properties": {"x": {}}, "title": "work", "description": "Work."}


async def _llamaindex(seed: int, cases: int) -> Row:
    row = Row("LlamaIndex agent, call of a model")
    for arguments in _arguments(seed, row.name, cases):
        provider = FakeProvider(chat=[Reply("", (ToolCall("work", arguments, "c1"),)), *["Done."] * 3])
        ran: list[Any] = []
        tool = FunctionTool.from_defaults(taking(ran), name="work")
        agent = guard_agent(FunctionAgent(tools=[tool], llm=scout(provider), streaming=False), guard_of(provider))
        with row.case(arguments[:80], typed=(LlamaGuardError,)):
            await agent.run(user_msg="Hi")
            row.outcomes["ran" if ran else "refused"] += 1
        _check(row, provider, ran, arguments)
    return row


def _check(row: Row, provider: FakeProvider, ran: list[Any], arguments: str) -> None:
    asked = "\n".join(question.text for question in provider.guard_questions)
    if ran and MARK in written(ran) and MARK not in asked:
        row.wrong("ran unjudged", arguments[:80])
