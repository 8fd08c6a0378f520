"""Who watches an LLM: observers, token counters and memories are told once, and only what was judged."""

from __future__ import annotations

import pytest
from fake_provider import SMALL_TALK, FakeProvider
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.memory import ChatMemoryBuffer  # the default leaves a database open
from with_llamaindex.scouts import (
    ENDPOINTS,
    KEY,
    KINDS,
    REFUSAL,
    SECRET_TEXT,
    ask,
    scout,
    watching,
)

GUARDED = ("guarded", "wrapped")
every_endpoint = pytest.mark.parametrize("endpoint", ENDPOINTS)
every_kind = pytest.mark.parametrize("kind", KINDS)
every_guarded = pytest.mark.parametrize("kind", GUARDED)


@every_kind
@every_endpoint
async def test_observers_are_told_once(provider: FakeProvider, kind: str, endpoint: str) -> None:
    """One call is one start, one end, one callback each and one span: anything else counts tokens twice."""
    with watching() as watcher:
        llm = scout(provider, kind, callback_manager=watcher.callback_manager)
        await ask(llm, endpoint, "Hello")
    name = "LLMCompletion" if "complete" in endpoint else "LLMChat"
    told = [event for event in watcher.event_names if not event.endswith("InProgressEvent")]
    assert [f"{name}StartEvent", f"{name}EndEvent"] == told
    payloads = [payload for _, payload in (call for call in watcher.calls if isinstance(call, tuple))]
    assert 2 == len(payloads)
    assert 2 == sum(f"{type(llm).__name__}.{endpoint}" == span for span in watcher.span_names)
    assert SMALL_TALK in watcher.everything


@every_kind
@every_endpoint
async def test_no_key_is_told_to_anybody(provider: FakeProvider, kind: str, endpoint: str) -> None:
    """Neither events nor callbacks nor responses hold the key, nor what the headers say."""
    settings = {"default_headers": {"X-Secret": "header-secret"}}
    with watching() as watcher:
        llm = scout(provider, kind, callback_manager=watcher.callback_manager, **settings)
        responses = await ask(llm, endpoint, "Hello")
    for seen in (watcher.everything, repr(responses), repr(llm), str(llm.to_dict())):
        assert KEY not in seen
        assert "header-secret" not in seen


@pytest.mark.parametrize("kind", ["guarded", "wrapped"])
async def test_tokens_are_counted_once_and_as_the_host_told(kind: str) -> None:
    """LlamaIndex's counter, on whole and streamed replies."""
    for endpoint in ENDPOINTS:
        counter = TokenCountingHandler(tokenizer=str.split)
        provider = FakeProvider()
        response = (await ask(scout(provider, kind, callback_manager=CallbackManager([counter])), endpoint, "Hello"))[
            -1
        ]
        counted = (counter.prompt_llm_token_count, counter.completion_llm_token_count)
        told = response.additional_kwargs
        assert (told["prompt_tokens"], told["completion_tokens"]) == counted


@pytest.mark.parametrize("kind", ["guarded", "wrapped"])
async def test_a_chat_engines_memory_holds_no_unsafe_answer(kind: str) -> None:
    """Streamed or not, read or not: what the engine's writer sees has been judged."""
    for way in ("chat", "achat", "stream_chat", "astream_chat"):
        llm = scout(FakeProvider(chat=[SECRET_TEXT]), kind)
        engine = SimpleChatEngine.from_defaults(llm=llm, memory=ChatMemoryBuffer.from_defaults())
        answer = getattr(engine, way)("Hello")
        if way.startswith("a"):
            answer = await answer
        if way == "stream_chat":
            list(answer.response_gen)
        if way == "astream_chat":
            _ = [token async for token in answer.async_response_gen()]
        assert REFUSAL == str(answer)
        assert [REFUSAL] == [message.content for message in engine.chat_history[1:]]
