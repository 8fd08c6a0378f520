"""LlamaIndex's attach points around models, engines and passages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

from llama_index.core.base.response.schema import AsyncStreamingResponse, StreamingResponse
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel
from with_llamaindex.engines import chat_engine, query_engine
from with_llamaindex.scouts import Watcher, watching

from fault_matrix.points import WAYS, Point, Way
from fault_matrix.stand import TOOL, Stand
from fault_matrix.watch import Seen
from llamaindex_llama_guard import (
    LlamaGuard,
    LlamaScout,
    guarded,
)

Build = Callable[[Stand, Watcher], Any]


class _Written(list[Any]):
    """What was told, written down: the exceptions and streams in it, if held, would keep streams from being closed."""

    def append(self, told: Any) -> None:
        super().append(repr(told.model_dump() if isinstance(told, BaseModel) else told))


@contextmanager
def heard(seen: Seen) -> Iterator[Watcher]:
    """Listen to everything that LlamaIndex tells while this is open."""
    with watching() as watcher:
        told = _Written()
        watcher.span_handler.seen = watcher.event_handler.seen = told
        for handler in watcher.callback_manager.handlers:
            handler.seen = told  # type: ignore[attr-defined]
        try:
            yield watcher
        finally:
            seen.note("callbacks", *told)


def scout_of(stand: Stand, watcher: Watcher, **settings: Any) -> LlamaScout:
    """Llama 4 Scout on the stand's host."""
    return stand.model(LlamaScout, callback_manager=watcher.callback_manager, **settings)


def tool_of(stand: Stand) -> FunctionTool:
    """The tool that agents have."""

    def search(query: str) -> str:
        """Search the archive."""
        return stand.work(query)

    async def asearch(query: str) -> str:
        """Search the archive."""
        return stand.work(query)

    return FunctionTool.from_defaults(search, async_fn=asearch, name=TOOL, description="Search the archive.")


def _chat_ways(build: Build) -> dict[str, Way]:
    def asked(stand: Stand) -> dict[str, Any]:
        return {"messages": [ChatMessage(content=stand.script.prompt)]}

    return _llm_ways(build, "chat", asked)


def _complete_ways(build: Build) -> dict[str, Way]:
    return _llm_ways(build, "complete", lambda stand: {"prompt": stand.script.prompt})


def _tool_ways(build: Build) -> dict[str, Way]:
    def asked(stand: Stand) -> dict[str, Any]:
        return {"tools": [tool_of(stand)], "user_msg": stand.script.prompt}

    return _llm_ways(build, "chat_with_tools", asked)


def _llm_ways(build: Build, endpoint: str, asked: Callable[[Stand], dict[str, Any]]) -> dict[str, Way]:
    """The four endpoints of one kind."""

    def plain(stand: Stand, seen: Seen) -> None:
        with heard(seen) as watcher:
            seen.give(_answer(getattr(build(stand, watcher), endpoint)(**asked(stand))))

    def streamed(stand: Stand, seen: Seen) -> None:
        with heard(seen) as watcher:
            for piece in seen.reading(getattr(build(stand, watcher), f"stream_{endpoint}")(**asked(stand))):
                seen.give(_answer(piece))

    async def aplain(stand: Stand, seen: Seen) -> None:
        with heard(seen) as watcher:
            seen.give(_answer(await getattr(build(stand, watcher), f"a{endpoint}")(**asked(stand))))

    async def astreamed(stand: Stand, seen: Seen) -> None:
        with heard(seen) as watcher:
            async with aclosing(
                await getattr(build(stand, watcher), f"astream_{endpoint}")(**asked(stand))
            ) as arriving:
                async for piece in arriving:
                    seen.give(_answer(piece))

    return dict(zip(WAYS, (plain, streamed, aplain, astreamed), strict=True))


def _answer(response: Any) -> Any:
    return response, getattr(response, "raw", None), getattr(response, "additional_kwargs", None)


def _query_ways(build: Callable[..., Any]) -> dict[str, Way]:
    def sync(*, streaming: bool) -> Way:
        def query(stand: Stand, seen: Seen) -> None:
            with heard(seen) as watcher:
                response = build(stand, watcher, streaming=streaming).query(stand.script.prompt)
                for piece in response.response_gen if isinstance(response, StreamingResponse) else [str(response)]:
                    seen.give(piece)
                seen.note("response", response)

        return query

    def asynchronous(*, streaming: bool) -> Way:
        async def aquery(stand: Stand, seen: Seen) -> None:
            with heard(seen) as watcher:
                response = await build(stand, watcher, streaming=streaming).aquery(stand.script.prompt)
                try:
                    if isinstance(response, AsyncStreamingResponse):
                        async for piece in response.async_response_gen():
                            seen.give(piece)
                    else:
                        seen.give(str(response))
                    seen.note("response", response)
                finally:  # who leaves a response keeps no hold of it
                    del response

        return aquery

    ways = (sync(streaming=False), sync(streaming=True), asynchronous(streaming=False), asynchronous(streaming=True))
    return dict(zip(WAYS, ways, strict=True))


def _engine(stand: Stand, watcher: Watcher, *, streaming: bool) -> Any:
    return guarded(query_engine(scout_of(stand, watcher), streaming=streaming), stand.guard)


def _conversation(stand: Stand, watcher: Watcher) -> Any:
    return guarded(chat_engine(scout_of(stand, watcher), "context"), stand.guard)


def _remembered(engine: Any, stand: Stand, seen: Seen) -> None:
    seen.note("state", [message for message in engine.chat_history if stand.stage != "prompt"])


def _conversation_ways() -> dict[str, Way]:
    def chat(stand: Stand, seen: Seen) -> None:
        with heard(seen) as watcher:
            engine = _conversation(stand, watcher)
            response = engine.chat(stand.script.prompt)
            seen.give(str(response))
            _remembered(engine, stand, seen)

    def stream_chat(stand: Stand, seen: Seen) -> None:
        with heard(seen) as watcher:
            engine = _conversation(stand, watcher)
            for piece in engine.stream_chat(stand.script.prompt).response_gen:
                seen.give(piece)
            _remembered(engine, stand, seen)

    async def achat(stand: Stand, seen: Seen) -> None:
        with heard(seen) as watcher:
            engine = _conversation(stand, watcher)
            seen.give(str(await engine.achat(stand.script.prompt)))
            _remembered(engine, stand, seen)

    async def astream_chat(stand: Stand, seen: Seen) -> None:
        with heard(seen) as watcher:
            engine = _conversation(stand, watcher)
            response = await engine.astream_chat(stand.script.prompt)
            async for piece in response.async_response_gen():
                seen.give(piece)
            _remembered(engine, stand, seen)

    return dict(zip(WAYS, (chat, stream_chat, achat, astream_chat), strict=True))


MODELS: dict[str, Build] = {
    "LlamaScout(guard=...)": lambda s, w: scout_of(s, w, guard=s.guard),
    "guarded(llm, guard)": lambda s, w: guarded(scout_of(s, w), s.guard),
}
ENGINES: dict[str, dict[str, Way]] = {
    "guarded(query_engine)": _query_ways(_engine),
    "guarded(chat_engine)": _conversation_ways(),
}


def _model_points(name: str, build: Build) -> Iterator[Point]:
    for stage in ("prompt", "reply", "model"):
        yield Point(f"{name}.chat", stage, LlamaGuard, _chat_ways(build))
    for stage in ("prompt", "reply"):
        yield Point(f"{name}.complete", stage, LlamaGuard, _complete_ways(build))
    yield Point(f"{name}.chat_with_tools", "tool call", LlamaGuard, _tool_ways(build))


POINTS = [
    *(point for name, build in MODELS.items() for point in _model_points(name, build)),
    *(
        Point(name, stage, LlamaGuard, ways, finishes_alone=name == "guarded(chat_engine)")
        for name, ways in ENGINES.items()
        for stage in ("prompt", "reply", "model")
    ),
]
