"""LlamaIndex's attach points, streamed, and every channel that may hear of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fake_provider import FakeProvider, Reply
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.tools import FunctionTool
from with_llamaindex.engines import Saying, chat_engine, query_engine
from with_llamaindex.scouts import Watcher, guard_of, hosted, watching

from leaks.counting import REPLY, WORDS, Seen
from llamaindex_llama_guard import LlamaGuard, LlamaScout, Policy, guarded

CHANNELS = ("shown", "events", "spans", "callbacks", "memory")
QUESTION = "What shall I do?"


@dataclass
class Stage:
    """A fake host, a guard on it, and the models and memories of one run."""

    policy: Policy

    def __post_init__(self) -> None:
        self.provider = FakeProvider(chat=lambda _: Reply(REPLY, deltas=WORDS))
        self.guard: LlamaGuard = guard_of(self.provider).with_policy(self.policy)
        self.memory = ChatMemoryBuffer.from_defaults()

    def scout(self, watcher: Watcher, guard: LlamaGuard | None = None) -> Any:
        return LlamaScout(**hosted(self.provider), guard=guard, callback_manager=watcher.callback_manager)

    def foreign(self, watcher: Watcher) -> Any:
        return Saying(says=REPLY, callback_manager=watcher.callback_manager)


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


Asks = Callable[[Any, Any, bool], Any]
Row = tuple[Callable[[Stage, Watcher], Any], Asks]


async def _chat(llm: Any, _: Stage, asynchronous: bool) -> list[Any]:
    asked = [ChatMessage(content=QUESTION)]
    return [each async for each in await llm.astream_chat(asked)] if asynchronous else list(llm.stream_chat(asked))


async def _complete(llm: Any, _: Stage, asynchronous: bool) -> list[Any]:
    if asynchronous:
        return [each async for each in await llm.astream_complete(QUESTION)]
    return list(llm.stream_complete(QUESTION))


async def _query(engine: Any, _: Stage, asynchronous: bool) -> list[Any]:
    if not asynchronous:
        response = engine.query(QUESTION)
        return [*response.response_gen, response.metadata]
    response = await engine.aquery(QUESTION)
    return [*[piece async for piece in response.response_gen], response.metadata]


async def _converse(engine: Any, stage: Stage, asynchronous: bool) -> list[Any]:
    if asynchronous:
        response = await engine.astream_chat(QUESTION)
        pieces = [piece async for piece in response.async_response_gen()]
    else:
        response = engine.stream_chat(QUESTION)
        pieces = list(response.response_gen)
    stage.memory = ChatMemoryBuffer.from_defaults(chat_history=engine.chat_history)
    return [*pieces, response.response]


async def _run(agent: Any, stage: Stage, _: bool) -> list[Any]:
    handler = agent.run(user_msg=QUESTION, memory=stage.memory)
    return [*[event async for event in handler.stream_events()], await handler]


def _agent(llm: Any) -> FunctionAgent:
    return FunctionAgent(tools=[FunctionTool.from_defaults(add)], llm=llm, streaming=True)


GUARDED: dict[str, Row] = {
    "LlamaScout(guard=...).stream_chat": (lambda s, w: s.scout(w, s.guard), _chat),
    "LlamaScout(guard=...).stream_complete": (lambda s, w: s.scout(w, s.guard), _complete),
    "guarded(llm).stream_chat": (lambda s, w: guarded(s.foreign(w), s.guard), _chat),
    "guarded(llm).stream_complete": (lambda s, w: guarded(s.foreign(w), s.guard), _complete),
    "guarded(query_engine), response_gen": (
        lambda s, w: guarded(query_engine(s.foreign(w), streaming=True), s.guard),
        _query,
    ),
    "query engine on LlamaScout(guard=...)": (
        lambda s, w: query_engine(s.scout(w, s.guard), streaming=True),
        _query,
    ),
    "guarded(chat_engine)": (lambda s, w: guarded(chat_engine(s.foreign(w), "context"), s.guard), _converse),
    "chat engine on LlamaScout(guard=...)": (lambda s, w: chat_engine(s.scout(w, s.guard), "context"), _converse),
    "FunctionAgent on LlamaScout(guard=...)": (lambda s, w: _agent(s.scout(w, s.guard)), _run),
}


class _CheckedAfterwards:
    """An LLM whose streams are judged once they have been read."""

    def __init__(self, llm: Any, guard: LlamaGuard) -> None:
        self.llm, self.guard = llm, guard

    def __getattr__(self, name: str) -> Any:
        return getattr(self.llm, name)


async def _judged_chat(checked: _CheckedAfterwards, stage: Stage, asynchronous: bool) -> list[Any]:
    responses = await _chat(checked.llm, stage, asynchronous)
    said = responses[-1].message.content
    verdict = stage.guard.check([{"role": "user", "content": QUESTION}, {"role": "assistant", "content": said}])
    return responses if verdict.safe else []


async def _judged_run(agent: Any, stage: Stage, asynchronous: bool) -> list[Any]:
    *events, _ = await _run(agent, stage, asynchronous)
    return events


BEHIND_THE_MODEL: dict[str, Row] = {
    "LlamaScout, then guard.check": (lambda s, w: _CheckedAfterwards(s.scout(w), s.guard), _judged_chat),
    "FunctionAgent, then guard.check": (lambda s, w: _agent(s.scout(w)), _judged_run),
}
"""Guards that come after the model. They leak, and so the table is known to be able to say so."""


async def streamed(row: Row, policy: Policy, *, asynchronous: bool) -> Seen:
    """Stream the unsafe reply and note what every channel saw of it."""
    make, ask = row
    stage = Stage(policy)
    seen = Seen(stage.provider, CHANNELS)
    with watching() as watcher:
        seen.note("shown", *await ask(make(stage, watcher), stage, asynchronous))
    seen.note("events", *[event.model_dump() for event in watcher.events])
    seen.note("spans", *watcher.spans)
    seen.note("callbacks", *watcher.calls)
    seen.note("memory", *stage.memory.get_all())
    return seen
