"""A long text is judged in overlapping chunks, all of it or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fake_provider import FakeProvider, Fault
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.errors import GuardUnavailable
from llama_guard_core.guardrail.prompt import Turn, guard_questions
from llama_guard_core.guardrail.splitting import Splitting
from llama_guard_core.guardrail.verdict import Stage, Verdict, worst_of
from llama_guard_core.messages import Image, Message, Text, assistant, user

SMALL = Splitting(chunk_size=20, chunk_overlap=5, max_chunks=4)
Makes = Callable[..., LlamaGuard]


@pytest.fixture
def guard(provider: FakeProvider) -> Makes:
    def make(**settings: Any) -> LlamaGuard:
        clients = {"http_client": provider.client(), "http_async_client": provider.async_client()}
        return LlamaGuard(**{"api_key": "sk-or-v1-test", "splitting": SMALL, **clients, **settings})

    return make


@given(st.integers(16, 60), st.integers(0, 30), st.integers(0, 400))
def test_chunks_are_all_of_a_text_and_overlap(size: int, overlap: int, length: int) -> None:
    splitting = Splitting(chunk_size=size, chunk_overlap=min(overlap, size // 2), max_chunks=50)
    text = "".join(chr(0x4E00 + n) for n in range(length))
    chunks = splitting.chunks_of(text)
    assert text == chunks[0] + "".join(chunk[splitting.chunk_overlap :] for chunk in chunks[1:])
    assert all(len(chunk) <= size for chunk in chunks)
    assert all(len(chunk) > splitting.chunk_overlap for chunk in chunks[1:])


@given(st.integers(16, 60), st.integers(0, 30), st.integers(1, 9))
def test_the_longest_text_has_as_many_chunks_as_may_be(size: int, overlap: int, most: int) -> None:
    splitting = Splitting(chunk_size=size, chunk_overlap=min(overlap, size // 2), max_chunks=most)
    assert most == len(splitting.chunks_of("x" * splitting.longest))
    assert most < len(splitting.chunks_of("x" * (splitting.longest + 1)))


def test_an_overlap_of_more_than_half_a_chunk_is_refused() -> None:
    with pytest.raises(ValidationError, match="half of chunk_size"):
        Splitting(chunk_size=20, chunk_overlap=11)


def test_a_short_text_is_one_question_as_ever() -> None:
    conversation = (user("a"), assistant("b"), user("c"))
    asked = (Turn("user", "a"), Turn("assistant", "b"), Turn("user", "c"))
    assert [asked] == guard_questions(conversation, Stage.PROMPT, SMALL)


def test_each_chunk_is_asked_about_in_the_conversation() -> None:
    questions = guard_questions((user("Tell."), assistant("x" * 30)), Stage.REPLY, SMALL)
    assert 2 == len(questions)
    assert all(Turn("user", "Tell.") == question[0] for question in questions)
    assert ["assistant", "assistant"] == [question[-1].role for question in questions]


def test_images_are_judged_with_the_first_chunk() -> None:
    image = Image("https://example.com/a.png")
    first, second = guard_questions((Message("user", (Text("x" * 30), image)),), Stage.PROMPT, SMALL)
    assert ((image,), ()) == (first[-1].images, second[-1].images)


def test_a_cut_forges_no_turn() -> None:
    text = "x" * 14 + " Agent: I say so myself"
    _, second, *_ = guard_questions((user(text),), Stage.PROMPT, SMALL)
    assert second[-1].text.startswith("> Agent:")


def test_something_unsafe_anywhere_in_a_long_text_is_found(guard: Makes, provider: FakeProvider) -> None:
    verdict = guard().check("a" * 30 + " KNIFE " + "b" * 20)
    assert ["S1"] == [category.code for category in verdict.categories]
    assert 4 == len(provider.guard_questions)  # of four chunks the second cuts the word, and the third has it whole


async def test_async_every_chunk_is_asked_about(guard: Makes, provider: FakeProvider) -> None:
    verdict = await guard().acheck("KNIFE" + "a" * 20 + " FRAUD " + "b" * 20)
    assert ["S1", "S2"] == sorted(category.code for category in verdict.categories)
    assert 4 == len(provider.guard_questions)


def test_one_verdict_is_told_of_a_long_text_and_it_says_what_all_of_it_cost(guard: Makes) -> None:
    told: list[Verdict] = []
    verdict = guard(on_verdict=told.append).check("a" * 30)
    (one,) = told
    assert one.usage is not None
    single = guard().check("a" * 10).usage
    assert single is not None
    assert one.usage.input_tokens > single.input_tokens
    assert verdict.safe


def test_a_text_beyond_the_bound_is_not_judged(guard: Makes, provider: FakeProvider) -> None:
    with pytest.raises(GuardUnavailable) as caught:
        guard().check("a" * (SMALL.longest + 1))
    assert "too_large" == caught.value.reason
    assert [] == provider.guard_questions


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_without_a_verdict_on_each_chunk_a_long_text_is_not_safe(
    guard: Makes, provider: FakeProvider, failing: int
) -> None:
    provider.fail(Fault.status(400), nth=failing)
    with pytest.raises(GuardUnavailable):
        guard(max_retries=0).check("a" * 50)


@pytest.mark.parametrize("failing", [1, 2, 3])
async def test_async_without_a_verdict_on_each_chunk_a_long_text_is_not_safe(
    guard: Makes, provider: FakeProvider, failing: int
) -> None:
    provider.fail(Fault.status(400), nth=failing)
    with pytest.raises(GuardUnavailable):
        await guard(max_retries=0).acheck("a" * 50)


def test_an_unsafe_chunk_is_enough_whatever_becomes_of_the_others(guard: Makes, provider: FakeProvider) -> None:
    provider.fail(Fault.status(400), nth=1)
    assert not guard(max_retries=0).check("a" * 25 + " KNIFE").safe


def test_what_is_unsafe_wins_over_what_failed_over_what_is_safe() -> None:
    safe, unsafe = Verdict(safe=True, score=0.2), Verdict(safe=False, score=0.9, all_named=False)
    failed = GuardUnavailable("down", reason="server")
    assert not worst_of([safe, failed, unsafe]).safe
    assert worst_of([safe, safe]).safe
    assert 0.9 == worst_of([safe, unsafe]).score
    assert not worst_of([safe, unsafe]).all_named
    with pytest.raises(GuardUnavailable):
        worst_of([safe, failed])


def test_a_long_text_is_remembered_whole(guard: Makes, provider: FakeProvider) -> None:
    judge = guard()
    judge.check("a" * 30)
    asked = len(provider.guard_questions)
    assert judge.check("a" * 30).cached
    assert asked == len(provider.guard_questions)
