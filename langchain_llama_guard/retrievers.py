"""GuardedRetriever: somebody's retriever, with its passages judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever, RetrieverLike
from pydantic import ConfigDict, Field, SkipValidation, model_validator
from typing_extensions import Self

from langchain_llama_guard._documents import MetadataKeys, OnUnsafePassage, screen_failure
from langchain_llama_guard._failures import as_output
from langchain_llama_guard._held_events import unobserved
from langchain_llama_guard.document_compressors import LlamaGuardDocumentCompressor
from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.drive import acatching, arun, catching, run
from llama_guard_core.guardrail.failures import Failed


class GuardedRetriever(BaseRetriever):
    """A retriever whose passages are judged before anybody reads them: the chain, its callbacks, its traces.

    It is used wherever a retriever is: in a chain, in `create_retriever_tool`, in retrievers over retrievers. The
    passages are judged each on its own, as `LlamaGuardDocumentCompressor` judges them; the question is not.
    `guarded(retriever, guard)` makes one.

    The retriever inside runs unobserved. A trace shows one run, this one, with the passages that are left; what models
    or retrievers further inside did is in none. An exception of the retriever may quote passages: it is judged like
    one, and replaced by `UnsafeContent` or `GuardUnavailable` if it may not be seen.

    Args:
        retriever: the retriever to guard, or any Runnable from a question to documents.
        guard: what judges, with the policy for the stage `document`.
        on_unsafe: what becomes of a passage that the policy refuses: `drop`, `flag` or `refuse`; see
            `LlamaGuardDocumentCompressor`.
        at_once: how many passages an async call asks about at the same time.
        metadata_keys: what of a document's metadata is judged with its text, or `"all"`; none of it if left out.
        settings: LangChain's own, such as `tags`. Left out, they are the retriever's.

    Raises:
        UnsafeContent: a passage is unsafe, and `on_unsafe` is `refuse` or the policy says raise.
        GuardUnavailable: a passage could not be judged, and the same.

    Example:
        ```python
        retriever = GuardedRetriever(store.as_retriever(), guard)
        ```
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    retriever: SkipValidation[RetrieverLike]
    guard: LlamaGuard = Field(exclude=True)
    on_unsafe: OnUnsafePassage = "drop"
    at_once: int = Field(default=8, gt=0)
    metadata_keys: MetadataKeys = ()

    def __init__(
        self,
        retriever: RetrieverLike,
        guard: LlamaGuard,
        *,
        on_unsafe: OnUnsafePassage = "drop",
        at_once: int = 8,
        metadata_keys: Sequence[str] | Literal["all"] = (),
        **settings: Any,
    ) -> None:
        judging: dict[str, Any] = {"on_unsafe": on_unsafe, "at_once": at_once, "metadata_keys": metadata_keys}
        super().__init__(**{"retriever": retriever, "guard": guard, **judging, **settings})

    @model_validator(mode="after")
    def _take_over(self) -> Self:
        """What a trace is told of the inner retriever, it is told of this one."""
        for name in ("tags", "metadata"):
            if name not in self.model_fields_set:
                object.__setattr__(self, name, getattr(self.retriever, name, None))
        return self

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002 - what it would be told is withheld
        **kwargs: Any,
    ) -> list[Document]:
        with unobserved():
            found = catching(lambda: self.retriever.invoke(query, **kwargs), as_output)()
        if isinstance(found, Failed):
            raise run(screen_failure(self.guard.policy, found), self.guard.judge)
        return self._passages.compress_documents(found, query)

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,  # noqa: ARG002 - what it would be told is withheld
        **kwargs: Any,
    ) -> list[Document]:
        with unobserved():
            found = await acatching(lambda: self.retriever.ainvoke(query, **kwargs), as_output)()
        if isinstance(found, Failed):
            raise await arun(screen_failure(self.guard.policy, found), self.guard.ajudge)
        return await self._passages.acompress_documents(found, query)

    @property
    def _passages(self) -> LlamaGuardDocumentCompressor:
        return LlamaGuardDocumentCompressor(
            guard=self.guard, on_unsafe=self.on_unsafe, at_once=self.at_once, metadata_keys=self.metadata_keys
        )
