"""Somebody else's chat model: it says what a test tells it to, and knows nothing of this package."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolCallChunk, message_chunk_to_message
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field

USAGE = {"input_tokens": 7, "output_tokens": 5, "total_tokens": 12}


def saying(*texts: str) -> list[AIMessageChunk]:
    """A reply of these pieces, usage with the last."""
    return [*(AIMessageChunk(text) for text in texts), AIMessageChunk("", usage_metadata=USAGE, chunk_position="last")]


def thinking(*texts: str) -> list[AIMessageChunk]:
    """A reply of harmless words after these thoughts."""
    return [*(AIMessageChunk("", additional_kwargs={"reasoning_content": text}) for text in texts), *saying("Fine.")]


def calling(name: str, *pieces: str) -> list[AIMessageChunk]:
    """A reply that calls a tool, its arguments in these pieces."""
    called = [
        AIMessageChunk(
            "",
            tool_call_chunks=[
                ToolCallChunk(name=name if not at else None, args=piece, id="c1" if not at else None, index=0)
            ],
        )
        for at, piece in enumerate(pieces)
    ]
    return [*called, *saying()]


class WholeForeignModel(BaseChatModel):
    """A foreign model that cannot stream. It counts its calls."""

    reply: Any = Field(repr=False)
    """The chunks of a reply, a function from the messages to them, or an exception."""
    alternatives: int = 1
    seen: list[list[BaseMessage]] = Field(default_factory=list, repr=False)

    @property
    def _llm_type(self) -> str:
        return "foreign"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": "foreign-1"}

    def _chunks(self, messages: list[BaseMessage]) -> list[AIMessageChunk]:
        self.seen.append(messages)
        said = self.reply(messages) if isinstance(self.reply, Callable) else self.reply
        return [chunk.model_copy(deep=True) for chunk in said if not isinstance(chunk, Exception)]

    def _failure(self) -> None:
        for said in self.reply if isinstance(self.reply, list) else ():
            if isinstance(said, Exception):
                raise said

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        chunks = self._chunks(messages)
        self._failure()
        message = message_chunk_to_message(sum(chunks[1:], start=chunks[0]))
        assert isinstance(message, AIMessage)
        generations = [ChatGeneration(message=message.model_copy()) for _ in range(self.alternatives)]
        return ChatResult(generations=generations, llm_output={"raw": message.text, "model_name": "foreign-1"})

    def bind_tools(
        self, tools: Sequence[Any], *, tool_choice: str | None = None, **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        return self.bind(tools=[convert_to_openai_tool(tool) for tool in tools], **kwargs)


class ForeignModel(WholeForeignModel):
    """A foreign model that streams, and tells each token to its callbacks itself."""

    between: Any = None
    """Called before each chunk with its number."""

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for number, message in enumerate(self._chunks(messages)):
            if self.between:
                self.between(number)
            chunk = ChatGenerationChunk(message=message)
            if run_manager:
                run_manager.on_llm_new_token(message.text, chunk=chunk)
            yield chunk
        self._failure()

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._generate(messages, stop, None, **kwargs)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for number, message in enumerate(self._chunks(messages)):
            if self.between:
                self.between(number)
            chunk = ChatGenerationChunk(message=message)
            if run_manager:
                await run_manager.on_llm_new_token(message.text, chunk=chunk)
            yield chunk
        self._failure()


class ForeignRouter(WholeForeignModel):
    """A foreign model that has another do the work, through that one's public methods."""

    reply: Any = Field(default=None, repr=False)
    inner: Any = Field(default=None, repr=False)

    def _generate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self.inner.invoke(messages))])

    async def _agenerate(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=await self.inner.ainvoke(messages))])

    def _stream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in self.inner.stream(messages):
            yield ChatGenerationChunk(message=chunk)

    async def _astream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        async for chunk in self.inner.astream(messages):
            yield ChatGenerationChunk(message=chunk)
