"""Retrieved passages under guard: each judged as the model would read it, and what becomes of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fake_provider import FakeProvider, Fault
from langchain_core.documents import Document
from langchain_core.prompts import PromptTemplate, format_document
from pydantic import ValidationError
from with_langchain.passages import QUESTION, found, guard_of, texts

from langchain_llama_guard import GuardUnavailable, UnsafeContent
from langchain_llama_guard.document_compressors import LlamaGuardDocumentCompressor
from llama_guard_core.classifier import LlamaGuard as CoreGuard
from llama_guard_core.guardrail.screening import Check
from llama_guard_core.guardrail.verdict import Verdict


async def judged(compressor: LlamaGuardDocumentCompressor, passages: list[Document]) -> list[Document]:
    return compressor.compress_documents(passages, QUESTION)


async def ajudged(compressor: LlamaGuardDocumentCompressor, passages: list[Document]) -> list[Document]:
    return await compressor.acompress_documents(passages, QUESTION)


Way = Callable[[LlamaGuardDocumentCompressor, list[Document]], Awaitable[list[Document]]]
every_way = pytest.mark.parametrize("way", [judged, ajudged])


@every_way
async def test_unsafe_passages_are_dropped_and_the_others_stay_as_they_are(provider: FakeProvider, way: Way) -> None:
    passages = found("one", "a BOMB", "three")
    left = await way(LlamaGuardDocumentCompressor(guard=guard_of(provider)), passages)
    assert [passages[0], passages[2]] == left
    assert passages[0] is left[0]


@every_way
async def test_each_passage_is_judged_on_its_own_and_without_the_question(provider: FakeProvider, way: Way) -> None:
    await way(LlamaGuardDocumentCompressor(guard=guard_of(provider)), found("one", "two"))
    assert {(("user", "one"),), (("user", "two"),)} == {asked.turns for asked in provider.guard_questions}


@every_way
async def test_what_langchains_own_prompt_does_not_show_is_not_judged(provider: FakeProvider, way: Way) -> None:
    passage = Document("text", metadata={"note": "a BOMB"})
    assert [passage] == await way(LlamaGuardDocumentCompressor(guard=guard_of(provider)), [passage])
    assert format_document(passage, PromptTemplate.from_template("{page_content}")) == provider.guard_questions[0].text


@every_way
@pytest.mark.parametrize("keys", [["title"], ("title", "missing"), "all"])
async def test_metadata_that_a_prompt_shows_is_judged_with_the_text(
    provider: FakeProvider, way: Way, keys: Any
) -> None:
    passage = Document("text", metadata={"title": {"main": "a BOMB"}})
    compressor = LlamaGuardDocumentCompressor(guard=guard_of(provider), metadata_keys=keys)
    assert [] == await way(compressor, [passage])
    assert "title: main: a BOMB\n\ntext" == provider.guard_questions[0].text


def test_one_key_by_itself_is_refused_and_not_taken_for_its_letters(provider: FakeProvider) -> None:
    with pytest.raises(ValidationError, match="metadata_keys"):
        LlamaGuardDocumentCompressor(guard=guard_of(provider), metadata_keys="title")


@every_way
async def test_blank_passages_are_not_asked_about(provider: FakeProvider, way: Way) -> None:
    passages = found(" \n", "")
    assert passages == await way(LlamaGuardDocumentCompressor(guard=guard_of(provider)), passages)
    assert [] == provider.guard_questions


@every_way
async def test_a_passage_found_twice_is_asked_about_once(provider: FakeProvider, way: Way) -> None:
    compressor = LlamaGuardDocumentCompressor(guard=guard_of(provider))
    await way(compressor, found("one"))
    assert ["one"] == texts(await way(compressor, found("one")))
    assert 1 == len(provider.guard_questions)


@every_way
async def test_an_unjudged_passage_is_dropped_or_let_through_as_the_policy_says(
    provider: FakeProvider, way: Way
) -> None:
    provider.fail(Fault.status(500), on="guard")
    for on_unsafe in ("drop", "flag"):
        compressor = LlamaGuardDocumentCompressor(guard=guard_of(provider), on_unsafe=on_unsafe)
        assert [] == await way(compressor, found("one"))
    allowing = guard_of(provider, on_no_verdict="allow")
    (left,) = await way(LlamaGuardDocumentCompressor(guard=allowing), found("one"))
    assert "unjudged" == left.metadata["llama_guard"]
    for refusing in ({"on_unsafe": "refuse"}, {"guard": guard_of(provider, on_no_verdict="raise")}):
        with pytest.raises(GuardUnavailable):
            await way(LlamaGuardDocumentCompressor(**{"guard": guard_of(provider), **refusing}), found("one"))


@every_way
async def test_a_flagged_passage_is_a_copy_that_says_so_in_its_metadata(provider: FakeProvider, way: Way) -> None:
    passage = Document("a BOMB and a KNIFE", id="7", metadata={"title": "t"})
    (left,) = await way(LlamaGuardDocumentCompressor(guard=guard_of(provider), on_unsafe="flag"), [passage])
    assert Document("a BOMB and a KNIFE", id="7", metadata={"title": "t", "llama_guard": "S9,S1"}) == left
    assert {"title": "t"} == passage.metadata


@every_way
async def test_a_passage_flagged_without_a_named_hazard_is_marked_unsafe(provider: FakeProvider, way: Way) -> None:
    (left,) = await way(LlamaGuardDocumentCompressor(guard=guard_of(provider), on_unsafe="flag"), found("NAMELESS"))
    assert "unsafe" == left.metadata["llama_guard"]


@every_way
async def test_a_hazard_that_the_policy_flags_is_kept_and_marked(provider: FakeProvider, way: Way) -> None:
    guard = guard_of(provider, hazards={"S6": "flag"})
    (left,) = await way(LlamaGuardDocumentCompressor(guard=guard), found("a DIAGNOSIS"))
    assert "S6" == left.metadata["llama_guard"]


@every_way
async def test_in_monitor_mode_every_passage_is_kept_and_the_unsafe_are_marked(
    provider: FakeProvider, way: Way
) -> None:
    guard = guard_of(provider, mode="monitor")
    left = await way(LlamaGuardDocumentCompressor(guard=guard, on_unsafe="refuse"), found("one", "a BOMB"))
    assert [None, "S9"] == [passage.metadata.get("llama_guard") for passage in left]


@every_way
async def test_one_unsafe_passage_stops_the_answer_where_that_is_asked_for(provider: FakeProvider, way: Way) -> None:
    raising = guard_of(provider, on_unsafe="raise")
    for settings in ({"guard": guard_of(provider), "on_unsafe": "refuse"}, {"guard": raising}):
        with pytest.raises(UnsafeContent, match=r"judged the document unsafe \(S9") as raised:
            await way(LlamaGuardDocumentCompressor(**settings), found("one", "a BOMB"))
        assert "BOMB" not in str(raised.value)


@every_way
async def test_a_policy_that_does_not_judge_documents_lets_them_pass_unasked(provider: FakeProvider, way: Way) -> None:
    passages = found("a BOMB")
    guard = guard_of(provider, stages=["prompt"])
    assert passages == await way(LlamaGuardDocumentCompressor(guard=guard), passages)
    assert [] == provider.guard_questions


class _Counting(CoreGuard):
    """A guard that counts how many checks are under way at once."""

    def __init__(self) -> None:
        super().__init__(api_key="k")
        self.now = self.most = self.finished = 0

    async def ajudge(self, question: Check) -> Verdict:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            for _ in range(10):
                await asyncio.sleep(0)
        finally:
            self.now -= 1
        self.finished += 1
        return Verdict(safe=True, stage=question.stage)


async def test_async_calls_judge_several_passages_at_once_and_no_more_than_asked_for() -> None:
    guard = _Counting()
    passages = found(*(f"passage {n}" for n in range(10)))
    assert passages == await ajudged(LlamaGuardDocumentCompressor(guard=guard, at_once=3), passages)
    assert (3, 10) == (guard.most, guard.finished)


def test_it_is_written_out_without_its_guard(provider: FakeProvider) -> None:
    written = LlamaGuardDocumentCompressor(guard=guard_of(provider)).model_dump()
    assert {"on_unsafe": "drop", "at_once": 8, "metadata_keys": ()} == written


@pytest.mark.parametrize("wrong", [{"at_once": 0}, {"on_unsafe": "ignore"}, {"guard": None}])
def test_settings_that_mean_nothing_are_refused(provider: FakeProvider, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        LlamaGuardDocumentCompressor(**{"guard": guard_of(provider), **wrong})
