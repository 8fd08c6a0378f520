"""What the LangChain half makes, and what LangChain tells of it: traces, events, serialised chains, its cache."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import Callable, Iterator
from typing import Any

from langchain.agents import create_agent
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_debug
from langchain_core.load import dumpd, dumps
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler

from key_hunt.core_things import RAISING, Settings, quick
from key_hunt.keys import KEY
from langchain_llama_guard import ChatLlamaScout, LlamaGuard, LlamaGuardMiddleware, guarded

PROMPT = ChatPromptTemplate.from_messages([("system", "Be brief."), ("user", "{question}")])
QUESTION = "What is the capital of France?"


def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"Rain in {city}."


def used_things(settings: Settings) -> dict[str, Any]:
    """Everything that has the key, after calls that went well."""
    guard = LlamaGuard(**settings, max_retries=0)
    model = ChatLlamaScout(**settings, max_retries=0)
    changed = {name: settings[name] for name in ("api_key", "default_headers") if name in settings}
    elsewhere = {name: value for name, value in settings.items() if name not in changed}
    things = {
        "ChatLlamaScout": model,
        "ChatLlamaScout(guard=)": ChatLlamaScout(**settings, guard=guard, max_retries=0),
        "ChatLlamaScout.model_copy(update=)": ChatLlamaScout(**elsewhere).model_copy(update=changed),
        "guarded(model)": guarded(model, guard),
        "guarded(chain)": guarded(PROMPT | model | StrOutputParser(), guard),
        "model.bind_tools": model.bind_tools([get_weather]),
        "LangChain's LlamaGuard": guard,
    }
    for name, thing in things.items():
        asked = {"question": QUESTION} if "chain" in name else QUESTION
        thing.invoke(asked)
        asyncio.run(thing.ainvoke(asked))
    return things


def dumped(things: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What `dumps` and `dumpd` write of them."""
    for name, thing in things.items():
        yield name, f"{dumps(thing)} {dumpd(thing)!r}"


def told_by_runs(settings: Settings, question: str = QUESTION) -> Iterator[tuple[str, str, str]]:
    """Run a guarded chain and an agent; gives the place, what it is about, and all that was told there."""
    guard, cache, printed = LlamaGuard(**settings, max_retries=0), InMemoryCache(), io.StringIO()
    model = ChatLlamaScout(**settings, max_retries=0, cache=cache)
    apps: dict[str, tuple[Any, Any]] = {
        "chain": (guarded(PROMPT | model | StrOutputParser(), guard), {"question": question}),
        "agent": (
            create_agent(model, [get_weather], middleware=[LlamaGuardMiddleware(guard)]),
            {"messages": [("user", question)]},
        ),
    }
    set_debug(True)
    try:
        for name, (app, asked) in apps.items():
            collector = RunCollectorCallbackHandler()
            with contextlib.redirect_stdout(printed):
                app.invoke(asked, {"callbacks": [collector]})
                events = asyncio.run(_events(app, asked))
            yield "LangChain: runs of a tracer", name, "".join(map(_written, collector.traced_runs))
            yield "LangChain: astream_events", name, events
    finally:
        set_debug(False)
    yield "LangChain: what set_debug(True) prints", "chain, agent", printed.getvalue()
    yield "LangChain: its cache of answers", "InMemoryCache", repr(cache._cache)


def _written(run: Any) -> str:
    return f"{run.serialized!r} {run.extra!r} {run.model_dump()!r}" + "".join(map(_written, run.child_runs))


async def _events(app: Any, asked: Any) -> str:
    return repr([event async for event in app.astream_events(asked, version="v2")])


def failing_calls(settings: Settings) -> dict[str, Callable[[], Any]]:
    """Calls of Scout and of a guarded Scout, each of which fails while its host does."""
    guard = LlamaGuard(**quick(settings), cache=False, policy=RAISING)
    model = ChatLlamaScout(**quick(settings))
    guarded_one = ChatLlamaScout(**quick(settings), guard=guard)

    def streamed(one: Any) -> Callable[[], Any]:
        async def pieces() -> None:
            async for _ in one.astream("Hello"):
                pass

        return pieces

    return {
        "ChatLlamaScout.invoke": lambda: model.invoke("Hello"),
        "ChatLlamaScout.ainvoke": lambda: model.ainvoke("Hello"),
        "ChatLlamaScout.stream": lambda: list(model.stream("Hello")),
        "ChatLlamaScout.astream": streamed(model),
        "ChatLlamaScout(guard=).stream": lambda: list(guarded_one.stream("Hello")),
        "ChatLlamaScout(guard=).astream": streamed(guarded_one),
    }


WRONG: dict[str, Callable[[], Any]] = {
    "ChatLlamaScout, misspelt setting": lambda: ChatLlamaScout(api_key=KEY, temperatur=1),  # type: ignore[call-arg]
    "ChatLlamaScout, wrong setting": lambda: ChatLlamaScout(api_key=KEY, max_retries=-1),
    "ChatLlamaScout, wrong setting, headers": lambda: ChatLlamaScout(
        default_headers={"X-Api-Key": KEY}, max_retries=-1
    ),
    "ChatLlamaScout, unknown host": lambda: ChatLlamaScout(api_key=KEY, host="nowhere"),
    "ChatLlamaScout, one key for two hosts": lambda: ChatLlamaScout(api_key=KEY, host=["openrouter", "together"]),
}
