"""GuardedQueryEngine: somebody's query engine, with its questions and answers judged."""

# ruff: noqa: SLF001 - to wrap an engine is to call its hooks and to look inside

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.base.response.schema import (
    RESPONSE_TYPE,
    AsyncStreamingResponse,
    PydanticResponse,
    Response,
    StreamingResponse,
)
from llama_index.core.llms.structured_llm import StructuredLLM
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.prompts.mixin import PromptDictType, PromptMixinType
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import BaseSynthesizer
from llama_index.core.schema import NodeWithScore, QueryBundle
from typing_extensions import Self

from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.drive import acatching, arun, catching, run
from llama_guard_core.guardrail.screening import guarded_call
from llama_guard_core.guardrail.verdict import Stage
from llamaindex_llama_guard._guarded_queries import GuardedQuery
from llamaindex_llama_guard._unobserved import unobserved


class GuardedQueryEngine(BaseQueryEngine):
    """A query engine whose questions are judged before anything is retrieved, and whose answers before they are seen.

    The question is judged as the user put it, with everything that is searched with and without the passages; the
    answer as the answer to that question. A refusal has the type of the answer it stands for: text, a stream, or a
    `PydanticResponse` around a `Refusal`. What was decided is in `response.metadata["llama_guard"]`; of a stream,
    once it has ended. A stream is shown as verdicts cover it, the way the policy's `streaming` says. Where the
    policy says `prompt_check="parallel"`, an async query begins to retrieve and to answer beside the question's check.

    It does not judge the passages: that is `LlamaGuardPostprocessor`'s and `GuardedRetriever`'s work. `retrieve` is
    handed on as it is. The question itself is in the events LlamaIndex sends when a query begins.

    What the engine's models write is told to event handlers, spans and callbacks before anybody can judge it. So
    where the answer is judged here, handlers do not see what happens inside while it is made. Of an engine that
    retrieves and then answers they see the retrieval, and all of it if its model is guarded from inside,
    under the same policy: `LlamaScout(guard=guard)`, or `guarded(llm, guard)`.

    Args:
        engine: the query engine to guard.
        guard: what judges it, with the policy for what follows.
        streaming: whether callers expect a stream, so that a question can be refused by one. Left out, the engine
            is asked.
        keeps_sources: whether a refused answer keeps its `source_nodes`.
        nothing_left: what is answered where no passage was found, or none may be shown, in place of LlamaIndex's
            "Empty Response".
        observed: whether handlers see what happens inside, whatever it is. Left out, as said above.

    Example:
        ```python
        engine = GuardedQueryEngine(index.as_query_engine(), guard)
        print(engine.query("What does the museum show?"))
        ```
    """

    def __new__(cls, engine: BaseQueryEngine | None = None, *_: Any, **__: Any) -> Self:
        """An engine of the kind that is guarded: LlamaIndex treats a `RetrieverQueryEngine` in ways of its own."""
        is_retriever_engine = cls is GuardedQueryEngine and isinstance(engine, RetrieverQueryEngine)
        return super().__new__(_GuardedRetrieverQueryEngine if is_retriever_engine else cls)  # type: ignore[return-value]

    def __init__(
        self,
        engine: BaseQueryEngine,
        guard: LlamaGuard,
        *,
        streaming: bool | None = None,
        keeps_sources: bool = False,
        nothing_left: str | None = None,
        observed: bool | None = None,
    ) -> None:
        BaseQueryEngine.__init__(self, callback_manager=engine.callback_manager)
        self.engine = engine
        self.guard = guard
        self.streaming = streaming
        self.keeps_sources = keeps_sources
        self.nothing_left = nothing_left
        self.observed = observed

    @property
    def hides(self) -> bool:
        """Whether handlers are kept from seeing an answer while it is made."""
        policy = self.guard.policy
        return (policy.judges(Stage.REPLY) or policy.prompt_check == "parallel") and not self.observed

    def retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        """The engine's own; nothing is judged."""
        return self.engine.retrieve(query_bundle)

    async def aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        """The engine's own, where it has one; nothing is judged."""
        nodes: list[NodeWithScore] = await self.engine.aretrieve(query_bundle)  # type: ignore[attr-defined]
        return nodes

    def synthesize(
        self,
        query_bundle: QueryBundle,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
    ) -> RESPONSE_TYPE:
        """Answer from these passages; question and answer are judged."""

        def call() -> RESPONSE_TYPE:
            with self._hiding():
                return self.engine.synthesize(query_bundle, nodes, additional_source_nodes)

        return self._guarded(query_bundle, call)

    async def asynthesize(
        self,
        query_bundle: QueryBundle,
        nodes: list[NodeWithScore],
        additional_source_nodes: Sequence[NodeWithScore] | None = None,
    ) -> RESPONSE_TYPE:
        """Answer from these passages; question and answer are judged."""

        async def call() -> RESPONSE_TYPE:
            with self._hiding():
                return await self.engine.asynthesize(query_bundle, nodes, additional_source_nodes)

        return await self._aguarded(query_bundle, call)

    def _get_prompts(self) -> PromptDictType:
        return self.engine._get_prompts()

    def _get_prompt_modules(self) -> PromptMixinType:
        return self.engine._get_prompt_modules()

    def _update_prompts(self, prompts: PromptDictType) -> None:
        self.engine._update_prompts(prompts)

    def _query(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        return self._guarded(query_bundle, lambda: self._answer(query_bundle))

    async def _aquery(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        return await self._aguarded(query_bundle, lambda: self._aanswer(query_bundle))

    def _answer(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        with self._hiding():
            return self.engine.query(query_bundle)

    async def _aanswer(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        with self._hiding():
            return await self.engine.aquery(query_bundle)

    def _guarded(self, query_bundle: QueryBundle, call: Callable[[], RESPONSE_TYPE]) -> RESPONSE_TYPE:
        query = GuardedQuery(self, query_bundle, self._expected(StreamingResponse))
        flow = guarded_call(self.guard.policy, query.conversation, query.read)
        return query.result(run(flow, self.guard.judge, catching(call, query.failed)))

    async def _aguarded(self, query_bundle: QueryBundle, call: Callable[[], Awaitable[RESPONSE_TYPE]]) -> RESPONSE_TYPE:
        query = GuardedQuery(self, query_bundle, self._expected(AsyncStreamingResponse))
        flow = guarded_call(self.guard.policy, query.conversation, query.read)
        return query.result(await arun(flow, self.guard.ajudge, acatching(call, query.failed)))

    def _hiding(self) -> AbstractContextManager[None]:
        return unobserved() if self.hides else nullcontext()

    def _expected(self, stream: type[Any]) -> type[Any]:
        """What callers will be given if nothing is refused, as far as the engine tells."""
        if _streams(self.engine) if self.streaming is None else self.streaming:
            return stream
        synthesizer = _synthesizer_of(self.engine)
        structured = synthesizer and (synthesizer._output_cls or isinstance(synthesizer._llm, StructuredLLM))
        return PydanticResponse if structured else Response


class _GuardedRetrieverQueryEngine(GuardedQueryEngine, RetrieverQueryEngine):
    """To LlamaIndex a `RetrieverQueryEngine` still, whose streaming is switched on and off from outside."""

    engine: RetrieverQueryEngine

    @property
    def hides(self) -> bool:
        guard = getattr(self._response_synthesizer._llm, "guard", None)
        told_only_judged = isinstance(guard, LlamaGuard) and guard.policy == self.guard.policy
        return super().hides and not (told_only_judged and self.observed is None)

    def with_retriever(self, retriever: BaseRetriever) -> GuardedQueryEngine:  # type: ignore[override]
        """The same engine, guarded, on another retriever."""
        return GuardedQueryEngine(
            self.engine.with_retriever(retriever),
            self.guard,
            streaming=self.streaming,
            keeps_sources=self.keeps_sources,
            nothing_left=self.nothing_left,
            observed=self.observed,
        )

    @property
    def _retriever(self) -> BaseRetriever:  # type: ignore[override]
        return self.engine._retriever

    @property
    def _response_synthesizer(self) -> BaseSynthesizer:  # type: ignore[override]
        return self.engine._response_synthesizer

    @property
    def _node_postprocessors(self) -> list[BaseNodePostprocessor]:  # type: ignore[override]
        return self.engine._node_postprocessors

    def _answer(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        if not self._only_answers_in_the_end:
            return super()._answer(query_bundle)
        nodes = self.engine.retrieve(query_bundle)
        with self._hiding():
            return self.engine.synthesize(query_bundle, nodes)

    async def _aanswer(self, query_bundle: QueryBundle) -> RESPONSE_TYPE:
        if not self._only_answers_in_the_end:
            return await super()._aanswer(query_bundle)
        nodes = await self.engine.aretrieve(query_bundle)
        with self._hiding():
            return await self.engine.asynthesize(query_bundle, nodes)

    @property
    def _only_answers_in_the_end(self) -> bool:
        """Whether a query is a retrieval and then an answer, of which handlers may see the first."""
        return type(self.engine) is RetrieverQueryEngine and self.hides


def _synthesizer_of(engine: BaseQueryEngine) -> BaseSynthesizer | None:
    synthesizer = getattr(engine, "_response_synthesizer", None)
    return synthesizer if isinstance(synthesizer, BaseSynthesizer) else None


def _streams(engine: BaseQueryEngine) -> bool:
    """Whether an engine answers with streams, by its synthesizer or by the engines inside it."""
    if synthesizer := _synthesizer_of(engine):
        return bool(synthesizer._streaming)
    inside = [getattr(engine, "_query_engine", None), *getattr(engine, "_query_engines", ())]
    return any(
        _streams(each) for each in (*inside, getattr(engine, "engine", None)) if isinstance(each, BaseQueryEngine)
    )
