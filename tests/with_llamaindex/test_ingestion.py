"""Documents under guard on their way into an index."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from fake_provider import FakeProvider, Fault
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.ingestion.pipeline import get_transformation_hash
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import MetadataMode, TextNode
from with_llamaindex.scouts import guard_of

from llamaindex_llama_guard import GuardUnavailable, LlamaGuard, LlamaGuardTransform, Policy, UnsafeContent


async def run(pipeline: IngestionPipeline, documents: list[Document]) -> list[str]:
    return [node.get_content() for node in pipeline.run(documents=documents)]


async def arun(pipeline: IngestionPipeline, documents: list[Document]) -> list[str]:
    return [node.get_content() for node in await pipeline.arun(documents=documents)]


Way = Callable[[IngestionPipeline, list[Document]], Awaitable[list[str]]]
every_way = pytest.mark.parametrize("way", [run, arun])
DOCUMENTS = [Document(text="About clocks."), Document(text="Build a BOMB."), Document(text="About maps.")]


def pipeline(guard: LlamaGuard, cache: IngestionCache | None = None, **settings: Any) -> IngestionPipeline:
    steps = [SentenceSplitter(), LlamaGuardTransform(guard=guard, **settings)]
    return IngestionPipeline(transformations=steps, cache=cache, disable_cache=cache is None)


@every_way
async def test_poisoned_documents_stay_out(provider: FakeProvider, way: Way) -> None:
    assert ["About clocks.", "About maps."] == await way(pipeline(guard_of(provider)), DOCUMENTS)


async def test_an_index_is_made_without_them(provider: FakeProvider) -> None:
    transform = LlamaGuardTransform(guard=guard_of(provider))
    index = VectorStoreIndex.from_documents(
        DOCUMENTS, transformations=[SentenceSplitter(), transform], embed_model=MockEmbedding(embed_dim=4)
    )
    assert {"About clocks.", "About maps."} == {node.get_content() for node in index.docstore.docs.values()}


@every_way
async def test_nothing_may_be_left(provider: FakeProvider, way: Way) -> None:
    assert [] == await way(pipeline(guard_of(provider)), [DOCUMENTS[1]])


async def test_nodes_are_judged_as_a_model_will_read_them(provider: FakeProvider) -> None:
    node = TextNode(text="text", metadata={"title": "a BOMB"})
    transform = LlamaGuardTransform(guard=guard_of(provider))
    assert [] == transform([node]) == await transform.acall([node])
    assert node.get_content(MetadataMode.LLM) == provider.guard_questions[0].text


async def test_what_the_policy_flags_is_kept_and_marked_with_a_flat_text(provider: FakeProvider) -> None:
    node = TextNode(text="a DIAGNOSIS")
    (kept,) = LlamaGuardTransform(guard=guard_of(provider, hazards={"S6": "flag"}))([node])
    assert {"llama_guard": "S6"} == kept.metadata
    assert {} == node.metadata
    assert "a DIAGNOSIS" == kept.get_content(MetadataMode.LLM) == kept.get_content(MetadataMode.EMBED)


@every_way
async def test_a_policy_that_raises_raises(provider: FakeProvider, way: Way) -> None:
    with pytest.raises(UnsafeContent):
        await way(pipeline(guard_of(provider, on_unsafe="raise")), DOCUMENTS)


@every_way
@pytest.mark.parametrize("policy", [{}, {"on_no_verdict": "allow"}, {"mode": "monitor"}])
async def test_a_failed_check_is_never_cached_as_passed(
    provider: FakeProvider, way: Way, policy: dict[str, Any]
) -> None:
    cache = IngestionCache()
    guarded = pipeline(guard_of(provider, **policy), cache)
    provider.fail(Fault.status(500), on="guard", first=1)
    with pytest.raises(GuardUnavailable):
        await way(guarded, [DOCUMENTS[1]])
    expected = ["Build a BOMB."] if policy.get("mode") == "monitor" else []
    assert expected == await way(guarded, [DOCUMENTS[1]])


@every_way
async def test_what_could_not_be_judged_is_dropped_on_request(provider: FakeProvider, way: Way) -> None:
    provider.fail(Fault.status(500), on="guard", nth=1)
    guarded = pipeline(guard_of(provider, on_no_verdict="allow"), on_no_verdict="drop", at_once=1)
    assert ["About maps."] == await way(guarded, DOCUMENTS)


@every_way
async def test_what_was_judged_under_this_policy_is_not_asked_about_again(provider: FakeProvider, way: Way) -> None:
    cache = IngestionCache()
    for _ in range(2):
        assert ["About clocks.", "About maps."] == await way(pipeline(guard_of(provider), cache), DOCUMENTS)
    assert 3 == len(provider.guard_questions)


STRICTER = [
    {"hazards": {"S6": "flag"}},
    {"mode": "monitor"},
    {"stages": ["prompt"]},
    {"per_stage": {"document": {"hazards": {"S9": "flag"}}}},
]


@pytest.mark.parametrize("policy", STRICTER)
def test_another_policy_or_another_model_is_another_cache_entry(provider: FakeProvider, policy: dict[str, Any]) -> None:
    nodes = [TextNode(text="one")]
    usual = LlamaGuardTransform(guard=guard_of(provider))
    other = LlamaGuardTransform(guard=guard_of(provider, **policy))
    small = LlamaGuardTransform(guard=LlamaGuard(model="meta-llama/llama-guard-3-8b"))
    assert 3 == len({get_transformation_hash(nodes, transform) for transform in (usual, other, small)})


def test_the_same_policy_is_the_same_cache_entry_in_every_process(provider: FakeProvider) -> None:
    nodes = [TextNode(text="one")]
    chatty = guard_of(provider, refusal=lambda verdict: "No.", per_stage={"reply": {"mode": "monitor"}})
    transforms = LlamaGuardTransform(guard=guard_of(provider)), LlamaGuardTransform(guard=chatty, at_once=2)
    assert 1 == len({get_transformation_hash(nodes, transform) for transform in transforms})


def test_it_travels_to_another_process_with_its_guard() -> None:
    policy = Policy(hazards={"S6": "flag"})
    transform = LlamaGuardTransform(guard=LlamaGuard(api_key="k", policy=policy), on_no_verdict="drop")
    arrived = pickle.loads(pickle.dumps(transform))  # noqa: S301 - our own bytes
    assert (policy, "drop", transform.to_dict()) == (arrived.guard.policy, arrived.on_no_verdict, arrived.to_dict())


def test_it_does_not_travel_without_its_guard() -> None:
    with httpx.Client() as client, pytest.raises(TypeError, match="pickle"):
        pickle.dumps(LlamaGuardTransform(guard=LlamaGuard(api_key="k", http_client=client)))


async def test_what_arrived_judges_as_what_was_sent(provider: FakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", "k")  # a pickle takes no key along
    with provider.serve() as base_url:
        sent = pickle.dumps(LlamaGuardTransform(guard=LlamaGuard(host="openrouter", base_url=base_url)))
        transform = pickle.loads(sent)  # noqa: S301 - our own bytes
        assert [] == transform([TextNode(text="a BOMB")]) == await transform.acall([TextNode(text="a BOMB")])
        transform.guard.close()
        await transform.guard.aclose()


async def test_async_calls_do_not_block_the_loop(provider: FakeProvider) -> None:
    ticks: list[int] = []

    async def tick() -> None:
        while True:
            ticks.append(1)
            await asyncio.sleep(0)

    ticking = asyncio.ensure_future(tick())
    await LlamaGuardTransform(guard=guard_of(provider)).acall([TextNode(text="one")])
    ticking.cancel()
    assert ticks
