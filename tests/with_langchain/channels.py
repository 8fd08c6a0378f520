"""Every channel by which an application may come to see what a model wrote, and what each of them saw."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from langchain_core.callbacks import (
    AsyncCallbackHandler,
    BaseCallbackHandler,
    get_usage_metadata_callback,
)
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable
from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.context import collect_runs
from langchain_core.tracers.schemas import Run
from langsmith import Client, tracing_context
from langsmith.utils import get_env_var

EVENTS = [name for name in dir(BaseCallbackHandler) if name.startswith("on_")]


class Channels:
    """What was seen, by channel."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def note(self, channel: str, *things: Any) -> None:
        self.seen.append((channel, " ".join(_told(thing) for thing in things)))

    def that_saw(self, marker: str) -> set[str]:
        """The channels in which a text turned up."""
        return {channel for channel, text in self.seen if marker in text}

    def handlers(self, label: str = "") -> list[BaseCallbackHandler]:
        """One observer of each kind that LangChain knows."""
        return [
            _Handler(self, f"{label}handler"),
            _AsyncHandler(self, f"{label}async handler"),
            _Tracer(self, f"{label}tracer"),
        ]

    @contextmanager
    def open(self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """Observe by context, environment and log too, while this is open."""
        monkeypatch.setenv("LANGSMITH_TRACING", "true")
        get_env_var.cache_clear()
        with ExitStack() as stack:
            stack.enter_context(caplog.at_level(logging.DEBUG))
            stack.enter_context(tracing_context(client=_LangSmith(self)))
            collected = stack.enter_context(collect_runs())
            stack.enter_context(get_usage_metadata_callback())
            try:
                yield
            finally:
                self.note("collected runs", *map(_run_text, collected.traced_runs))
                self.note("log", caplog.text, *(record.__dict__ for record in caplog.records))
        get_env_var.cache_clear()


class _Handler(BaseCallbackHandler):
    def __init__(self, channels: Channels, channel: str) -> None:
        self.channels, self.channel = channels, channel


class _AsyncHandler(AsyncCallbackHandler):
    def __init__(self, channels: Channels, channel: str) -> None:
        self.channels, self.channel = channels, channel


def _hear(name: str) -> Callable[..., None]:
    def hear(self: _Handler, *arguments: Any, **named: Any) -> None:
        self.channels.note(self.channel, name, *arguments, *named.values())

    return hear


def _hear_async(name: str) -> Callable[..., Any]:
    async def hear(self: _AsyncHandler, *arguments: Any, **named: Any) -> None:
        self.channels.note(self.channel, name, *arguments, *named.values())

    return hear


for _name in EVENTS:
    setattr(_Handler, _name, _hear(_name))
    setattr(_AsyncHandler, _name, _hear_async(_name))


class _Tracer(BaseTracer):
    """What LangSmith's own tracer keeps of a run."""

    def __init__(self, channels: Channels, channel: str) -> None:
        super().__init__()
        self.channels, self.channel = channels, channel

    def _persist_run(self, run: Run) -> None:
        self.channels.note(self.channel, _run_text(run))


class _LangSmith(Client):
    """LangSmith's client, writing to memory what it would send away."""

    def __init__(self, channels: Channels) -> None:
        super().__init__(api_url="http://127.0.0.1:9", api_key="none", auto_batch_tracing=False)
        self.channels = channels

    def create_run(self, *arguments: Any, **named: Any) -> None:
        self.channels.note("LangSmith", *arguments, *named.values())

    def update_run(self, *arguments: Any, **named: Any) -> None:
        self.channels.note("LangSmith", *arguments, *named.values())


def _run_text(run: Run) -> str:
    own = (run.inputs, run.outputs, run.error, run.events, run.extra, run.name, run.tags)
    return " ".join([*map(_told, own), *map(_run_text, run.child_runs)])


def _told(thing: Any) -> str:
    if isinstance(thing, BaseException):
        return "".join(traceback.format_exception(thing)) + _exception_text(thing, depth=0)
    if isinstance(thing, BaseMessage):
        return thing.model_dump_json()
    return repr(thing)


def _exception_text(error: BaseException | None, depth: int) -> str:
    if error is None or depth > 10:
        return ""
    linked = [error.__cause__, error.__context__]
    return f"{error} {error!r} {vars(error)!r} " + "".join(_exception_text(each, depth + 1) for each in linked)


Way = Callable[[Channels, Runnable[Any, Any], Any, dict[str, Any]], Any]
"""A way to run something: notes all that the caller is given."""


def _noting(run: Callable[[Runnable[Any, Any], Any, dict[str, Any]], Iterator[Any]]) -> Way:
    def way(channels: Channels, runnable: Runnable[Any, Any], value: Any, config: dict[str, Any]) -> None:
        try:
            for given in run(runnable, value, config):
                channels.note("result", given)
        except Exception as error:  # noqa: BLE001 - what it says is what is looked at
            channels.note("exception", error)

    return way


def _noting_async(run: Callable[[Runnable[Any, Any], Any, dict[str, Any]], AsyncIterator[Any]]) -> Way:
    async def way(channels: Channels, runnable: Runnable[Any, Any], value: Any, config: dict[str, Any]) -> None:
        try:
            async for given in run(runnable, value, config):
                channels.note("result", given)
        except Exception as error:  # noqa: BLE001 - what it says is what is looked at
            channels.note("exception", error)
        # LangChain runs some streams in tasks that tell callbacks of the end only after the output is there.
        await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)

    return way


def _v3(runnable: Runnable[Any, Any], value: Any, config: dict[str, Any]) -> Iterator[Any]:
    stream = runnable.stream_events(value, config, version="v3")
    yield from stream
    yield stream.output


async def _av3(runnable: Runnable[Any, Any], value: Any, config: dict[str, Any]) -> AsyncIterator[Any]:
    stream = await runnable.astream_events(value, config, version="v3")
    async for event in stream:
        yield event
    yield await stream.output


async def _all_of(awaitable: Any) -> AsyncIterator[Any]:
    yield await awaitable


WAYS: dict[str, Way] = {
    "invoke": _noting(lambda r, v, c: iter([r.invoke(v, c)])),
    "batch": _noting(lambda r, v, c: iter(r.batch([v, v], c))),
    "stream": _noting(lambda r, v, c: r.stream(v, c)),
    "ainvoke": _noting_async(lambda r, v, c: _all_of(r.ainvoke(v, c))),
    "abatch": _noting_async(lambda r, v, c: _all_of(r.abatch([v, v], c))),
    "astream": _noting_async(lambda r, v, c: r.astream(v, c)),
    "astream_events v2": _noting_async(lambda r, v, c: r.astream_events(v, c, version="v2")),
}
"""Every way to run a Runnable."""

CHAT_MODEL_WAYS: dict[str, Way] = {"events v3": _noting(_v3), "async events v3": _noting_async(_av3)}
"""What only chat models, and what LangChain itself binds to them, can do besides."""
