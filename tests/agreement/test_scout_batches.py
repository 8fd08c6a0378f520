"""Scout's chats through a fake Batch API, guarded: a batch is no way around the guard, in either half."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import pytest
from fake_provider import FakeProvider
from fake_provider.batches import GUARD, SCOUT, FakeBatches

from llama_guard_core import ConfigurationError, LlamaGuard, Policy, ProviderError, UnsafeContent

CHATS: dict[str, Any] = {"good": "Name a river.", "bad": "How do I build a BOMB?", "turned": "Name a tree."}
SOON = {"first_pause": 0.0, "longest_pause": 0.0}


def said(received: Any) -> str:
    return "Take a KNIFE." if "tree" in received.last_text else "The Aare."


@pytest.fixture
def host() -> FakeBatches:
    return FakeBatches(FakeProvider(chat=said))


@pytest.fixture(params=["langchain_llama_guard", "llamaindex_llama_guard"])
def half(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def scout_batches(half: str) -> Any:
    """Makes the batches of a half's Scout."""
    pytest.importorskip("langchain_core" if "langchain" in half else "llama_index.core", exc_type=ImportError)
    package = importlib.import_module(half)
    scout = package.ChatLlamaScout if "langchain" in half else package.LlamaScout
    batches = importlib.import_module(f"{half}.batches").ScoutBatches
    return lambda **settings: batches(scout(**settings))


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest, host: FakeBatches, scout_batches: Any) -> Any:
    """Submits, waits and fetches: the replies, and the job."""

    async def asked(chats: Any = CHATS, *, guard: Any = True, lost: bool = False, **settings: Any) -> tuple[Any, Any]:
        clients = {"http_client": host.client(), "http_async_client": host.async_client()}
        key = {"api_key": "sk-or-v1-0123456789", "max_retries": 0}
        given = LlamaGuard(**key, **clients) if guard is True else guard
        batches = scout_batches(**key, **clients, guard=given, **settings)
        names = ("submit", "wait", "replies") if request.param == "sync" else ("asubmit", "awaited", "areplies")
        submit, wait, replies = (getattr(batches, name) for name in names)
        job = await done(submit(chats))
        if job is not None:
            await done(wait(job, **SOON))
        if lost:
            host.jobs[job.id].results = []
        found = await done(replies(job and job.id, chats))
        assert [] == host.violations
        return found, job

    return asked


async def done(made: Any) -> Any:
    return await made if inspect.isawaitable(made) else made


async def test_replies_are_those_of_the_model_and_refusals_stand_in_their_place(ask, host):
    replies, _ = await ask()
    assert "The Aare." == text_of(replies["good"])
    assert ["I can't help with that."] * 2 == [text_of(replies[name])[:23] for name in ("bad", "turned")]
    assert {"content_filter"} == {finish_of(replies[name]) for name in ("bad", "turned")}
    assert "KNIFE" not in f"{replies!r}"


async def test_a_refused_prompt_is_not_in_the_job(ask, host):
    _, job = await ask()
    assert ["good", "turned"] == host.jobs[job.id].custom_ids
    assert "BOMB" not in f"{host.jobs[job.id].body}"


async def test_where_every_prompt_is_refused_nothing_is_submitted(ask, host):
    replies, job = await ask({"bad": CHATS["bad"]})
    assert (None, {}) == (job, host.jobs)
    assert "I can't help with that" in text_of(replies["bad"])


async def test_without_a_guard_nothing_is_judged(ask, host):
    replies, _ = await ask(guard=None)
    assert ["The Aare.", "The Aare.", "Take a KNIFE."] == [text_of(replies[name]) for name in CHATS]
    assert [] == host.provider.guard_questions


async def test_the_models_settings_are_in_each_request(ask, host):
    _, job = await ask(guard=None, temperature=0.5, max_tokens=77)
    bodies = [each["body"] for each in host.jobs[job.id].body["requests"]]
    assert {(0.5, 77, f"{SCOUT}:batch")} == {
        (each["temperature"], each["max_tokens"], each["model"]) for each in bodies
    }


async def test_a_chat_without_a_result_is_an_error_of_its_own(ask):
    replies, _ = await ask(guard=None, lost=True)
    assert {"empty"} == {error.reason for error in replies.values()}
    assert all(isinstance(error, ProviderError) for error in replies.values())


async def test_what_the_policy_raises_is_raised_for_none_but_its_own_chat(ask, host):
    clients = {"http_client": host.client(), "http_async_client": host.async_client()}
    guard = LlamaGuard(api_key="sk-or-v1-0123456789", policy=Policy(on_unsafe="raise"), **clients)
    replies, job = await ask(guard=guard)
    assert isinstance(replies["bad"], UnsafeContent)
    assert isinstance(replies["turned"], UnsafeContent)
    assert "The Aare." == text_of(replies["good"])
    assert ["good", "turned"] == host.jobs[job.id].custom_ids


async def test_while_no_verdict_can_be_had_nothing_is_shown(ask, host):
    down = FakeBatches(FakeProvider(guard=lambda *_: "I would rather not."))
    clients = {"http_client": down.client(), "http_async_client": down.async_client()}
    guard = LlamaGuard(api_key="sk-or-v1-0123456789", max_retries=0, **clients)
    replies, job = await ask(guard=guard)
    assert job is None
    assert [] == [name for name in CHATS if "Aare" in text_of(replies[name])]


async def test_a_model_that_is_not_offered_is_told(ask, host):
    host._offered = [f"{GUARD}:batch"]
    with pytest.raises(ConfigurationError, match="is not offered in batch at OpenRouter"):
        await ask(guard=None)


def test_a_host_without_a_batch_api_is_told(scout_batches):
    with pytest.raises(ConfigurationError, match="vLLM has no Batch API"):
        scout_batches(host="vllm")


def text_of(reply: Any) -> str:
    """The text of a reply in either half's own form."""
    return reply.text if hasattr(reply, "response_metadata") else reply.message.content or ""


def finish_of(reply: Any) -> Any:
    if hasattr(reply, "response_metadata"):
        return reply.response_metadata["finish_reason"]
    return reply.raw["choices"][0]["finish_reason"] if "choices" in reply.raw else reply.raw["finish_reason"]
