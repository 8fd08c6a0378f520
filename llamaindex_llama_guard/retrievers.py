"""GuardedRetriever: somebody's retriever, with its passages judged."""

# ruff: noqa: SLF001 - to wrap an engine is to call its hooks and to look inside

from __future__ import annotations

from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.prompts.mixin import PromptDictType, PromptMixinType
from llama_index.core.schema import NodeWithScore, QueryBundle

from llama_guard_core.classifier import LlamaGuard
from llamaindex_llama_guard.postprocessors import LlamaGuardPostprocessor, OnUnsafePassage


class GuardedRetriever(BaseRetriever):
    """A retriever whose passages are judged before anybody reads them.

    For the places that go round postprocessors: retriever tools of agents, routers, retrievers in retrievers. The
    passages are judged as `LlamaGuardPostprocessor` judges them; the question is not.

    Args:
        retriever: the retriever to guard.
        guard: what judges, with the policy for the stage `document`.
        on_unsafe: what becomes of a passage that the policy refuses; see `LlamaGuardPostprocessor`.
        at_once: how many passages an async call asks about at the same time.
    """

    def __init__(
        self,
        retriever: BaseRetriever,
        guard: LlamaGuard,
        *,
        on_unsafe: OnUnsafePassage = "drop",
        at_once: int = 8,
    ) -> None:
        super().__init__(callback_manager=getattr(retriever, "callback_manager", None))
        self._retriever = retriever
        self._passages = LlamaGuardPostprocessor(guard=guard, on_unsafe=on_unsafe, at_once=at_once)

    def _get_prompts(self) -> PromptDictType:
        return self._retriever._get_prompts()

    def _get_prompt_modules(self) -> PromptMixinType:
        return self._retriever._get_prompt_modules()

    def _update_prompts(self, prompts: PromptDictType) -> None:
        self._retriever._update_prompts(prompts)

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return self._passages.postprocess_nodes(self._retriever.retrieve(query_bundle), query_bundle)

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await self._passages.apostprocess_nodes(await self._retriever.aretrieve(query_bundle), query_bundle)

    # The retriever inside has followed its nodes to what they stand for; following them again would bring in
    # passages that nobody has judged.
    def _handle_recursive_retrieval(
        self,
        query_bundle: QueryBundle,  # noqa: ARG002 - LlamaIndex's own signature
        nodes: list[NodeWithScore],
    ) -> list[NodeWithScore]:
        return nodes

    async def _ahandle_recursive_retrieval(
        self,
        query_bundle: QueryBundle,  # noqa: ARG002 - LlamaIndex's own signature
        nodes: list[NodeWithScore],
    ) -> list[NodeWithScore]:
        return nodes
