"""What the LlamaIndex half makes, and what LlamaIndex tells of it: events, spans, cache keys."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

from llama_index.core import Document, SummaryIndex
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.llms import ChatMessage
from with_llamaindex.scouts import watching

from key_hunt.core_things import RAISING, Settings, quick
from key_hunt.keys import KEY
from llamaindex_llama_guard import GuardedLLM, LlamaGuard, LlamaGuardTransform, LlamaScout, guarded

QUESTION = "What is the capital of France?"
ASKED = [ChatMessage(content=QUESTION)]


def used_things(settings: Settings) -> dict[str, Any]:
    """Everything that has the key, after calls that went well."""
    guard = LlamaGuard(**settings, max_retries=0)
    llm = LlamaScout(**settings, max_retries=0)
    changed = {name: settings[name] for name in ("api_key", "default_headers") if name in settings}
    elsewhere = {name: value for name, value in settings.items() if name not in changed}
    llms = {
        "LlamaScout": llm,
        "LlamaScout(guard=)": LlamaScout(**settings, guard=guard, max_retries=0),
        "LlamaScout.model_copy(update=)": LlamaScout(**elsewhere).model_copy(update=changed),
        "GuardedLLM": GuardedLLM(llm, guard),
    }
    for each in llms.values():
        each.chat(ASKED)
        asyncio.run(each.achat(ASKED))
    transform = LlamaGuardTransform(guard=guard)
    transform([Document(text="Paris is the capital of France.")])
    return {**llms, "LlamaIndex's LlamaGuard": guard, "LlamaGuardTransform": transform}


def told_by_runs(settings: Settings, question: str = QUESTION) -> Iterator[tuple[str, str, str]]:
    """Run a guarded engine and an ingestion; gives the place, what it is about, and all that was told there."""
    guard = LlamaGuard(**settings, max_retries=0)
    llm, cache = LlamaScout(**settings, guard=guard, max_retries=0), IngestionCache()
    with watching() as watcher:
        paper = Document(text=f"Somebody asked: {question}")
        engine = guarded(SummaryIndex.from_documents([paper]).as_query_engine(llm=llm), guard)
        engine.query(question)
        asyncio.run(engine.aquery(question))
        list(llm.stream_chat([ChatMessage(content=question)]))
        IngestionPipeline(transformations=[LlamaGuardTransform(guard=guard)], cache=cache).run(documents=[paper])
    dumped = "".join(f"{event!r} {event.model_dump()!r}" for event in watcher.events)
    yield "LlamaIndex: events", "engine, LLM", dumped
    yield "LlamaIndex: spans", "engine, LLM", repr(watcher.spans)
    yield "LlamaIndex: cache of an ingestion", "LlamaGuardTransform", repr(vars(cache.cache))


def failing_calls(settings: Settings) -> dict[str, Callable[[], Any]]:
    """Calls of Scout and of a guarded Scout, each of which fails while its host does."""
    guard = LlamaGuard(**quick(settings), cache=False, policy=RAISING)
    llm = LlamaScout(**quick(settings))
    guarded_one = LlamaScout(**quick(settings), guard=guard)

    def streamed(one: Any) -> Callable[[], Any]:
        async def pieces() -> None:
            async for _ in await one.astream_chat(ASKED):
                pass

        return pieces

    return {
        "LlamaScout.chat": lambda: llm.chat(ASKED),
        "LlamaScout.achat": lambda: llm.achat(ASKED),
        "LlamaScout.stream_chat": lambda: list(llm.stream_chat(ASKED)),
        "LlamaScout.astream_chat": streamed(llm),
        "LlamaScout(guard=).stream_chat": lambda: list(guarded_one.stream_chat(ASKED)),
        "LlamaScout(guard=).astream_chat": streamed(guarded_one),
    }


WRONG: dict[str, Callable[[], Any]] = {
    "LlamaScout, misspelt setting": lambda: LlamaScout(api_key=KEY, temperatur=1),  # type: ignore[call-arg]
    "LlamaScout, wrong setting": lambda: LlamaScout(api_key=KEY, max_retries=-1),
    "LlamaScout, wrong setting, headers": lambda: LlamaScout(default_headers={"X-Api-Key": KEY}, max_retries=-1),
    "LlamaScout, unknown host": lambda: LlamaScout(api_key=KEY, host="nowhere"),
    "LlamaScout, one key for two hosts": lambda: LlamaScout(api_key=KEY, host=["openrouter", "together"]),
}
