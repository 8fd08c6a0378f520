"""LlamaScout: Llama 4 Scout as a LlamaIndex LLM, guarded from inside."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing, closing
from typing import Any

from llama_index.core.base.llms.generic_utils import (
    achat_to_completion_decorator,
    astream_chat_to_completion_decorator,
    chat_to_completion_decorator,
    stream_chat_to_completion_decorator,
)
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
)
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools.types import BaseTool
from pydantic import BaseModel
from typing_extensions import Self

from llama_guard_core.provider.chunks import CompletionChunk
from llamaindex_llama_guard import _guarded_generation as guarded
from llamaindex_llama_guard._conversation import conversation_of
from llamaindex_llama_guard._replies import chat_response
from llamaindex_llama_guard._reply_forms import ChatForm, ScoutStream
from llamaindex_llama_guard._scout_checks import ScoutChecks
from llamaindex_llama_guard._structured_output import StructuredPredictions, json_schema_format
from llamaindex_llama_guard._tool_calls import selected_tools, with_one_call
from llamaindex_llama_guard._wire_messages import wire_tool_choice, wire_tools

_MOST_OUTPUT = 16_384
"""Tokens that a host writes where no `max_tokens` is set."""


class LlamaScout(StructuredPredictions, ScoutChecks):
    """Meta's Llama 4 Scout over an OpenAI-compatible API, OpenRouter by default.

    With `guard=`, each prompt is judged before the model is called, and each reply before anything outside the
    model sees it: events, spans, callbacks, memory. A streamed reply is shown as verdicts cover it, the way the
    policy's `streaming` says; a halt ends it with a last response that says what was shown and then the refusal, and
    closes the connection to the model. What was decided stands in `response.additional_kwargs["llama_guard"]`. A
    refusal is a response like any other, with the finish reason `content_filter` in `raw`; only structured answers,
    which cannot hold one, raise in its place.

    The guard reads what the model is sent: inside a query engine that is the prompt with the passages in it. Judge
    a user's own words where they come in, at the engine. Observers are told the prompt before it is judged: that is
    how LlamaIndex begins a call.

    Usage is in `response.additional_kwargs` (`prompt_tokens`, `completion_tokens`, `total_tokens`, `cost` in US
    dollars) and in `response.raw["usage"]`.

    Raises:
        ProviderError: from each call, if the host fails.
        UnsafeContent: from each call, where the guard's policy says raise.
        GuardUnavailable: likewise, where no verdict could be had.

    Example:
        ```python
        from llamaindex_llama_guard import LlamaGuard, LlamaScout

        llm = LlamaScout(guard=LlamaGuard(), temperature=0)
        print(llm.complete("Name three rivers."))
        ```
    """

    @classmethod
    def class_name(cls) -> str:
        """What LlamaIndex calls it where it is written out."""
        return "LlamaScout"

    @property
    def metadata(self) -> LLMMetadata:
        """Its sizes in tokens, and what it can do."""
        return LLMMetadata(
            context_window=self.context_window,
            num_output=self.max_tokens or _MOST_OUTPUT,
            is_chat_model=True,
            is_function_calling_model=True,
            model_name=self.model,
        )

    def to_payload(self) -> dict[str, Any]:
        """What traces are told of it; no key, no header, no prompt."""
        told = {"class_name": self.class_name(), **self.metadata.model_dump()}
        return {**told, "model": self.model, "temperature": self.temperature, "guarded": self.guard is not None}

    # The eight endpoints. Each is decorated once and calls nothing that is: a second time would count twice.

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer a conversation."""
        return self._chat(messages, **kwargs)

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer a conversation."""
        return await self._achat(messages, **kwargs)

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Answer a conversation piece by piece."""
        return self._stream_chat(messages, **kwargs)

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """Answer a conversation piece by piece."""
        return await self._astream_chat(messages, **kwargs)

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:  # noqa: FBT001, FBT002 - LlamaIndex's own signature
        """Answer a prompt."""
        return chat_to_completion_decorator(self._chat)(self._prompt(prompt, formatted=formatted), **kwargs)

    @llm_completion_callback()
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:  # noqa: FBT001, FBT002 - as above
        """Answer a prompt."""
        return await achat_to_completion_decorator(self._achat)(self._prompt(prompt, formatted=formatted), **kwargs)

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:  # noqa: FBT001, FBT002 - as above
        """Answer a prompt piece by piece."""
        stream = stream_chat_to_completion_decorator(self._stream_chat)
        return stream(self._prompt(prompt, formatted=formatted), **kwargs)

    @llm_completion_callback()
    async def astream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any  # noqa: FBT001, FBT002 - as above
    ) -> CompletionResponseAsyncGen:  # fmt: skip
        """Answer a prompt piece by piece."""
        stream = astream_chat_to_completion_decorator(self._astream_chat)
        return await stream(self._prompt(prompt, formatted=formatted), **kwargs)

    # Tools

    def _prepare_chat_with_tools(  # noqa: PLR0917 - LlamaIndex's own signature
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,  # noqa: ARG002, FBT001, FBT002
        # Not sent: OpenRouter does not list it among what Scout's hosts honour. One call is kept where one is asked.
        allow_parallel_tool_calls: bool = False,  # noqa: ARG002, FBT001, FBT002
        tool_required: bool = False,  # noqa: FBT001, FBT002
        tool_choice: str | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        messages = list(chat_history or ())
        if isinstance(user_msg, str):
            user_msg = ChatMessage(role=MessageRole.USER, content=user_msg) if user_msg else None
        if user_msg is not None:
            messages.append(user_msg)
        if not (wired := wire_tools(tools)):
            return {"messages": messages, **kwargs}
        choice = wire_tool_choice(tool_choice, wired, required=tool_required)
        return {"messages": messages, "tools": wired, "tool_choice": choice, **kwargs}

    def _validate_chat_with_tools_response(
        self,
        response: ChatResponse,
        tools: Sequence[BaseTool],  # noqa: ARG002 - LlamaIndex's own signature
        allow_parallel_tool_calls: bool = False,  # noqa: FBT001, FBT002
        **kwargs: Any,  # noqa: ARG002
    ) -> ChatResponse:
        return response if allow_parallel_tool_calls else with_one_call(response)

    def get_tool_calls_from_response(
        self,
        response: ChatResponse,
        error_on_no_tool_call: bool = True,  # noqa: FBT001, FBT002 - LlamaIndex's own signature
        **kwargs: Any,  # noqa: ARG002
    ) -> list[ToolSelection]:
        """The calls a response asks for; while it is still arriving, with the arguments there are so far.

        Raises:
            ValueError: if there is none, unless `error_on_no_tool_call` is false.
        """
        return selected_tools(response, at_least_one=error_on_no_tool_call)

    # The same four, undecorated: judged here, so that nothing above sees what was not.

    def _chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        request = self._request(messages, kwargs)

        def call() -> ChatResponse:
            return chat_response(self._sync().complete(request))

        return guarded.generate(self.guard, conversation_of(messages), call, ChatForm()) if self.guard else call()

    async def _achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        request = self._request(messages, kwargs)

        async def call() -> ChatResponse:
            return chat_response(await self._async().complete(request))

        if self.guard is None:
            return await call()
        return await guarded.agenerate(self.guard, conversation_of(messages), call, ChatForm())

    def _stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        request, form = self._stream_request(messages, kwargs), ScoutStream()

        def chunks() -> Generator[CompletionChunk, None, None]:
            return self._sync().stream(request)

        if self.guard is not None:
            return guarded.stream(self.guard, conversation_of(messages), chunks, form)
        return _shown(chunks(), form)

    async def _astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        request, form = self._stream_request(messages, kwargs), ScoutStream()

        def chunks() -> AsyncGenerator[CompletionChunk, None]:
            return self._async().stream(request)

        if self.guard is not None:
            return guarded.astream(self.guard, conversation_of(messages), chunks, form)
        return _ashown(chunks(), form)

    def _prompt(self, prompt: str, *, formatted: bool) -> str:
        return prompt if formatted or self.completion_to_prompt is None else self.completion_to_prompt(prompt)

    def _response_format(self, output_cls: type[BaseModel]) -> dict[str, Any] | None:
        return json_schema_format(output_cls) if self.should_use_structured_outputs else None

    def _twin(self, **changes: Any) -> Self:
        twin = self.model_copy(update=changes)
        twin._client, twin._async_client = self._sync(), self._async()  # noqa: SLF001 - one of us
        return twin


def _shown(chunks: Generator[CompletionChunk, None, None], form: ScoutStream) -> ChatResponseGen:
    with closing(chunks):
        for chunk in chunks:
            yield form.shown(chunk)


async def _ashown(chunks: AsyncGenerator[CompletionChunk, None], form: ScoutStream) -> ChatResponseAsyncGen:
    async with aclosing(chunks):
        async for chunk in chunks:
            yield form.shown(chunk)
