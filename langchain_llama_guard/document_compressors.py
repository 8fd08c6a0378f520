"""LlamaGuardDocumentCompressor: retrieved passages, judged before the model reads them."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import ConfigDict, Field

from langchain_llama_guard._documents import MetadataKeys, OnUnsafePassage, passages_left, screen_passage
from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.drive import arun_all, run
from llama_guard_core.guardrail.decisions import Allow, Refuse
from llama_guard_core.guardrail.screening import Flow


class LlamaGuardDocumentCompressor(BaseDocumentCompressor):
    """Judges retrieved passages, each on its own, and keeps from the model those that the policy refuses.

    For `ContextualCompressionRetriever`, `DocumentCompressorPipeline`, and whoever has documents in hand. It is asked
    about the passages alone: a question beside them changes verdicts. Async calls judge several at a time, sync calls
    one after the other.

    It comes after the retriever: callbacks and traces of that have seen all it found. `GuardedRetriever` withholds
    what is refused from them too. In a pipeline, list it before whatever asks a model about the passages.

    It does not judge the question, and it does not find instructions hidden in a passage as such: Llama Guard has no
    category for prompt injection.

    Attributes:
        guard: what judges, with the policy for the stage `document`.
        on_unsafe: what becomes of a passage that the policy refuses: `drop`; `flag`, which keeps it and names the
            hazards under `metadata["llama_guard"]`; or `refuse`, which raises, so that nothing is answered from the
            others either. A passage that could not be judged is dropped where unsafe ones are flagged.
        at_once: how many passages an async call asks about at the same time.
        metadata_keys: what of a document's metadata is judged with its text. None of it is read by a model through
            LangChain's own document prompt, and none is judged; name here what a prompt of yours shows, or `"all"` if
            it is given whole documents.

    Raises:
        UnsafeContent: a passage is unsafe, and `on_unsafe` is `refuse` or the policy says raise.
        GuardUnavailable: a passage could not be judged, and the same.

    Example:
        ```python
        ContextualCompressionRetriever(
            base_retriever=retriever, base_compressor=LlamaGuardDocumentCompressor(guard=guard)
        )
        ```
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    guard: LlamaGuard = Field(exclude=True)
    on_unsafe: OnUnsafePassage = "drop"
    at_once: int = Field(default=8, gt=0)
    metadata_keys: MetadataKeys = ()

    def compress_documents(
        self,
        documents: Sequence[Document],
        query: str,  # noqa: ARG002 - passages are judged without it
        callbacks: Callbacks | None = None,  # noqa: ARG002 - nothing runs that they could be told of
    ) -> list[Document]:
        """The passages that the model may read, in order.

        Args:
            documents: the passages.
            query: the question they were found for, which is not judged.
            callbacks: told nothing.
        """
        decisions = [run(flow, self.guard.judge) for flow in self._flows(documents)]
        return passages_left(documents, decisions, self.on_unsafe)

    async def acompress_documents(
        self,
        documents: Sequence[Document],
        query: str,  # noqa: ARG002 - passages are judged without it
        callbacks: Callbacks | None = None,  # noqa: ARG002 - nothing runs that they could be told of
    ) -> list[Document]:
        """The passages that the model may read, in order; several are judged at a time."""
        decisions = await arun_all(self._flows(documents), self.guard.ajudge, at_once=self.at_once)
        return passages_left(documents, decisions, self.on_unsafe)

    def _flows(self, documents: Sequence[Document]) -> list[Flow[Allow | Refuse]]:
        return [screen_passage(self.guard.policy, document, self.metadata_keys) for document in documents]
