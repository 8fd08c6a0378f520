"""Many chats with Llama 4 Scout as one job of a Batch API: done within a day, at about half the price."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole

from llama_guard_core.bulk.chat_batches import ChatBatches
from llama_guard_core.messages import Conversation
from llama_guard_core.provider.wire import Completion
from llamaindex_llama_guard import _guarded_generation as guarded
from llamaindex_llama_guard._conversation import conversation_of
from llamaindex_llama_guard._replies import chat_response
from llamaindex_llama_guard._reply_forms import ChatForm
from llamaindex_llama_guard.llms import LlamaScout


class ScoutBatches(ChatBatches[str | Sequence[ChatMessage], list[ChatMessage], ChatResponse]):
    """Sends many chats of a model as one job, and fetches the replies, perhaps in another process.

    The host must list the model for batches; in August 2026 OpenRouter listed none of Meta's. LlamaIndex's events and
    callbacks see nothing of it. With a guard, each prompt is judged before the job is submitted, and those that are
    refused are left out of it. When replies are fetched, each prompt is judged again, and the reply as the answer to
    it: hand in the same chats. What comes out is what the model's own calls would give.

    Args:
        model: its settings and its guard hold for each chat. Of its hosts the first with a Batch API is asked.

    Raises:
        ConfigurationError: if no Batch API is known of at its hosts.

    Example:
        ```python
        chats = {"first": "Name a river.", "second": "Name a tree."}
        batches = ScoutBatches(LlamaScout(guard=guard))
        job = batches.submit(chats)
        batches.wait(job)
        replies = batches.replies(job, chats)
        ```
    """

    def __init__(self, model: LlamaScout) -> None:
        self._model = model
        super().__init__(
            model._connections,  # noqa: SLF001 - one of us, as below
            http_client=model.http_client,
            http_async_client=model.http_async_client,
            chosen=model._chosen_model,  # noqa: SLF001
            guard=model.guard,
        )

    def _messages(self, chat: str | Sequence[ChatMessage]) -> list[ChatMessage]:
        return [ChatMessage(role=MessageRole.USER, content=chat)] if isinstance(chat, str) else list(chat)

    def _conversation(self, messages: list[ChatMessage]) -> Conversation:
        return conversation_of(messages)

    def _request(self, messages: list[ChatMessage], kwargs: dict[str, Any]) -> dict[str, Any]:
        return self._model._request(messages, kwargs)  # noqa: SLF001

    def _judged(self, messages: list[ChatMessage], read: Callable[[], Completion]) -> ChatResponse:
        def call() -> ChatResponse:
            return chat_response(read())

        guard = self._model.guard
        return guarded.generate(guard, conversation_of(messages), call, ChatForm()) if guard else call()

    async def _ajudged(self, messages: list[ChatMessage], read: Callable[[], Completion]) -> ChatResponse:
        async def call() -> ChatResponse:
            return chat_response(read())

        guard = self._model.guard
        return await (guarded.agenerate(guard, conversation_of(messages), call, ChatForm()) if guard else call())
