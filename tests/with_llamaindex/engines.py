"""What the tests of the attach points share: an application with a scripted model, and four ways to ask it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

from llama_index.core import Document, VectorStoreIndex
from llama_index.core.base.llms.types import ChatMessage, CompletionResponse, LLMMetadata
from llama_index.core.base.response.schema import RESPONSE_TYPE, AsyncStreamingResponse, StreamingResponse
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.llms.custom import CustomLLM
from llama_index.core.memory import ChatMemoryBuffer
from pydantic import PrivateAttr

PASSAGES = ("The museum is closed on Mondays.", "The museum shows clocks.")
QUESTION = "When is the museum closed?"
HARMLESS = "It is closed on Mondays."
UNSAFE = "Take a BOMB and then"
"""An unsafe answer; its marker stands in no question and no passage."""
REFUSAL = "I can't help with that."
APOLOGY = "I can't answer right now: a safety check could not be completed. Please try again later."


class Saying(CustomLLM):
    """A model that says what the test wants, word by word, and remembers what it was asked."""

    says: Any = HARMLESS
    _prompts: list[str] = PrivateAttr(default_factory=list)
    _closed: list[bool] = PrivateAttr(default_factory=list)

    @property
    def prompts(self) -> list[str]:
        return self._prompts

    @property
    def closed(self) -> list[bool]:
        """One entry for each stream that was let go, read to its end or not."""
        return self._closed

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(model_name="saying", is_chat_model=True)

    @classmethod
    def class_name(cls) -> str:
        return "saying"

    def complete(self, prompt: str, formatted: bool = False, **_: Any) -> CompletionResponse:
        return CompletionResponse(text=self._said(prompt))

    def stream_complete(self, prompt: str, formatted: bool = False, **_: Any) -> Iterator[CompletionResponse]:
        return self._words(self._said(prompt))

    def _said(self, prompt: str) -> str:
        self._prompts.append(prompt)
        said = self.says(prompt) if callable(self.says) else self.says
        if isinstance(said, Exception):
            raise said
        return said

    def _words(self, said: str) -> Iterator[CompletionResponse]:
        text = ""
        try:
            for word in said.split(" "):
                delta = word if not text else f" {word}"
                text += delta
                yield CompletionResponse(text=text, delta=delta)
        finally:
            self._closed.append(True)


def index_of(*passages: str) -> VectorStoreIndex:
    documents = [Document(text=passage, id_=f"passage {at}") for at, passage in enumerate(passages or PASSAGES)]
    return VectorStoreIndex.from_documents(documents, embed_model=MockEmbedding(embed_dim=4))


def query_engine(llm: Any, passages: Sequence[str] = PASSAGES, **settings: Any) -> Any:
    return index_of(*passages).as_query_engine(llm=llm, similarity_top_k=len(passages), **settings)


def memory(*messages: ChatMessage) -> ChatMemoryBuffer:
    """A memory that opens no database: LlamaIndex's default one leaves its connection to the garbage collector."""
    return ChatMemoryBuffer.from_defaults(chat_history=list(messages))


def chat_engine(llm: Any, mode: str, passages: Sequence[str] = PASSAGES, **settings: Any) -> Any:
    settings = {"memory": memory(), "similarity_top_k": len(passages), **settings}
    return index_of(*passages).as_chat_engine(llm=llm, chat_mode=mode, **settings)


async def query(engine: Any, question: Any) -> RESPONSE_TYPE:
    return engine.query(question)


async def aquery(engine: Any, question: Any) -> RESPONSE_TYPE:
    return await engine.aquery(question)


Way = Callable[[Any, Any], Awaitable[RESPONSE_TYPE]]
WAYS: dict[str, Way] = {"sync": query, "async": aquery}


async def text_of(response: RESPONSE_TYPE) -> str:
    """All text of a response, read as callers of its type read it."""
    match response:
        case StreamingResponse():
            return "".join(response.response_gen)
        case AsyncStreamingResponse():
            return "".join([piece async for piece in response.async_response_gen()])
        case _:
            return str(response)


async def chat(engine: Any, message: str, **settings: Any) -> str:
    return str(engine.chat(message, **settings))


async def achat(engine: Any, message: str, **settings: Any) -> str:
    return str(await engine.achat(message, **settings))


async def stream_chat(engine: Any, message: str, **settings: Any) -> str:
    return "".join(engine.stream_chat(message, **settings).response_gen).strip()


async def astream_chat(engine: Any, message: str, **settings: Any) -> str:
    response = await engine.astream_chat(message, **settings)
    return "".join([piece async for piece in response.async_response_gen()]).strip()


CHAT_WAYS = {"chat": chat, "achat": achat, "stream_chat": stream_chat, "astream_chat": astream_chat}
CHAT_MODES = ("simple", "context", "condense_plus_context", "condense_question")


def remembered(engine: Any) -> list[tuple[str, str]]:
    return [(message.role.value, message.content) for message in engine.chat_history]
