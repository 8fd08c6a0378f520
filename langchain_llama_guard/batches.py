"""Many chats with Llama 4 Scout as one job of a Batch API: done within a day, at about half the price."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, cast

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from langchain_llama_guard import _guarded_generation as guarded
from langchain_llama_guard._conversation import conversation_of
from langchain_llama_guard._errors import langchain_errors
from langchain_llama_guard._replies import ai_message
from langchain_llama_guard.chat_models import ChatLlamaScout
from llama_guard_core.bulk.chat_batches import ChatBatches
from llama_guard_core.messages import Conversation
from llama_guard_core.provider.wire import Completion


class ScoutBatches(ChatBatches[LanguageModelInput, list[BaseMessage], AIMessage]):
    """Sends many chats of a model as one job, and fetches the replies, perhaps in another process.

    The host must list the model for batches; in August 2026 OpenRouter listed none of Meta's. LangChain's callbacks see
    nothing of it. With a guard, each prompt is judged before the job is submitted, and those that are refused are left
    out of it. When replies are fetched, each prompt is judged again, and the reply as the answer to it: hand in the
    same chats. What comes out is what the model's own calls would give.

    Args:
        model: its settings and its guard hold for each chat. Of its hosts the first with a Batch API is asked.

    Raises:
        ConfigurationError: if no Batch API is known of at its hosts.

    Example:
        ```python
        chats = {"first": "Name a river.", "second": "Name a tree."}
        batches = ScoutBatches(ChatLlamaScout(guard=guard))
        job = batches.submit(chats)
        batches.wait(job)
        replies = batches.replies(job, chats)
        ```
    """

    def __init__(self, model: ChatLlamaScout) -> None:
        self._model = model
        super().__init__(
            model._connections,  # noqa: SLF001 - one of us, as below
            http_client=model.http_client,
            http_async_client=model.http_async_client,
            chosen=model._chosen_model,  # noqa: SLF001
            guard=model.guard,
        )

    def _messages(self, chat: LanguageModelInput) -> list[BaseMessage]:
        return self._model._convert_input(chat).to_messages()  # noqa: SLF001 - LangChain's, for a model's own input

    def _conversation(self, messages: list[BaseMessage]) -> Conversation:
        return conversation_of(messages)

    def _request(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> dict[str, Any]:
        return self._model._request(messages, None, kwargs)  # noqa: SLF001

    def _judged(self, messages: list[BaseMessage], read: Callable[[], Completion]) -> AIMessage:
        def call() -> ChatResult:
            return _as_result(read())

        guard = self._model.guard
        return _message_in(guarded.generate(guard, messages, call) if guard else call())

    async def _ajudged(self, messages: list[BaseMessage], read: Callable[[], Completion]) -> AIMessage:
        async def call() -> ChatResult:
            return _as_result(read())

        guard = self._model.guard
        return _message_in(await (guarded.agenerate(guard, messages, call) if guard else call()))

    def _errors(self) -> AbstractContextManager[None]:
        return langchain_errors()


def _as_result(completion: Completion) -> ChatResult:
    return ChatResult(generations=[ChatGeneration(message=ai_message(completion))])


def _message_in(result: ChatResult) -> AIMessage:
    return cast("AIMessage", result.generations[0].message)
