"""GuardedChatModel: any LangChain chat model, guarded from inside."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Sequence
from contextlib import aclosing, closing
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams, LanguageModelInput, ModelProfile
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableBinding, RunnableParallel, RunnableSequence
from langchain_core.tools import BaseTool
from pydantic import ConfigDict, PrivateAttr, SkipValidation, model_validator
from typing_extensions import Self

from langchain_llama_guard import _guarded_generation as guarded
from langchain_llama_guard._calls_apart import CallsApart
from langchain_llama_guard._held_events import aunobserved_iteration, unobserved, unobserved_iteration
from langchain_llama_guard._judged_cache import JudgedCacheModel
from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.guardrail.stream_windows import Streaming


class GuardedChatModel(JudgedCacheModel):
    """A chat model whose prompts and replies are judged before anything outside it sees them.

    It calls the inner model below that model's own callbacks: nothing of a withheld reply reaches a callback,
    an event stream or a trace, and a trace shows one run, this one. A stream is shown as verdicts cover it, in the
    inner model's own chunks, the way the policy's `streaming` says. The inner model's cache is not used, because what
    it holds was never judged.

    Made by `guarded(model, guard)`, which also takes a model with tools or settings bound to it.

    Args:
        model: the chat model to guard.
        guard: what judges it, with the policy for what follows.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, defer_build=True)

    model: SkipValidation[BaseChatModel]
    guard: SkipValidation[LlamaGuard]
    _calls_apart: CallsApart | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _take_over(self) -> Self:
        """What LangChain does around a model, it does around this one in the inner one's place."""
        for name in ("rate_limiter", "output_version", "disable_streaming", "tags", "callbacks"):
            if name not in self.model_fields_set:
                object.__setattr__(self, name, getattr(self.model, name))
        # LangChain itself has put versions into this one's metadata by now.
        object.__setattr__(self, "metadata", {**(self.model.metadata or {}), **(self.metadata or {})})
        return self

    @property
    def model_name(self) -> str:
        """The inner model's: agents tell by it what a model can do."""
        named = getattr(self.model, "model_name", None) or getattr(self.model, "model", None)
        return named if isinstance(named, str) else self.model._llm_type

    @property
    def _llm_type(self) -> str:
        return f"guarded-{self.model._llm_type}"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {**self.model._identifying_params, "guard": repr(self.guard)}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        return self.model._get_ls_params(stop=stop, **kwargs)

    def _resolve_model_profile(self) -> ModelProfile | None:
        return self.model.profile

    def _should_stream(self, **kwargs: Any) -> bool:
        asked = {**kwargs, "run_manager": None}
        return super()._should_stream(**kwargs) and self.model._should_stream(**{**asked, "stream": True})

    def _should_use_protocol_streaming(self, **kwargs: Any) -> bool:
        """Whether LangChain's newest streams read this model piece by piece: only if the inner model has pieces."""
        has_pieces = type(self.model)._stream is not BaseChatModel._stream
        return has_pieces and bool(super()._should_use_protocol_streaming(**kwargs))  # type: ignore[misc,unused-ignore] # not in older ones

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002 - the inner model must not see it
        **kwargs: Any,
    ) -> ChatResult:
        def call() -> ChatResult:
            with unobserved():
                return self.model._generate(messages, stop=stop, **kwargs)

        return guarded.generate(self.guard, messages, call, self._calls_apart)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002 - the inner model must not see it
        **kwargs: Any,
    ) -> ChatResult:
        async def call() -> ChatResult:
            with unobserved():
                return await self.model._agenerate(messages, stop=stop, **kwargs)

        return await guarded.agenerate(self.guard, messages, call, self._calls_apart)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        def chunks() -> Generator[ChatGenerationChunk, None, None]:
            return unobserved_iteration(self.model._stream(messages, stop=stop, **kwargs))

        with closing(guarded.stream(self.guard, messages, chunks, self._calls_apart)) as shown:
            for chunk in shown:
                if run_manager:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        def chunks() -> AsyncGenerator[ChatGenerationChunk, None]:
            return aunobserved_iteration(self.model._astream(messages, stop=stop, **kwargs))

        async with aclosing(guarded.astream(self.guard, messages, chunks, self._calls_apart)) as shown:
            async for chunk in shown:
                if run_manager:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The guarded model with tools, bound the way the inner model binds them."""
        return self._around(self.model.bind_tools(tools, tool_choice=tool_choice, **kwargs))

    def with_structured_output(
        self, schema: dict[str, Any] | type, *, include_raw: bool = False, **kwargs: Any
    ) -> Runnable[LanguageModelInput, Any]:
        """The guarded model answering in a schema, parsed the way the inner model's answers are.

        A refusal is no answer in that schema: the inner model's parser raises, or returns `None`. A policy with
        `on_unsafe="raise"` says it plainly. Streams are held whole, whatever the policy says: of an answer that is
        cut, a part would be the last word.
        """
        whole = self.guard.policy.model_copy(update={"streaming": Streaming(hold="whole")})
        held = self.model_copy(update={"guard": self.guard.with_policy(whole)})
        runnable = self.model.with_structured_output(schema, include_raw=include_raw, **kwargs)
        return with_model_replaced(runnable, self.model, held)

    def get_num_tokens(self, text: str) -> int:
        """As the inner model counts."""
        return self.model.get_num_tokens(text)

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Sequence[Any] | None = None) -> int:
        """As the inner model counts."""
        return self.model.get_num_tokens_from_messages(messages, tools)

    def _around(self, runnable: Runnable[LanguageModelInput, Any]) -> Runnable[LanguageModelInput, Any]:
        """What the inner model made of itself, with this model in its place."""
        return with_model_replaced(runnable, self.model, self)


def serving_agent(model: BaseChatModel, guard: LlamaGuard, apart: CallsApart) -> GuardedChatModel:
    """A chat model, guarded for an agent that answers its refused calls."""
    serving = GuardedChatModel(model=model, guard=guard)
    serving._calls_apart = apart
    return serving


def with_model_replaced(runnable: Runnable[Any, Any], model: BaseChatModel, by: BaseChatModel) -> Runnable[Any, Any]:
    """The same composition with one chat model in another's place.

    Raises:
        NotImplementedError: if the model is not where LangChain's own methods put it, so that it would go
            unguarded.
    """
    if runnable is model:
        return by
    if isinstance(runnable, RunnableBinding):
        return runnable.model_copy(update={"bound": with_model_replaced(runnable.bound, model, by)})
    if isinstance(runnable, RunnableSequence):
        return RunnableSequence(with_model_replaced(runnable.first, model, by), *runnable.middle, runnable.last)
    if isinstance(runnable, RunnableParallel) and "raw" in runnable.steps__:
        raw = with_model_replaced(runnable.steps__["raw"], model, by)
        return RunnableParallel({**runnable.steps__, "raw": raw})
    msg = (
        f"cannot find the model inside a {type(runnable).__name__}, so it cannot be guarded there: guard the model "
        "first, and the result with guarded(runnable, guard)"
    )
    raise NotImplementedError(msg)
