"""Each check is one span, in its place in the trace, and holds no judged text."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fake_provider import SMALL_TALK, FakeProvider, Fault
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.span_handlers import BaseSpanHandler
from llama_index.core.llms import ChatMessage
from llama_index_instrumentation.span import active_span_id
from pydantic import PrivateAttr
from with_llamaindex.engines import QUESTION, UNSAFE, Saying, chat_engine, query_engine, text_of
from with_llamaindex.scouts import ENDPOINTS, ask, guard_of, hosted, scout
from with_llamaindex.scouts import text_of as said

from llama_guard_core import LlamaGuard as CoreGuard
from llamaindex_llama_guard import (
    GuardedChatEngine,
    GuardedLLM,
    GuardedQueryEngine,
    GuardUnavailable,
    LlamaGuardPostprocessor,
    Policy,
)

CHECK = "LlamaGuard.check"


class _Tree(BaseSpanHandler[Any]):
    """Remembers every span with its parent, its arguments and how it ended."""

    _spans: dict[str, dict[str, Any]] = PrivateAttr(default_factory=dict)

    @classmethod
    def class_name(cls) -> str:
        return "Tree"

    def new_span(self, id_: str, bound_args: Any, parent_span_id: str | None = None, **_: Any) -> None:
        self._spans[id_] = {"parent": parent_span_id, "arguments": bound_args.arguments}

    def prepare_to_exit_span(self, id_: str, bound_args: Any, result: Any = None, **_: Any) -> None:
        self._spans[id_]["result"] = result

    def prepare_to_drop_span(self, id_: str, bound_args: Any, err: Any = None, **_: Any) -> None:
        self._spans[id_]["error"] = err

    def checks(self) -> list[dict[str, Any]]:
        return [span for id_, span in self._spans.items() if id_.startswith(CHECK)]

    def parents(self) -> list[str]:
        return [str(span["parent"]).split("-", maxsplit=1)[0] for span in self.checks()]


@pytest.fixture
def tree() -> Iterator[_Tree]:
    root = get_dispatcher()
    before, tree = root.span_handlers, _Tree()
    root.span_handlers = [*before, tree]
    yield tree
    root.span_handlers = before


def test_a_check_is_one_span_with_flat_attributes(provider: FakeProvider, tree: _Tree) -> None:
    guard_of(provider).check("a KNIFE and a BOMB")
    (span,) = tree.checks()
    assert {"stage": "prompt", "model": "meta-llama/llama-guard-4-12b", "turns": 1} == span["arguments"]
    assert (False, ["S9", "S1"]) == (span["result"]["safe"], span["result"]["categories"])
    flat = (bool, int, float, str, list)
    assert [] == [value for value in span["result"].values() if not isinstance(value, flat)]


async def test_a_failed_check_is_a_dropped_span(provider: FakeProvider, tree: _Tree) -> None:
    provider.fail(Fault.status(500), on="guard")
    with pytest.raises(GuardUnavailable):
        await guard_of(provider).acheck("a BOMB")
    (span,) = tree.checks()
    assert isinstance(span["error"], GuardUnavailable)


@pytest.mark.parametrize("asked_for", [False, True])
async def test_judged_text_is_in_no_span_unless_asked_for(provider: FakeProvider, tree: _Tree, asked_for: bool) -> None:
    guard = guard_of(provider)
    guard.traces_text = asked_for
    guard.with_policy(Policy(mode="monitor")).check("a BOMB")
    await guard.acheck("a BOMB")
    assert [asked_for, asked_for] == ["BOMB" in repr(span) for span in tree.checks()]


@pytest.mark.parametrize("streaming", [False, True])
async def test_the_checks_of_a_query_belong_to_it_streamed_or_not(
    provider: FakeProvider, tree: _Tree, streaming: bool
) -> None:
    engine = GuardedQueryEngine(query_engine(Saying(), streaming=streaming), guard_of(provider))
    await text_of(engine.query(QUESTION))
    await text_of(await engine.aquery(QUESTION))
    sync, asynchronous = "_GuardedRetrieverQueryEngine._query", "_GuardedRetrieverQueryEngine._aquery"
    assert [sync, sync, asynchronous, asynchronous] == tree.parents()


async def test_the_checks_of_a_chat_belong_to_it(provider: FakeProvider, tree: _Tree) -> None:
    engine = GuardedChatEngine(chat_engine(Saying(), "simple"), guard_of(provider))
    engine.chat(QUESTION)
    "".join(engine.stream_chat(QUESTION).response_gen)
    assert 4 == len(tree.checks())
    assert "None" not in tree.parents()


@pytest.mark.parametrize("endpoint", [name for name in ENDPOINTS if "stream" in name])
@pytest.mark.parametrize("kind", ["guarded", "wrapped"])
async def test_the_checks_of_a_stream_belong_to_the_call_that_opened_it_whenever_it_is_read(
    provider: FakeProvider, tree: _Tree, kind: str, endpoint: str
) -> None:
    llm = scout(provider, kind)
    opened = getattr(llm, endpoint)(QUESTION if "complete" in endpoint else [ChatMessage(content=QUESTION)])
    if endpoint.startswith("a"):
        opened = await opened
    assert [] == tree.checks()
    with reading_elsewhere():
        _ = [item async for item in opened] if endpoint.startswith("a") else list(opened)
    assert ["prompt", "reply"] == [span["arguments"]["stage"] for span in tree.checks()]
    assert [f"{type(llm).__name__}.{endpoint}"] * 2 == tree.parents()


@contextmanager
def reading_elsewhere() -> Iterator[None]:
    """As in the span of another call."""
    token = active_span_id.set("Elsewhere-1")
    try:
        yield
    finally:
        active_span_id.reset(token)


@pytest.mark.parametrize("endpoint", [name for name in ENDPOINTS if "stream" in name])
async def test_a_model_with_a_guard_of_the_core_streams_and_leaves_no_spans_of_checks(
    provider: FakeProvider, tree: _Tree, endpoint: str
) -> None:
    llm = GuardedLLM(scout(provider), CoreGuard(**hosted(provider), policy=Policy(streaming="whole")))
    assert SMALL_TALK == said((await ask(llm, endpoint, "Hello"))[-1])
    assert 2 == len(provider.guard_questions)
    assert [] == tree.checks()


def test_the_passages_checks_are_seen_where_the_answer_is_hidden(provider: FakeProvider, tree: _Tree) -> None:
    guard = guard_of(provider)
    inner = query_engine(Saying(), node_postprocessors=[LlamaGuardPostprocessor(guard=guard)])
    GuardedQueryEngine(inner, guard).query(QUESTION)
    assert ["prompt", "document", "document", "reply"] == [span["arguments"]["stage"] for span in tree.checks()]


def test_a_guard_of_the_core_serves_and_leaves_no_spans(provider: FakeProvider, tree: _Tree) -> None:
    guard = CoreGuard(api_key="k", http_client=provider.client())
    assert "None" != str(GuardedQueryEngine(query_engine(Saying()), guard).query(QUESTION))
    assert [] == tree.checks()


def exporter_of(provider: Any) -> Any:
    export = pytest.importorskip("opentelemetry.sdk.trace.export")
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter").InMemorySpanExporter()
    provider.add_span_processor(export.SimpleSpanProcessor(memory))
    return memory


@pytest.fixture
def phoenix() -> Iterator[Any]:
    """OpenInference's instrumentation, exporting to memory."""
    instrumentation = pytest.importorskip("openinference.instrumentation.llama_index")
    if conflict := instrumentation.LlamaIndexInstrumentor()._check_dependency_conflicts():
        pytest.skip(f"OpenInference takes other versions of LlamaIndex: {conflict}")
    tracing = pytest.importorskip("opentelemetry.sdk.trace").TracerProvider()
    exporter = exporter_of(tracing)
    instrumentor = instrumentation.LlamaIndexInstrumentor()
    instrumentor.instrument(tracer_provider=tracing)
    yield exporter
    instrumentor.uninstrument()


@pytest.fixture(scope="module")
def registered() -> tuple[Any, Any, Any]:
    """LlamaIndex's own OpenTelemetry handlers with their exporter. OpenTelemetry takes one provider a process."""
    otel = pytest.importorskip("llama_index.observability.otel")
    memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter").InMemorySpanExporter()
    root = get_dispatcher()
    before = root.event_handlers, root.span_handlers
    root.event_handlers, root.span_handlers = [], []
    otel.LlamaIndexOpenTelemetry(span_exporter=memory, span_processor="simple").start_registering()
    handlers = root.event_handlers, root.span_handlers
    root.event_handlers, root.span_handlers = before
    return memory, *handlers


@pytest.fixture
def official(registered: tuple[Any, Any, Any]) -> Iterator[Any]:
    """LlamaIndex's own OpenTelemetry handlers, exporting to memory."""
    memory, events, spans = registered
    memory.clear()
    root = get_dispatcher()
    before = root.event_handlers, root.span_handlers
    root.event_handlers, root.span_handlers = [*before[0], *events], [*before[1], *spans]
    yield memory
    root.event_handlers, root.span_handlers = before


@pytest.mark.parametrize("back_end", ["phoenix", "official"])
@pytest.mark.parametrize("streaming", [False, True])
def test_tracing_back_ends_see_the_checks_in_their_place_without_a_warning(
    provider: FakeProvider,
    back_end: str,
    streaming: bool,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
) -> None:
    exporter = request.getfixturevalue(back_end)
    caplog.clear()
    with caplog.at_level(logging.WARNING), warnings.catch_warnings():
        warnings.simplefilter("error")
        engine = GuardedQueryEngine(query_engine(Saying(says=UNSAFE), streaming=streaming), guard_of(provider))
        str(engine.query(QUESTION))
    assert [] == caplog.messages
    spans = exporter.get_finished_spans()
    by_id = {span.context.span_id: span for span in spans}
    checks = [span for span in spans if span.name.startswith(CHECK)]
    assert ["prompt", "reply"] == [span.attributes["llama_guard.stage"] for span in checks]
    assert [True, False] == [span.attributes["llama_guard.safe"] for span in checks]
    assert ("S9",) == checks[1].attributes["llama_guard.categories"]
    assert ["_query", "_query"] == [by_id[span.parent.span_id].name.partition("-")[0].split(".")[-1] for span in checks]
    assert "BOMB" not in repr([(span.name, span.attributes, [e.attributes for e in span.events]) for span in spans])
