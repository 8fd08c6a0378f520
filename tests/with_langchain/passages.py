"""Passages for tests: a retriever that finds what it was given, and the guard on a fake host that judges them."""

from __future__ import annotations

from typing import Any

from fake_provider import FakeProvider
from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import Field

from langchain_llama_guard import LlamaGuard, Policy

QUESTION = "When is it open?"


def guard_of(provider: FakeProvider, **policy: Any) -> LlamaGuard:
    clients = {"http_client": provider.client(), "http_async_client": provider.async_client()}
    return LlamaGuard(api_key="sk-or-v1-passages", max_retries=0, policy=Policy(**policy), **clients)


def found(*passages: str | Document) -> list[Document]:
    return [Document(it, id=str(at)) if isinstance(it, str) else it for at, it in enumerate(passages)]


def texts(passages: list[Document]) -> list[str]:
    return [passage.page_content for passage in passages]


class Finding(BaseRetriever):
    """Finds what it was given, or raises it, and keeps how it was asked."""

    passages: list[Document]
    error: Exception | None = None
    asked: list[Any] = Field(default_factory=list)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        return self._found("sync", query, kwargs)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        return self._found("async", query, kwargs)

    def _found(self, *how: Any) -> list[Document]:
        self.asked.append(how)
        if self.error:
            raise self.error
        return self.passages


def finding(*passages: str | Document, **settings: Any) -> Finding:
    return Finding(passages=found(*passages), **settings)
