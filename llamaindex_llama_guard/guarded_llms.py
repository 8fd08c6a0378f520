"""GuardedLLM: any LlamaIndex LLM, guarded below every component that uses it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import aclosing, closing
from typing import Annotated, Any, TypeVar

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
)
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import LLM, ToolSelection
from llama_index.core.tools.types import BaseTool
from pydantic import BeforeValidator, PlainSerializer, SkipValidation, model_validator
from typing_extensions import Self

from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.messages import user
from llamaindex_llama_guard import _guarded_generation as guarded
from llamaindex_llama_guard._conversation import conversation_of
from llamaindex_llama_guard._guard_field import require_picklable
from llamaindex_llama_guard._reply_forms import ChatForm, CompletionForm
from llamaindex_llama_guard._structured_output import StructuredPredictions
from llamaindex_llama_guard._unobserved import aunobserved_iteration, unobserved, unobserved_iteration

T = TypeVar("T")

_TAKEN_OVER = (
    "callback_manager", "system_prompt", "messages_to_prompt", "completion_to_prompt", "output_parser",
    "pydantic_program_mode", "query_wrapper_prompt",
)  # fmt: skip
"""What LlamaIndex does around an LLM and, unless told otherwise, does around this one in the inner one's place."""


def _llm(value: Any) -> LLM:
    if isinstance(value, LLM):
        return value
    msg = "an LLM is not made from its description: pass one, from_dict(settings, llm=..., guard=...)"
    raise ValueError(msg)


class GuardedLLM(StructuredPredictions):
    """An LLM whose prompts and replies are judged before anything outside it sees them.

    Put it wherever an LLM goes: `Settings.llm`, a query engine, a chat engine, an agent. The model inside is called
    out of sight of LlamaIndex's instrumentation and callbacks, and this one tells them in its place: nothing of a
    withheld reply reaches an event, a span, a callback or a memory. Streams are shown as verdicts cover them, the way
    the policy's `streaming` says.

    It does not judge `raw`, which LLMs fill with what their host sent, beyond what the message says of it; with a
    refusal, nothing of `raw` but counts and names is kept. What an LLM's own SDK or HTTP client tells observers of
    its own, it tells them still. The inner LLM's own way to structured answers is not used, but LlamaIndex's.

    Args:
        llm: the LLM to guard.
        guard: what judges it, with the policy for what follows.

    Example:
        ```python
        Settings.llm = GuardedLLM(llm, LlamaGuard())
        ```
    """

    llm: Annotated[
        SkipValidation[LLM], BeforeValidator(_llm), PlainSerializer(lambda llm: f"{llm.class_name()} {_name(llm)}")
    ]

    def __init__(self, llm: LLM, guard: LlamaGuard, **kwargs: Any) -> None:
        taken = {name: getattr(llm, name) for name in _TAKEN_OVER if hasattr(llm, name)}
        super().__init__(**{**taken, **kwargs, "llm": llm, "guard": guard})

    @model_validator(mode="after")
    def _has_a_guard(self) -> Self:
        if self.guard is None:
            msg = "a GuardedLLM needs a guard"
            raise ValueError(msg)
        return self

    @classmethod
    def class_name(cls) -> str:
        """What LlamaIndex calls it where it is written out."""
        return "GuardedLLM"

    @property
    def metadata(self) -> LLMMetadata:
        """The inner LLM's."""
        return self.llm.metadata

    def to_payload(self) -> dict[str, Any]:
        """What traces are told of it: what the inner LLM tells, under this one's name."""
        told = self.llm.to_payload() if hasattr(self.llm, "to_payload") else self.metadata.model_dump()
        return {**told, "class_name": self.class_name(), "guarded": self.llm.class_name()}

    def __getstate__(self) -> dict[str, Any]:
        """All settings.

        Raises:
            ConfigurationError: if the LLM or the guard cannot be pickled.
        """
        require_picklable(llm=self.llm, guard=self.guard)
        return super().__getstate__()

    # The eight endpoints. The inner ones are decorated too, but nobody hears them.

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer a conversation."""
        call = _hidden(lambda: self.llm.chat(messages, **kwargs))
        return guarded.generate(self._guard, conversation_of(messages), call, self._chat_form())

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer a conversation."""
        call = _ahidden(lambda: self.llm.achat(messages, **kwargs))
        return await guarded.agenerate(self._guard, conversation_of(messages), call, self._chat_form())

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Answer a conversation piece by piece."""
        chunks = _hidden_stream(lambda: self.llm.stream_chat(messages, **kwargs), _as_it_is)
        return guarded.stream(self._guard, conversation_of(messages), chunks, self._chat_form())

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """Answer a conversation piece by piece."""
        chunks = _ahidden_stream(lambda: self.llm.astream_chat(messages, **kwargs), _as_it_is)
        return guarded.astream(self._guard, conversation_of(messages), chunks, self._chat_form())

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:  # noqa: FBT001, FBT002 - LlamaIndex's own signature
        """Answer a prompt."""
        call = _hidden(lambda: self.llm.complete(prompt, formatted=formatted, **kwargs))
        return guarded.generate(self._guard, (user(prompt),), call, CompletionForm())

    @llm_completion_callback()
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:  # noqa: FBT001, FBT002 - as above
        """Answer a prompt."""
        call = _ahidden(lambda: self.llm.acomplete(prompt, formatted=formatted, **kwargs))
        return await guarded.agenerate(self._guard, (user(prompt),), call, CompletionForm())

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:  # noqa: FBT001, FBT002 - as above
        """Answer a prompt piece by piece."""
        chunks = _hidden_stream(lambda: self.llm.stream_complete(prompt, formatted=formatted, **kwargs), _same)
        return guarded.stream(self._guard, (user(prompt),), chunks, CompletionForm())

    @llm_completion_callback()
    async def astream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any  # noqa: FBT001, FBT002 - as above
    ) -> CompletionResponseAsyncGen:  # fmt: skip
        """Answer a prompt piece by piece."""
        chunks = _ahidden_stream(lambda: self.llm.astream_complete(prompt, formatted=formatted, **kwargs), _same)
        return guarded.astream(self._guard, (user(prompt),), chunks, CompletionForm())

    # Tools, the inner LLM's way

    def _prepare_chat_with_tools_compat(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return self._function_calling._prepare_chat_with_tools_compat(*args, **kwargs)  # noqa: SLF001 - in its place

    def _prepare_chat_with_tools(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return self._function_calling._prepare_chat_with_tools(*args, **kwargs)  # noqa: SLF001

    def _validate_chat_with_tools_response(
        self,
        response: ChatResponse,
        tools: Sequence[BaseTool],
        allow_parallel_tool_calls: bool = False,  # noqa: FBT001, FBT002 - LlamaIndex's own signature
        **kwargs: Any,
    ) -> ChatResponse:
        return self._function_calling._validate_chat_with_tools_response(  # noqa: SLF001
            response, tools, allow_parallel_tool_calls=allow_parallel_tool_calls, **kwargs
        )

    def get_tool_calls_from_response(
        self,
        response: ChatResponse,
        error_on_no_tool_call: bool = True,  # noqa: FBT001, FBT002 - LlamaIndex's own signature
        **kwargs: Any,
    ) -> list[ToolSelection]:
        """The calls a response asks for, read the way the inner LLM reads them."""
        if not (error_on_no_tool_call or isinstance(self.llm, FunctionCallingLLM)):
            return []
        return self._function_calling.get_tool_calls_from_response(
            response, error_on_no_tool_call=error_on_no_tool_call, **kwargs
        )

    def _chat_form(self) -> ChatForm:
        return ChatForm()

    @property
    def _function_calling(self) -> FunctionCallingLLM:
        if isinstance(self.llm, FunctionCallingLLM):
            return self.llm
        msg = f"{self.llm.class_name()} does not call functions: use it where tools are described in the prompt"
        raise NotImplementedError(msg)

    @property
    def _guard(self) -> LlamaGuard:
        assert self.guard is not None  # noqa: S101 - the constructor asks for one
        return self.guard


def _name(llm: LLM) -> str:
    return llm.metadata.model_name


def _hidden(call: Callable[[], T]) -> Callable[[], T]:
    def hidden() -> T:
        with unobserved():
            return call()

    return hidden


def _ahidden(call: Callable[[], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
    async def hidden() -> T:
        with unobserved():
            return await call()

    return hidden


def _hidden_stream(open_stream: Callable[[], Generator[T]], taken: Callable[[T], T]) -> Callable[[], Generator[T]]:
    def hidden() -> Generator[T, None, None]:
        with unobserved():
            chunks = open_stream()
        with closing(unobserved_iteration(chunks)) as items:
            yield from map(taken, items)

    return hidden


def _ahidden_stream(
    open_stream: Callable[[], Awaitable[AsyncGenerator[T]]], taken: Callable[[T], T]
) -> Callable[[], AsyncGenerator[T]]:
    async def hidden() -> AsyncGenerator[T, None]:
        with unobserved():
            chunks = await open_stream()
        async with aclosing(aunobserved_iteration(chunks)) as items:
            async for item in items:
                yield taken(item)

    return hidden


def _same(response: T) -> T:
    return response


def _as_it_is(response: ChatResponse) -> ChatResponse:
    """The response as it is now: some LLMs yield one message again and again, and add to it."""
    message = response.message
    blocks = [block.model_copy() for block in message.blocks]
    now = message.model_copy(update={"blocks": blocks, "additional_kwargs": {**message.additional_kwargs}})
    return response.model_copy(update={"message": now})
