"""Hostile arguments, results and exceptions of tools, in both halves and the core: judged or refused, never run unread."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from fake_provider import FakeProvider
from langchain_core.tools import StructuredTool
from llama_index.core.tools import FunctionTool

import langchain_llama_guard.tools
import llamaindex_llama_guard
from hostile_text.counting import Row, cases_of
from hostile_text.junk import deep
from hostile_text.marked import Fails
from llama_guard_core import LlamaGuard
from llama_guard_core.errors import LlamaGuardError
from llama_guard_core.messages import ToolCall, assistant, user

MARK = "zq0qz"
"""Stands in every value, so that it can be seen whether the guard was asked about it."""


class ToolFailed(Exception):
    """What the tools of these tests raise."""


def hostile_values(chance: random.Random) -> dict[str, Any]:
    """One of each kind: nested, huge, holding itself, and what JSON has no form for."""
    ring: dict[str, Any] = {"q": MARK}
    ring["again"] = ring
    loop: list[Any] = [MARK]
    loop.append({"in": [loop]})
    near = chance.randint(200, 1100)
    return {
        "a dict in itself": ring,
        "a list in itself": loop,
        "100,000 levels": [MARK, deep(100_000)],
        "as many levels as Python reads": [MARK, deep(near)],
        "megabytes": MARK + "a" * 3_000_000,
        "a hundred thousand items": [MARK, *range(100_000)],
        "not a number": [MARK, float("nan"), float("-inf")],
        "a huge number": [MARK, 10**5000],
        "a set": {MARK},
        "bytes": MARK.encode(),
        "a date": [MARK, dt.datetime(2026, 11, 27, tzinfo=dt.timezone.utc)],
        "an object whose str fails": [MARK, Fails()],
        "keys that are no text": {("a", 1): MARK, None: 1, 2: 3},
        "a key whose str fails": {Fails(): MARK},
        "half a character and NUL": f"\x00\ud83d{MARK}",
        "controls": f"\x1b[2J{MARK}\u202e",
        "an object": [MARK, object(), MARK.encode],
    }


Use = Callable[[Any, LlamaGuard, list[Any]], Awaitable[Any]]
"""Uses a tool with a value: as an argument, a result or an exception; notes in a list that the tool ran."""


def rows(seed: int, cases: int) -> list[Row]:
    """Each way to use a tool with each kind of value, so many times with other depths."""
    logging.getLogger("llama_guard_core").addHandler(logging.NullHandler())  # what was refused is in the table
    return [asyncio.run(_used(name, use, seed, cases)) for name, use in WAYS.items()]


async def _used(name: str, use: Use, seed: int, cases: int) -> Row:
    row = Row(name)
    for chance, _ in cases_of(name, seed, cases):
        for kind, value in hostile_values(chance).items():
            provider, ran = FakeProvider(), []
            clients = {"http_client": provider.client(), "http_async_client": provider.async_client()}
            guard = LlamaGuard(api_key="sk-or-v1-hostile", max_retries=0, **clients)
            with row.case(kind, typed=(LlamaGuardError,)):
                shown = await _shown(use, value, guard, ran)
                row.outcomes["judged" if name.startswith("core") else "ran" if ran else "refused"] += 1
                asked = "\n".join(question.text for question in provider.guard_questions)
                if MARK in shown and MARK not in asked:
                    row.wrong("ran unjudged", (kind, "was shown"))
            if (
                ran
                and not any(MARK in str(question.text) for question in provider.guard_questions)
                and "argument" in name
            ):
                row.wrong("ran unjudged", kind)
            for problem in provider.violations:
                row.wrong("crashes", (kind, problem))
    return row


async def _shown(use: Use, value: Any, guard: LlamaGuard, ran: list[Any]) -> str:
    try:
        output = await use(value, guard, ran)
    except ToolFailed as error:  # by design, after it was judged
        return str(error)
    return str(getattr(output, "content", output))


def taking(ran: list[Any]) -> Callable[..., str]:
    """A tool's function, which notes what it was run with."""

    def work(x: Any = None) -> str:
        """Work."""
        ran.append(x)
        return "done"

    return work


def _giving(value: Any, ran: list[Any]) -> Callable[..., Any]:
    def work() -> Any:
        """Work."""
        ran.append(value)
        return value

    return work


def _raising(value: Any, ran: list[Any]) -> Callable[..., Any]:
    def work() -> Any:
        """Work."""
        ran.append(value)
        raise ToolFailed(value)

    return work


def _langchain(work: Callable[..., Any], guard: LlamaGuard) -> Any:
    return langchain_llama_guard.tools.guard_tools([StructuredTool.from_function(work, name="work")], guard)[0]


def _llamaindex(work: Callable[..., Any], guard: LlamaGuard) -> Any:
    return llamaindex_llama_guard.guard_tools([FunctionTool.from_defaults(work, name="work")], guard)[0]


async def _langchain_argument(value: Any, guard: LlamaGuard, ran: list[Any]) -> Any:
    return _langchain(taking(ran), guard).invoke({"x": value})


async def _langchain_argument_async(value: Any, guard: LlamaGuard, ran: list[Any]) -> Any:
    return await _langchain(taking(ran), guard).ainvoke(_call({"x": value}))


async def _langchain_result(value: Any, guard: LlamaGuard, ran: list[Any]) -> Any:
    return _langchain(_giving(value, ran), guard).invoke(_call({}))


async def _langchain_result_async(value: Any, guard: LlamaGuard, ran: list[Any]) -> Any:
    return await _langchain(_giving(value, ran), guard).ainvoke(_call({}))


async def _langchain_exception(value: Any, guard: LlamaGuard, ran: list[Any]) -> Any:
    return _langchain(_raising(value, ran), guard).invoke(_call({}))


async def _llamaindex_argument(value: Any, guard: LlamaGuard, ran: list[Any]) -> Any:
    return _llamaindex(taking(ran), guard)(x=value)


async def _llamaindex_argument_async(value: Any, guard: LlamaGuard, ran: list[Any]) -> Any:
    return await _llamaindex(taking(ran), guard).acall(x=value)


async def _llamaindex_result(value: Any, guard: LlamaGuard, ran: list[Any]) -> Any:
    return _llamaindex(_giving(value, ran), guard)()


async def _llamaindex_result_async(value: Any, guard: LlamaGuard, ran: list[Any]) -> Any:
    return await _llamaindex(_giving(value, ran), guard).acall()


async def _llamaindex_exception(value: Any, guard: LlamaGuard, ran: list[Any]) -> Any:
    return _llamaindex(_raising(value, ran), guard)()


async def _core_dicts(value: Any, guard: LlamaGuard, ran: list[Any]) -> Any:
    """Dicts as OpenAI has them, with the value in each place that takes any."""
    call = {"id": value, "function": {"name": "work", "arguments": value}}
    for said in _chats(value, call):
        with contextlib.suppress(LlamaGuardError):
            await guard.acheck(said)
    return guard.check([{"role": "user", "content": "Hi"}, {"role": "assistant", "tool_calls": [call]}])


def _chats(value: Any, call: Any) -> Iterator[Any]:
    yield [{"role": value, "content": "Hi"}]
    yield [{"role": "user", "content": value}]
    yield [{"role": "user", "content": [value, {"type": value}, {"type": "text", "text": value}]}]
    yield [{"role": "assistant", "content": None, "tool_calls": value}]
    yield [{"role": "assistant", "content": "", "tool_calls": [value, call]}]
    yield value
    yield [value]


async def _core_text(value: Any, guard: LlamaGuard, ran: list[Any]) -> Any:
    """A call whose arguments are the text a model wrote."""
    arguments = value if isinstance(value, str) else '{"a":' * 100_000 + f'"{MARK}"'
    return guard.check((user("Hi"), assistant("", (ToolCall("c1", "work", arguments),))))


def _call(arguments: dict[str, Any]) -> dict[str, Any]:
    return {"type": "tool_call", "id": "c1", "name": "work", "args": arguments}


WAYS: dict[str, Use] = {
    "LangChain tool, argument": _langchain_argument,
    "LangChain tool, argument, async": _langchain_argument_async,
    "LangChain tool, result": _langchain_result,
    "LangChain tool, result, async": _langchain_result_async,
    "LangChain tool, exception": _langchain_exception,
    "LlamaIndex tool, argument": _llamaindex_argument,
    "LlamaIndex tool, argument, async": _llamaindex_argument_async,
    "LlamaIndex tool, result": _llamaindex_result,
    "LlamaIndex tool, result, async": _llamaindex_result_async,
    "LlamaIndex tool, exception": _llamaindex_exception,
    "core, dicts": _core_dicts,
    "core, call in text": _core_text,
}
