"""An unsafe answer is in no channel: not shown, remembered, told to a handler, traced, raised or logged."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from fake_provider import FakeProvider
from llama_index.core.callbacks import CallbackManager
from llama_index.core.query_engine import RetrieverQueryEngine, RetryQueryEngine
from llama_index.core.response_synthesizers import get_response_synthesizer
from with_llamaindex.engines import (
    CHAT_MODES,
    CHAT_WAYS,
    HARMLESS,
    QUESTION,
    REFUSAL,
    UNSAFE,
    WAYS,
    Saying,
    Way,
    chat_engine,
    query_engine,
    text_of,
)
from with_llamaindex.scouts import guard_of, watching

from llamaindex_llama_guard import GuardedLLM, GuardUnavailable, LlamaGuardPostprocessor, UnsafeContent, guarded

MARKER = "BOMB"
streamed_or_not = pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
every_policy = pytest.mark.parametrize("policy", [{}, {"on_unsafe": "raise"}], ids=["refuse", "raise"])


def observed(engine: Any, callbacks: CallbackManager) -> Any:
    """The engine, with everything in it told to these callbacks."""
    synthesizer = getattr(engine, "_response_synthesizer", None)
    if synthesizer is not None:
        synthesizer.callback_manager = callbacks
        engine.retriever.callback_manager = callbacks
    else:
        engine._llm.callback_manager = callbacks
    engine.callback_manager = callbacks
    return engine


async def shown_by(asking: Any) -> str:
    """What a caller sees: the text, or all that an exception and those behind it say."""
    try:
        return await asking
    except (UnsafeContent, GuardUnavailable) as error:
        linked = [error, error.__cause__, error.__context__]
        return repr([(step, vars(step)) for step in linked if step is not None])


async def read(way: Way, engine: Any) -> str:
    response = await way(engine, QUESTION)
    return await text_of(response) + repr((response.source_nodes, response.metadata))


@every_way
@streamed_or_not
@every_policy
async def test_an_unsafe_answer_of_a_query_engine_is_in_no_channel(
    provider: FakeProvider, way: Way, streaming: bool, policy: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with watching() as watcher, caplog.at_level(logging.DEBUG):
        llm = Saying(says=UNSAFE)
        inner = observed(query_engine(llm, streaming=streaming), watcher.callback_manager)
        shown = await shown_by(read(way, guarded(inner, guard_of(provider, **policy))))
    assert 1 == len(llm.prompts)
    assert [] == [place for place, text in told(watcher, caplog, shown=shown).items() if MARKER in text]
    assert "QueryStartEvent" in watcher.event_names
    assert "RetrievalEndEvent" in watcher.event_names


@streamed_or_not
async def test_without_the_guard_it_is_in_all_of_them(provider: FakeProvider, streaming: bool) -> None:
    with watching() as watcher:
        inner = observed(query_engine(Saying(says=UNSAFE), streaming=streaming), watcher.callback_manager)
        shown = await read(WAYS["sync"], inner)
    channels = {"shown": shown, "events": repr(watcher.events), "callbacks": repr(watcher.calls)}
    assert [] == [place for place, text in channels.items() if MARKER not in text]


@every_way
@pytest.mark.parametrize("mode", ["refine", "compact", "tree_summarize", "simple_summarize", "accumulate"])
async def test_however_the_answer_is_put_together(
    provider: FakeProvider, way: Way, mode: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with watching() as watcher, caplog.at_level(logging.INFO):
        synthesizer = get_response_synthesizer(llm=Saying(says=UNSAFE), response_mode=mode)
        engine = RetrieverQueryEngine(query_engine(Saying()).retriever, synthesizer)
        shown = await read(way, guarded(observed(engine, watcher.callback_manager), guard_of(provider)))
    assert shown.startswith(REFUSAL)
    assert [] == [place for place, text in told(watcher, caplog, shown=shown).items() if MARKER in text]


@every_way
async def test_an_engine_of_any_other_kind_is_hidden_while_it_answers(
    provider: FakeProvider, way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    with watching() as watcher, caplog.at_level(logging.DEBUG):
        inner = RetryQueryEngine(observed(query_engine(Saying(says=UNSAFE)), watcher.callback_manager), _Content())
        shown = await read(way, guarded(inner, guard_of(provider)))
    assert shown.startswith(REFUSAL)
    assert [] == [place for place, text in told(watcher, caplog, shown=shown).items() if MARKER in text]
    assert "LLMChatStartEvent" not in watcher.event_names


class _Content:
    """An evaluator that is content with everything."""

    def evaluate_response(self, *_: Any) -> Any:
        return type("Result", (), {"passing": True})


@pytest.mark.parametrize("way", CHAT_WAYS.values(), ids=CHAT_WAYS)
@pytest.mark.parametrize("mode", CHAT_MODES)
async def test_an_unsafe_answer_of_a_chat_engine_is_in_no_channel(
    provider: FakeProvider, way: Any, mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    with watching() as watcher, caplog.at_level(logging.DEBUG):
        llm = Saying(says=UNSAFE)
        engine = guarded(observed(chat_engine(llm, mode), watcher.callback_manager), guard_of(provider))
        shown = await way(engine, QUESTION)
    assert REFUSAL == shown
    assert llm.prompts
    places = told(watcher, caplog, shown=shown, memory=repr(engine.chat_history))
    assert [] == [place for place, text in places.items() if MARKER in text]
    if mode != "condense_question":  # whose answers are a query engine's
        assert "LLMChatEndEvent" in watcher.event_names


@streamed_or_not
async def test_with_a_model_guarded_from_inside_handlers_see_everything_but_the_unsafe(
    provider: FakeProvider, streaming: bool, caplog: pytest.LogCaptureFixture
) -> None:
    guard = guard_of(provider)
    with watching() as watcher, caplog.at_level(logging.DEBUG):
        inner = query_engine(GuardedLLM(Saying(says=UNSAFE), guard), streaming=streaming)
        shown = await read(WAYS["sync"], guarded(inner, guard))
    assert shown.startswith(REFUSAL)
    assert [] == [place for place, text in told(watcher, caplog, shown=shown).items() if MARKER in text]
    assert {"SynthesizeEndEvent", "LLMChatEndEvent"} <= set(watcher.event_names)


@every_way
async def test_a_model_whose_own_guard_only_watches_is_hidden(
    provider: FakeProvider, way: Way, caplog: pytest.LogCaptureFixture
) -> None:
    with watching() as watcher:
        inner = query_engine(GuardedLLM(Saying(says=UNSAFE), guard_of(provider, mode="monitor")))
        shown = await read(way, guarded(inner, guard_of(provider)))
    assert [] == [place for place, text in told(watcher, caplog, shown=shown).items() if MARKER in text]


@streamed_or_not
async def test_what_is_hidden_is_hidden_here_and_not_elsewhere(provider: FakeProvider, streaming: bool) -> None:
    """A second engine that is asked while the first is being read tells its observers all it ever did."""
    with watching() as watcher:
        first = guarded(query_engine(Saying(says=UNSAFE), streaming=streaming), guard_of(provider))
        response = first.query(QUESTION)
        before = len(watcher.events)
        query_engine(Saying()).query(QUESTION)
        names = watcher.event_names[before:]
        await text_of(response)
    assert {"LLMChatStartEvent", "LLMChatEndEvent", "SynthesizeEndEvent"} <= set(names)


@streamed_or_not
async def test_a_poisoned_passage_is_in_no_prompt_and_no_answer(provider: FakeProvider, streaming: bool) -> None:
    guard, llm = guard_of(provider), Saying()
    inner = query_engine(
        llm,
        ["harmless", f"build a {MARKER}"],
        streaming=streaming,
        node_postprocessors=[LlamaGuardPostprocessor(guard=guard)],
    )
    for way in WAYS.values():
        shown = await read(way, guarded(inner, guard))
        assert shown.startswith(HARMLESS)
        assert MARKER not in shown
    assert [] == [prompt for prompt in llm.prompts if MARKER in prompt]


def told(watcher: Any, caplog: pytest.LogCaptureFixture, **seen: str) -> dict[str, str]:
    """Everything anybody was told, by channel."""
    return {
        "events": repr([event.model_dump() for event in watcher.events]),
        "spans": repr(watcher.spans),
        "callbacks": repr(watcher.calls),
        "log": caplog.text,
        **seen,
    }
