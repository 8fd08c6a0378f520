"""A chat engine under guard: what is asked and what is answered is judged before it is remembered."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from fake_provider import FakeProvider, Fault
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.chat_engine.types import BaseChatEngine
from with_llamaindex.engines import (
    APOLOGY,
    CHAT_MODES,
    CHAT_WAYS,
    HARMLESS,
    QUESTION,
    REFUSAL,
    UNSAFE,
    Saying,
    chat,
    chat_engine,
    remembered,
)
from with_llamaindex.scouts import guard_of

from llamaindex_llama_guard import GuardedChatEngine, GuardedLLM, UnsafeContent

every_mode = pytest.mark.parametrize("mode", CHAT_MODES)
every_way = pytest.mark.parametrize("way", CHAT_WAYS.values(), ids=CHAT_WAYS)


@every_mode
@every_way
async def test_a_harmless_message_is_answered_and_remembered(provider: FakeProvider, mode: str, way: Any) -> None:
    engine = GuardedChatEngine(chat_engine(Saying(), mode), guard_of(provider))
    assert HARMLESS == await way(engine, QUESTION)
    assert [("user", QUESTION), ("assistant", HARMLESS)] == remembered(engine)


@every_mode
@every_way
async def test_a_blocked_message_reaches_neither_model_nor_memory(provider: FakeProvider, mode: str, way: Any) -> None:
    llm = Saying()
    engine = GuardedChatEngine(chat_engine(llm, mode), guard_of(provider))
    assert REFUSAL == await way(engine, "How do I build a BOMB?")
    assert [] == llm.prompts
    assert [] == remembered(engine)


@every_mode
@every_way
async def test_an_unsafe_answer_is_neither_shown_nor_remembered(provider: FakeProvider, mode: str, way: Any) -> None:
    engine = GuardedChatEngine(chat_engine(Saying(says=UNSAFE), mode), guard_of(provider))
    assert REFUSAL == await way(engine, QUESTION)
    assert [("user", QUESTION), ("assistant", REFUSAL)] == remembered(engine)


@every_mode
@every_way
async def test_a_conversation_goes_on_after_a_refusal(provider: FakeProvider, mode: str, way: Any) -> None:
    engine = GuardedChatEngine(chat_engine(Saying(), mode), guard_of(provider))
    for message in (QUESTION, "How do I build a BOMB?", "And on Tuesdays?"):
        await way(engine, message)
    assert ["user", "assistant"] * 2 == [role for role, _ in remembered(engine)]
    assert "And on Tuesdays?" == remembered(engine)[2][1]


@every_way
async def test_a_message_is_judged_in_its_conversation(provider: FakeProvider, way: Any) -> None:
    engine = GuardedChatEngine(chat_engine(Saying(), "simple"), guard_of(provider))
    await way(engine, QUESTION)
    await way(engine, "Why?")
    turns = (("user", QUESTION), ("assistant", HARMLESS), ("user", "Why?"))
    assert turns == provider.guard_questions[2].turns
    assert (*turns, ("assistant", HARMLESS)) == provider.guard_questions[3].turns


@every_way
async def test_an_answer_is_judged_without_the_passages(provider: FakeProvider, way: Any) -> None:
    await way(GuardedChatEngine(chat_engine(Saying(), "context"), guard_of(provider)), QUESTION)
    assert (("user", QUESTION), ("assistant", HARMLESS)) == provider.guard_questions[-1].turns


@every_way
async def test_a_history_of_the_callers_is_handed_on(provider: FakeProvider, way: Any) -> None:
    engine = GuardedChatEngine(chat_engine(Saying(), "simple"), guard_of(provider))
    given = [ChatMessage(role="user", content="Hello"), ChatMessage(role="assistant", content="Hello!")]
    await way(engine, QUESTION, chat_history=given)
    assert ["Hello", "Hello!", QUESTION, HARMLESS] == [content for _, content in remembered(engine)]
    assert ("user", "Hello") == provider.guard_questions[0].turns[0]
    await way(engine, QUESTION, chat_history=[])
    assert [QUESTION, HARMLESS] == [content for _, content in remembered(engine)]


async def test_memory_is_written_although_nobody_reads_the_stream(provider: FakeProvider) -> None:
    engine = GuardedChatEngine(chat_engine(Saying(says=UNSAFE), "simple"), guard_of(provider))
    response = engine.stream_chat(QUESTION)
    for thread in threading.enumerate():
        if thread is not threading.main_thread():
            thread.join(timeout=10)
    assert response.is_done
    assert [("user", QUESTION), ("assistant", REFUSAL)] == remembered(engine)


@every_way
async def test_without_a_verdict_on_the_message_the_apology_is_shown(provider: FakeProvider, way: Any) -> None:
    provider.fail(Fault.status(500), on="guard", nth=1)
    engine = GuardedChatEngine(chat_engine(Saying(), "simple"), guard_of(provider))
    assert APOLOGY == await way(engine, QUESTION)
    assert [] == remembered(engine)


@every_way
async def test_without_a_verdict_on_the_answer_the_apology_is_shown_and_remembered(
    provider: FakeProvider, way: Any
) -> None:
    provider.fail(Fault.status(500), on="guard", nth=2)
    engine = GuardedChatEngine(chat_engine(Saying(), "simple"), guard_of(provider))
    assert APOLOGY == await way(engine, QUESTION)
    assert [("user", QUESTION), ("assistant", APOLOGY)] == remembered(engine)


async def test_a_policy_that_raises_raises_before_the_engine_is_asked(provider: FakeProvider) -> None:
    llm = Saying()
    engine = GuardedChatEngine(chat_engine(llm, "simple"), guard_of(provider, on_unsafe="raise"))
    for way in CHAT_WAYS.values():
        with pytest.raises(UnsafeContent):
            await way(engine, "a BOMB")
    assert [] == llm.prompts


async def test_what_was_decided_about_the_message_is_told_beside_the_answer(provider: FakeProvider) -> None:
    engine = GuardedChatEngine(chat_engine(Saying(), "simple"), guard_of(provider))
    answered, refused = engine.chat(QUESTION), await engine.achat("a BOMB")
    assert "allow" == answered.metadata["llama_guard"][0]["action"]
    assert "refuse" == refused.metadata["llama_guard"][0]["action"]


async def test_the_engine_itself_stays_as_it_was_and_shares_its_memory(provider: FakeProvider) -> None:
    llm = Saying()
    inner = chat_engine(llm, "simple")
    engine = GuardedChatEngine(inner, guard_of(provider))
    assert HARMLESS == await chat(engine, QUESTION)
    assert llm is inner._llm
    assert engine.chat_history == inner.chat_history
    engine.reset()
    assert [] == inner.chat_history


async def test_a_model_that_this_guard_judges_already_is_judged_once(provider: FakeProvider) -> None:
    guard = guard_of(provider, stages=["reply"])
    engine = GuardedChatEngine(chat_engine(GuardedLLM(Saying(), guard), "simple"), guard)
    assert HARMLESS == await chat(engine, QUESTION)
    assert 1 == len(provider.guard_questions)


async def test_where_the_policy_judges_no_replies_the_engine_answers_unguarded(provider: FakeProvider) -> None:
    engine = GuardedChatEngine(chat_engine(Saying(says=UNSAFE), "simple"), guard_of(provider, stages=["prompt"]))
    assert UNSAFE == await chat(engine, QUESTION)
    assert 1 == len(provider.guard_questions)


class _Elsewhere(BaseChatEngine):
    """An engine whose model is somewhere behind a connection of its own."""

    chat = stream_chat = reset = chat_history = None

    async def achat(self, message: str, chat_history: Any = None) -> Any: ...

    async def astream_chat(self, message: str, chat_history: Any = None) -> Any: ...


def test_an_engine_that_cannot_be_guarded_from_inside_is_not_taken(provider: FakeProvider) -> None:
    with pytest.raises(TypeError, match=r"_Elsewhere keeps no language model .* guarded\(llm, guard\)"):
        GuardedChatEngine(_Elsewhere(), guard_of(provider))
