"""The scenarios in LangChain: what gives messages there."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import add
from typing import Any

from agreement.scenarios import Said, Staged, Told
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables import Runnable, RunnableLambda
from with_langchain.foreign_model import ForeignModel, calling, saying, thinking

from langchain_llama_guard import ChatLlamaScout, LlamaGuard, guarded


class Announced(BaseCallbackHandler):
    """What a guarded chain tells of its decisions."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def on_custom_event(self, name: str, data: Any, **_: Any) -> None:
        self.records.append(data)


class InLangChain:
    """A Runnable that gives messages."""

    def __init__(self, staged: Staged, runnable: Runnable[Any, Any], asked: Callable[[], int]) -> None:
        self._prompt, self._runnable = staged.scenario.prompt, runnable
        self._asked = asked
        self._announced = Announced()
        self._config: Any = {"callbacks": [self._announced]}

    @property
    def calls(self) -> int:
        return self._asked()

    def plain(self) -> Told:
        return self._told(self._runnable.invoke(self._prompt, self._config))

    async def aplain(self) -> Told:
        return self._told(await self._runnable.ainvoke(self._prompt, self._config))

    def streamed(self) -> Told:
        return self._told(reduce(add, list(self._runnable.stream(self._prompt, self._config))))

    async def astreamed(self) -> Told:
        return self._told(reduce(add, [piece async for piece in self._runnable.astream(self._prompt, self._config)]))

    def _told(self, message: AIMessage) -> Told:
        return message.text, self._announced.records or message.response_metadata.get("llama_guard", [])


def _chunks(said: Said) -> list[AIMessageChunk]:
    if said.arguments:
        return calling("build", said.arguments[:9], said.arguments[9:])
    return [*(thinking(said.thoughts)[:1] if said.thoughts else ()), *saying(said.text[:4], said.text[4:])]


def _scout(staged: Staged) -> InLangChain:
    return InLangChain(staged, ChatLlamaScout(guard=staged.guard, **staged.host), lambda: staged.hosted_calls)


def _guarded_model(staged: Staged) -> InLangChain:
    model = ForeignModel(reply=_chunks(staged.scenario.said))
    return InLangChain(staged, guarded(model, staged.guard), lambda: len(model.seen))


def _guarded_chain(staged: Staged) -> InLangChain:
    model = ForeignModel(reply=_chunks(staged.scenario.said))
    return InLangChain(staged, guarded(RunnableLambda(str) | model, staged.guard), lambda: len(model.seen))


GUARD = LlamaGuard
COLUMNS = {"ChatLlamaScout": _scout, "guarded model": _guarded_model, "guarded chain": _guarded_chain}
