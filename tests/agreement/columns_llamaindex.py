"""The scenarios in LlamaIndex: its LLMs, and a query engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from agreement.scenarios import Said, Staged, Told
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    ContentBlock,
    LLMMetadata,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.base.response.schema import RESPONSE_TYPE
from llama_index.core.llms.custom import CustomLLM
from llama_index.core.llms.llm import LLM
from pydantic import Field
from with_llamaindex.engines import Saying, query_engine, text_of

from llamaindex_llama_guard import GuardedQueryEngine, LlamaGuard, LlamaScout, guarded


class ForeignLLM(CustomLLM):
    """Somebody else's LLM: it says what the scenario has it say, and knows nothing of this package."""

    said: Said
    asked: list[Sequence[ChatMessage]] = Field(default_factory=list)

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(model_name="foreign", is_chat_model=True)

    def chat(self, messages: Sequence[ChatMessage], **_: Any) -> ChatResponse:
        self.asked.append(messages)
        return self._response(self.said.text)

    def stream_chat(self, messages: Sequence[ChatMessage], **_: Any) -> Iterator[ChatResponse]:
        self.asked.append(messages)
        text = self.said.text
        return (self._response(text[:end], delta=text[begin:end]) for begin, end in ((0, 4), (4, len(text))))

    def complete(self, prompt: str, formatted: bool = False, **_: Any) -> CompletionResponse:
        raise NotImplementedError

    def stream_complete(self, prompt: str, formatted: bool = False, **_: Any) -> Iterator[CompletionResponse]:
        raise NotImplementedError

    def _response(self, text: str, delta: str | None = None) -> ChatResponse:
        blocks: list[ContentBlock] = [TextBlock(text=text)]
        if self.said.thoughts:
            blocks.insert(0, ThinkingBlock(content=self.said.thoughts))
        if self.said.arguments:
            blocks.append(ToolCallBlock(tool_call_id="c1", tool_name="build", tool_kwargs=self.said.arguments))
        return ChatResponse(message=ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks), delta=delta)


class AskedLLM:
    """An LLM that is asked over its chat endpoints."""

    def __init__(self, staged: Staged, llm: LLM, asked: Callable[[], int]) -> None:
        self._messages, self._llm, self._asked = [ChatMessage(content=staged.scenario.prompt)], llm, asked

    @property
    def calls(self) -> int:
        return self._asked()

    def plain(self) -> Told:
        return self._told(self._llm.chat(self._messages))

    async def aplain(self) -> Told:
        return self._told(await self._llm.achat(self._messages))

    def streamed(self) -> Told:
        return self._all_told(list(self._llm.stream_chat(self._messages)))

    async def astreamed(self) -> Told:
        return self._all_told([piece async for piece in await self._llm.astream_chat(self._messages)])

    def _all_told(self, pieces: list[ChatResponse]) -> Told:
        shown, records = self._told(pieces[-1])
        assert shown == "".join(piece.delta or "" for piece in pieces)
        return shown, records

    def _told(self, response: ChatResponse) -> Told:
        return response.message.content or "", response.additional_kwargs["llama_guard"]


class AskedQueryEngine:
    """A query engine whose model answers in text."""

    def __init__(self, staged: Staged) -> None:
        self._question, self._guard = staged.scenario.prompt, staged.guard
        self._llm = Saying(says=staged.scenario.said.text)

    @property
    def calls(self) -> int:
        return len(self._llm.prompts)

    async def plain(self) -> Told:
        return await self._told(self._engine().query(self._question))

    async def aplain(self) -> Told:
        return await self._told(await self._engine().aquery(self._question))

    async def streamed(self) -> Told:
        return await self._told(self._engine(streaming=True).query(self._question))

    async def astreamed(self) -> Told:
        return await self._told(await self._engine(streaming=True).aquery(self._question))

    def _engine(self, **settings: Any) -> GuardedQueryEngine:
        return guarded(query_engine(self._llm, **settings), self._guard)

    async def _told(self, response: RESPONSE_TYPE) -> Told:
        return await text_of(response), (response.metadata or {})["llama_guard"]


def _scout(staged: Staged) -> AskedLLM:
    return AskedLLM(staged, LlamaScout(guard=staged.guard, **staged.host), lambda: staged.hosted_calls)


def _guarded_llm(staged: Staged) -> AskedLLM:
    llm = ForeignLLM(said=staged.scenario.said)
    return AskedLLM(staged, guarded(llm, staged.guard), lambda: len(llm.asked))


GUARD = LlamaGuard
COLUMNS = {"LlamaScout": _scout, "GuardedLLM": _guarded_llm, "GuardedQueryEngine": AskedQueryEngine}
