"""The eight endpoints of an LLM: Scout alone, guarded from inside, and guarded by the wrapper."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from fake_provider import FAILURES, SMALL_TALK, FakeProvider, Fault, Reply, ToolCall, Usage
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse
from with_llamaindex.scouts import (
    ENDPOINTS,
    KEY,
    KINDS,
    REFUSAL,
    SECRET_TEXT,
    CompletionOnly,
    ask,
    guard_of,
    scout,
    text_of,
    watching,
)

from llama_guard_core.errors import (
    GuardUnavailable,
    ProviderError,
    ProviderUnavailable,
    UnsafeContent,
)
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.provider.connection import Timeouts
from llamaindex_llama_guard.guarded_llms import GuardedLLM
from llamaindex_llama_guard.llama_guard import LlamaGuard
from llamaindex_llama_guard.llms import LlamaScout

GUARDED = ("guarded", "wrapped")
every_endpoint = pytest.mark.parametrize("endpoint", ENDPOINTS)
every_kind = pytest.mark.parametrize("kind", KINDS)
every_guarded = pytest.mark.parametrize("kind", GUARDED)


def is_streamed(endpoint: str) -> bool:
    return "stream" in endpoint


@every_kind
@every_endpoint
async def test_it_answers(provider: FakeProvider, kind: str, endpoint: str) -> None:
    """Each endpoint gives the reply, in the response class of its kind."""
    responses = await ask(scout(provider, kind), endpoint, "Hello")
    expected = CompletionResponse if "complete" in endpoint else ChatResponse
    assert {expected} == {type(response) for response in responses}
    assert SMALL_TALK == text_of(responses[-1])


@every_kind
@pytest.mark.parametrize("endpoint", [name for name in ENDPOINTS if is_streamed(name)])
async def test_each_streamed_response_says_everything_so_far(provider: FakeProvider, kind: str, endpoint: str) -> None:
    """Deltas add up to the reply, and each response holds those until then; the last holds the usage."""
    responses = await ask(scout(provider, kind), endpoint, "Hello")
    assert len(responses) > 2
    so_far = ""
    for response in responses:
        so_far += response.delta
        assert so_far == text_of(response)
    assert SMALL_TALK == so_far
    assert responses[-1].raw["usage"]["total_tokens"] > 0
    assert "usage" not in responses[0].raw


@every_kind
@every_endpoint
async def test_usage_stands_in_both_places(kind: str, endpoint: str) -> None:
    """Token counters read `raw["usage"]`, applications `additional_kwargs`; the price is in both."""
    provider = FakeProvider(chat=[Reply("Fine.", usage=Usage(11, 3, cached_tokens=5, reasoning_tokens=1, cost=0.25))])
    response = (await ask(scout(provider, kind), endpoint, "Hello"))[-1]
    counts = {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14, "cost": 0.25}
    assert counts == {name: response.additional_kwargs[name] for name in counts}
    assert counts == {name: response.raw["usage"][name] for name in counts}
    assert 5 == response.raw["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert "stop" == response.raw["choices"][0]["finish_reason"]


@every_guarded
@every_endpoint
async def test_an_unsafe_prompt_is_refused_before_the_model_is_called(
    provider: FakeProvider, kind: str, endpoint: str
) -> None:
    """The refusal has the caller's form, says what was decided, and cost no call of the model."""
    (response,) = await ask(scout(provider, kind), endpoint, "How do I build a BOMB?")
    assert REFUSAL == text_of(response)
    assert (REFUSAL if is_streamed(endpoint) else None) == response.delta
    assert "content_filter" == response.raw["choices"][0]["finish_reason"]
    assert [("refuse", "prompt")] == [(it["action"], it["stage"]) for it in response.additional_kwargs["llama_guard"]]
    assert [] == provider.requests_of("chat")


@every_guarded
@every_endpoint
async def test_an_unsafe_reply_is_replaced_whole(kind: str, endpoint: str, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing of it is in any response, event, span, callback or log; its usage is."""
    caplog.set_level(logging.DEBUG)
    provider = FakeProvider(chat=[Reply(SECRET_TEXT, reasoning="secret thought", usage=Usage(11, 3))])
    with watching() as watcher:
        llm = scout(provider, kind, callback_manager=watcher.callback_manager)
        (response,) = await ask(llm, endpoint, "Hello")
    assert REFUSAL == text_of(response)
    assert 3 == response.additional_kwargs["completion_tokens"]
    assert 3 == response.raw["usage"]["completion_tokens"]
    decided = [(it["action"], it["stage"]) for it in response.additional_kwargs["llama_guard"]]
    assert [("allow", "prompt"), ("refuse", "reply")] == decided
    for seen in (response.model_dump_json(), repr(response), watcher.everything, caplog.text):
        for leaked in ("BOMB", "You take", "secret thought"):
            assert leaked not in seen


@every_guarded
@every_endpoint
async def test_records_stand_in_the_response_and_not_in_its_message(
    provider: FakeProvider, kind: str, endpoint: str
) -> None:
    """What was decided is told once, with the last response; a message would carry it into the next prompt."""
    responses = await ask(scout(provider, kind), endpoint, "Hello")
    assert ["prompt", "reply"] == [it["stage"] for it in responses[-1].additional_kwargs["llama_guard"]]
    assert all("llama_guard" not in response.additional_kwargs for response in responses[:-1])
    if "chat" in endpoint:
        assert all({} == response.message.additional_kwargs for response in responses)


@every_guarded
@every_endpoint
async def test_where_replies_are_not_judged_streams_come_as_they_are(
    provider: FakeProvider, kind: str, endpoint: str
) -> None:
    """Nothing is held then; what was decided about the prompt stands in each response, the last one too."""
    llm = scout(provider, kind, {"stages": {"prompt"}})
    responses = await ask(llm, endpoint, "Hello")
    assert SMALL_TALK == text_of(responses[-1])
    for response in responses:
        assert ["prompt"] == [it["stage"] for it in response.additional_kwargs["llama_guard"]]
    assert 1 == len(provider.guard_questions)


@every_guarded
@every_endpoint
async def test_a_policy_may_raise(kind: str, endpoint: str) -> None:
    """With `on_unsafe="raise"` an unsafe reply is an exception that says nothing of it."""
    provider = FakeProvider(chat=[SECRET_TEXT])
    with watching() as watcher:
        llm = scout(provider, kind, {"on_unsafe": "raise"}, callback_manager=watcher.callback_manager)
        with pytest.raises(UnsafeContent) as raised:
            await ask(llm, endpoint, "Hello")
    assert "You take" not in repr(raised.value) + watcher.everything
    assert raised.value.__context__ is None


@every_guarded
@every_endpoint
async def test_no_verdict_is_a_refusal(provider: FakeProvider, kind: str, endpoint: str) -> None:
    """Where the guard fails, the prompt is not answered; the response says so."""
    provider.fail(Fault.status(503), on="guard")
    (response,) = await ask(scout(provider, kind), endpoint, "Hello")
    assert "safety check could not be completed" in text_of(response)
    assert ["server"] == [it["no_verdict"] for it in response.additional_kwargs["llama_guard"]]
    assert [] == provider.requests_of("chat")


@every_guarded
@every_endpoint
async def test_no_verdict_may_raise(provider: FakeProvider, kind: str, endpoint: str) -> None:
    """With `on_no_verdict="raise"` it is an exception."""
    provider.fail(Fault.status(503), on="guard")
    with pytest.raises(GuardUnavailable):
        await ask(scout(provider, kind, {"on_no_verdict": "raise"}), endpoint, "Hello")


@every_kind
@pytest.mark.parametrize("endpoint", ["chat", "achat", "stream_chat", "astream_chat"])
@pytest.mark.parametrize("failure", FAILURES, ids=str)
async def test_a_host_that_fails_is_an_error_of_ours(
    provider: FakeProvider, failure: Fault, endpoint: str, kind: str
) -> None:
    """Whatever goes wrong at the host, it is a `ProviderError`, and quotes neither the key nor the prompt."""
    provider.fail(failure, on="chat")
    settings = {"max_retries": 0, "timeout": Timeouts(connect=0.2, read=0.2, total=0.2)}
    with pytest.raises(ProviderError) as raised:
        await ask(scout(provider, kind, **settings), endpoint, "zebra crossing")
    assert "zebra" not in str(raised.value)
    assert KEY not in str(raised.value)


@every_guarded
@pytest.mark.parametrize("endpoint", ["stream_chat", "astream_chat", "stream_complete", "astream_complete"])
async def test_a_stream_that_breaks_shows_nothing_of_it(provider: FakeProvider, kind: str, endpoint: str) -> None:
    """A reply that broke off was never judged whole: none of it is shown."""
    provider.fail(Fault.cut("in_body"), on="chat")
    with watching() as watcher:
        llm = scout(provider, kind, callback_manager=watcher.callback_manager, max_retries=0)
        with pytest.raises(ProviderUnavailable):
            await ask(llm, endpoint, "Tell me")
    assert "Hello there" not in watcher.everything


@every_kind
@every_endpoint
async def test_async_endpoints_never_wait_in_the_event_loop(kind: str, endpoint: str) -> None:
    """They use the async client alone, for the model and for the guard; the others use the sync one."""
    blocking, awaited = FakeProvider(), FakeProvider()
    host = {"api_key": KEY, "http_client": blocking.client(), "http_async_client": awaited.async_client()}
    guard = LlamaGuard(**host, policy=Policy(streaming="whole"))
    inner = LlamaScout(**host, guard=guard if kind == "guarded" else None)
    await ask(GuardedLLM(inner, guard) if kind == "wrapped" else inner, endpoint, "Hello")
    used, unused = (awaited, blocking) if endpoint.startswith("a") else (blocking, awaited)
    assert (1 if kind == "unguarded" else 3) == len(used.requests)
    assert [] == unused.requests


@every_kind
async def test_closing_a_stream_closes_its_connection(provider: FakeProvider, kind: str) -> None:
    """Who stops reading pays for no more; the fixture counts the responses that stay open."""
    stream = scout(provider, kind).stream_chat([ChatMessage(content="Hello")])
    next(stream)
    stream.close()
    astream = await scout(provider, kind).astream_chat([ChatMessage(content="Hello")])
    await anext(astream)
    await astream.aclose()
    for _ in range(3):  # LlamaIndex's own wrapper leaves the closing of what it wraps to the event loop
        await asyncio.sleep(0)
    assert 0 == provider.responses_open


async def test_tool_calls_and_thoughts_are_judged_with_the_reply() -> None:
    """Arguments and thoughts are output too: either alone makes the reply unsafe."""
    for reply in (
        Reply("", (ToolCall("search", '{"query": "BOMB"}'),)),
        Reply("Fine.", reasoning="About the BOMB."),
        Reply("", refusal="No BOMB from me."),
    ):
        for kind in GUARDED:
            for endpoint in ("chat", "astream_chat"):
                response = (await ask(scout(FakeProvider(chat=[reply]), kind), endpoint, "Hello"))[-1]
                assert REFUSAL == text_of(response)
                assert [REFUSAL] == [block.text for block in response.message.blocks]


async def test_thoughts_come_as_a_block_and_as_deltas() -> None:
    """Agents forward `thinking_delta`; the message keeps a thinking block apart from the text."""
    for kind in KINDS:
        provider = FakeProvider(chat=[Reply("Four.", reasoning="Two and two.")])
        responses = await ask(scout(provider, kind), "astream_chat", "2+2?")
        thoughts = "".join(response.additional_kwargs.get("thinking_delta", "") for response in responses)
        assert "Two and two." == thoughts
        assert ["thinking", "text"] == [block.block_type for block in responses[-1].message.blocks]
        assert "Two and two." == responses[-1].message.blocks[0].content
        assert "Four." == responses[-1].message.content


@every_endpoint
async def test_a_completion_only_llm_can_be_guarded(provider: FakeProvider, endpoint: str) -> None:
    """Its chat is made of its completions, each telling observers: none of them hears the reply."""
    with watching() as watcher:
        inner = CompletionOnly(says=SECRET_TEXT, callback_manager=watcher.callback_manager)
        responses = await ask(GuardedLLM(inner, guard_of(provider)), endpoint, "Hello")
    assert [REFUSAL] == [text_of(response) for response in responses]
    assert "You take" not in watcher.everything + repr(responses)


@every_endpoint
async def test_a_completion_only_llm_is_passed_on_when_safe(provider: FakeProvider, endpoint: str) -> None:
    """All its responses come, as it made them."""
    inner = CompletionOnly(says="All is well.")
    guarded = await ask(GuardedLLM(inner, guard_of(provider)), endpoint, "Hello")
    alone: list[Any] = await ask(CompletionOnly(says="All is well."), endpoint, "Hello")
    del guarded[-1].additional_kwargs["llama_guard"]
    assert alone == guarded
