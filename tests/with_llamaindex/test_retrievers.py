"""A retriever under guard: its passages are judged wherever it is used."""

from __future__ import annotations

from typing import Any

import pytest
from fake_provider import FakeProvider
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import get_response_synthesizer
from llama_index.core.schema import IndexNode, NodeWithScore, QueryBundle, TextNode
from llama_index.core.tools import RetrieverTool
from with_llamaindex.engines import QUESTION, Saying
from with_llamaindex.scouts import guard_of

from llamaindex_llama_guard import GuardedRetriever, UnsafeContent


class Finding(BaseRetriever):
    """Finds what it was given, and says how it was asked."""

    def __init__(self, *nodes: Any) -> None:
        super().__init__()
        self.nodes = [NodeWithScore(node=TextNode(text=n) if isinstance(n, str) else n, score=0.5) for n in nodes]
        self.asked: list[tuple[str, QueryBundle]] = []

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        self.asked.append(("sync", query_bundle))
        return self.nodes

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        self.asked.append(("async", query_bundle))
        return self.nodes


def texts(nodes: list[NodeWithScore]) -> list[str]:
    return [node.get_content() for node in nodes]


async def test_unsafe_passages_are_not_found(provider: FakeProvider) -> None:
    retriever = GuardedRetriever(Finding("one", "a BOMB"), guard_of(provider))
    assert ["one"] == texts(retriever.retrieve(QUESTION)) == texts(await retriever.aretrieve(QUESTION))


async def test_the_question_is_handed_on_whole_and_in_its_own_colour(provider: FakeProvider) -> None:
    inner = Finding("one")
    bundle = QueryBundle(QUESTION, custom_embedding_strs=["clocks"])
    retriever = GuardedRetriever(inner, guard_of(provider))
    retriever.retrieve(bundle)
    await retriever.aretrieve(bundle)
    assert [("sync", bundle), ("async", bundle)] == inner.asked


async def test_what_becomes_of_an_unsafe_passage_can_be_chosen(provider: FakeProvider) -> None:
    flagging = GuardedRetriever(Finding("a BOMB"), guard_of(provider), on_unsafe="flag")
    assert "S9" == flagging.retrieve(QUESTION)[0].metadata["llama_guard"]
    refusing = GuardedRetriever(Finding("a BOMB"), guard_of(provider), on_unsafe="refuse")
    with pytest.raises(UnsafeContent):
        await refusing.aretrieve(QUESTION)


async def test_what_a_passage_stands_for_is_judged_and_nothing_is_followed_afterwards(provider: FakeProvider) -> None:
    hidden = IndexNode(text="deeper", index_id="2", obj=TextNode(text="a BOMB, two steps away"))
    inner = Finding(
        IndexNode(text="a link", index_id="1", obj=hidden), IndexNode(text="x", index_id="3", obj=Finding("a BOMB"))
    )
    retriever = GuardedRetriever(inner, guard_of(provider))
    assert ["deeper"] == texts(retriever.retrieve(QUESTION)) == texts(await retriever.aretrieve(QUESTION))


async def test_a_query_engine_and_a_tool_read_only_what_is_left(provider: FakeProvider) -> None:
    llm = Saying()
    retriever = GuardedRetriever(Finding("one", "a BOMB"), guard_of(provider))
    RetrieverQueryEngine(retriever, get_response_synthesizer(llm=llm)).query(QUESTION)
    assert "BOMB" not in llm.prompts[0]
    assert "one" in llm.prompts[0]
    tool = RetrieverTool.from_defaults(retriever)
    assert "BOMB" not in (await tool.acall(QUESTION)).content + tool.call(QUESTION).content


def test_prompts_are_those_of_the_retriever_inside(provider: FakeProvider) -> None:
    inner = Finding("one")
    inner._get_prompts = lambda: {"rewrite": "?"}
    assert {"rewrite": "?"} == GuardedRetriever(inner, guard_of(provider)).get_prompts()
