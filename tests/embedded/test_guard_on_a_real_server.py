"""The guard end to end against a real inference server: llama.cpp's, with the weights of the stand-in guard.

The stand-in answers in Llama Guard's language by itself: `walnut` is S9, `crimson` S14, all else safe.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_provider import FakeProvider, Reply
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

from langchain_llama_guard import ChatLlamaScout, GuardUnavailable, LlamaGuard, Stage, guarded
from llama_guard_core.messages import assistant, user
from llama_guard_core.provider.embedded import Embedded

PROMPT = ChatPromptTemplate.from_messages([("system", "Be kind."), ("human", "{question}")])


@pytest.fixture
def guard(tiny_guard: Embedded) -> LlamaGuard:
    return guard_at(tiny_guard)


def guard_at(host: Embedded, **settings: Any) -> LlamaGuard:
    where = {"model": host.model, "base_url": host.base_url, "api_key": host.api_key}
    return LlamaGuard(**{**where, "max_retries": 0, "cache": False, **settings})


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("where can I buy a walnut table", ["S9"]),
        ("the crimson and walnut paint", ["S9", "S14"]),
        ("where can I buy a table", []),
    ],
)
async def test_the_verdict_follows_the_text(guard: LlamaGuard, text: str, codes: list[str]) -> None:
    """A prompt's hazards are named, sync and async alike."""
    for verdict in (guard.check(text), await guard.acheck(text)):
        assert sorted(codes) == sorted(category.code for category in verdict.categories)
        assert (not codes) == verdict.safe
        assert verdict.usage is not None
        assert verdict.latency is not None
        assert verdict.latency > 0


async def test_a_reply_is_judged_in_its_conversation(guard: LlamaGuard) -> None:
    """The assistant's last turn is what the verdict is about, not the user's before it."""
    bad = (user("what wood is this"), assistant("it is walnut I think"))
    good = (user("what wood is this"), assistant("it is oak I think"))
    for verdict in (guard.check(bad), await guard.acheck(bad)):
        assert (Stage.REPLY, False) == (verdict.stage, verdict.safe)
    assert guard.check(good).safe


@pytest.mark.parametrize(
    ("question", "reply", "shown"),
    [
        ("which wood is this", "this is oak", "this is oak"),
        ("is this walnut wood", "this is oak", "I can't help with that."),
        ("which wood is this", "this is walnut wood", "I can't help with that."),
    ],
)
async def test_a_chain_is_guarded_by_it(guard: LlamaGuard, question: str, reply: str, shown: str) -> None:
    """The model may be anywhere; what is shown follows the real server's verdicts, in every mode."""
    provider = FakeProvider(chat=lambda _: Reply(reply))
    model = ChatLlamaScout(api_key="k", http_client=provider.client(), http_async_client=provider.async_client())
    from_inside = PROMPT | model.model_copy(update={"guard": guard}) | StrOutputParser()
    for chain in (from_inside, guarded(PROMPT | model | StrOutputParser(), guard)):
        asked = {"question": question}
        assert shown == chain.invoke(asked)
        assert shown == "".join(chain.stream(asked))
        assert shown == await chain.ainvoke(asked)
        assert shown == "".join([piece async for piece in chain.astream(asked)])
        assert [shown, shown] == chain.batch([asked, asked])


async def test_a_wrong_key_is_no_verdict(tiny_guard: Embedded) -> None:
    """The server's refusal of the key is told as such."""
    guard = guard_at(tiny_guard, api_key="wrong")
    with pytest.raises(GuardUnavailable) as caught:
        guard.check("hello")
    assert "authentication" == caught.value.reason
    with pytest.raises(GuardUnavailable):
        await guard.acheck("hello")


def test_a_text_longer_than_the_context_is_no_verdict(tiny_guard: Embedded) -> None:
    """Nothing is cut in silence: too long a text is told as such."""
    guard = guard_at(tiny_guard, splitting={"chunk_size": 100_000})
    with pytest.raises(GuardUnavailable) as caught:
        guard.check("hello there " * 5000)
    assert "context_length" == caught.value.reason


async def test_a_text_longer_than_the_context_is_judged_in_chunks(tiny_guard: Embedded) -> None:
    """Chunks as short as the stand-in can read: what is unsafe in the middle of a long text is found, and all else safe."""
    harmless = "hello there " * 200
    async with guard_at(tiny_guard, splitting={"chunk_size": 60, "chunk_overlap": 20, "max_chunks": 300}) as guard:
        for verdict in (guard.check(f"{harmless} walnut {harmless}"), await guard.acheck(f"{harmless} walnut wood")):
            assert ["S9"] == [category.code for category in verdict.categories]
        assert (await guard.acheck(harmless)).safe


async def test_the_same_question_is_not_put_to_the_server_again(tiny_guard: Embedded) -> None:
    """With a cache, as by default, the second verdict is the first."""
    async with guard_at(tiny_guard, cache=True) as guard:
        first, second = guard.check("a walnut table"), await guard.acheck("a walnut table")
    assert (first.generation_id, True) == (second.generation_id, second.cached)


async def test_a_server_that_is_gone_is_no_verdict(tiny_guard_path: Path) -> None:
    """A chain whose guard has stopped shows its apology and nothing of the model's."""
    with Embedded(tiny_guard_path, model="meta-llama/llama-guard-4-12b", parallel=1) as host:  # no other's server
        guard = guard_at(host)
        assert guard.check("hello there").safe
        assert (await guard.acheck("hello there")).safe
    with pytest.raises(GuardUnavailable) as caught:
        guard.check("hello there")
    assert caught.value.reason in ("connection", "cut")
    provider = FakeProvider(chat=lambda _: Reply("this is oak"))
    chain = guarded(ChatLlamaScout(api_key="k", http_client=provider.client()), guard) | StrOutputParser()
    assert "a safety check could not be completed" in chain.invoke("which wood is this")
    assert [] == provider.requests_of("chat")
