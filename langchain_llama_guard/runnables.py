"""`guarded`: somebody's chat model, chain or retriever, with what goes in and what comes out judged."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, closing
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForChainRun, CallbackManagerForChainRun
from langchain_core.language_models import BaseChatModel
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnableBinding, RunnableConfig
from langchain_core.runnables.base import RunnableLike, coerce_to_runnable
from langchain_core.runnables.utils import ConfigurableFieldSpec
from langchain_core.utils.pydantic import TypeBaseModel

from langchain_llama_guard._decision_events import aannounce, announce
from langchain_llama_guard._guarded_runs import GuardedRun, refusals
from langchain_llama_guard._values import whole_of
from langchain_llama_guard.guarded_chat_models import GuardedChatModel
from langchain_llama_guard.retrievers import GuardedRetriever
from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.drive import acatching, arun, catching, run
from llama_guard_core.drive_streams import aguard_stream, guard_stream
from llama_guard_core.guardrail.decisions import Refuse
from llama_guard_core.guardrail.screening import guarded_call
from llama_guard_core.guardrail.stream_events import Halted

RefuseWith = Callable[[Refuse], Any]


def guarded(
    runnable: RunnableLike[Any, Any],
    guard: LlamaGuard,
    *,
    input_key: str | None = None,
    output_key: str | None = None,
    refuse_with: RefuseWith | None = None,
) -> Runnable[Any, Any]:
    """A chat model or a chain with its input and its output judged, or a retriever with its passages judged.

    A chat model, with or without tools bound to it, becomes a `GuardedChatModel`: use it wherever the model was
    used. A retriever becomes a `GuardedRetriever`, which judges each passage on its own, and not the question.
    Anything else becomes a `GuardedRunnable` with the same input and output.

    Args:
        runnable: a chat model, a retriever, a chain, or whatever LangChain can make one of.
        guard: what judges it, with the policy for what follows.
        input_key: where in a chain's input mapping the user's words are. Left out, all of the input is
            judged together; name the question where the input also holds long retrieved passages.
        output_key: where in a chain's output mapping the reply is. Left out, all of the output is judged.
        refuse_with: makes the chain's output from a refusal, for chains whose output is neither text nor
            messages. Without it such a chain raises.

    Raises:
        TypeError: for keys or `refuse_with` beside a chat model or a retriever, which has one form of input and output.
    """
    thing: Runnable[Any, Any] = coerce_to_runnable(runnable)
    inner = thing.bound if isinstance(thing, RunnableBinding) else thing
    if not isinstance(inner, BaseChatModel | BaseRetriever):
        return GuardedRunnable(thing, guard, input_key=input_key, output_key=output_key, refuse_with=refuse_with)
    if input_key or output_key or refuse_with:
        msg = (
            "input_key, output_key and refuse_with are for chains; a chat model takes and gives messages, "
            "a retriever takes a question and gives documents"
        )
        raise TypeError(msg)
    inside = _guarded_inside(inner, guard)
    return thing.model_copy(update={"bound": inside}) if isinstance(thing, RunnableBinding) else inside


def _guarded_inside(inner: BaseChatModel | BaseRetriever, guard: LlamaGuard) -> Runnable[Any, Any]:
    if isinstance(inner, BaseRetriever):
        return GuardedRetriever(inner, guard)
    return GuardedChatModel(model=inner, guard=guard)


class GuardedRunnable(Runnable[Any, Any]):
    """A chain whose input is judged before it runs and whose output is judged before it is seen.

    While the chain runs, its callbacks are withheld; they are told what happened once all of the output may be seen,
    and never if it may not. A stream of text or of message chunks is shown as verdicts cover it, the way the policy's
    `streaming` says; any other is held to its end. An exception of the chain is output too: an output parser puts into
    it what the model wrote. It is judged, and replaced by `UnsafeContent` or `GuardUnavailable` if it may not be seen.

    What was decided is told as a custom event named `llama_guard`.

    What the chain writes to the streams of a LangGraph graph around it is withheld like its callbacks. What a graph
    inside the chain keeps in checkpoints is not: guard the model in there.

    It does not guard what happens inside: tools the chain calls and passages it retrieves are seen by it
    unjudged, and a LangChain cache in force keeps what the chain's own model wrote. A handler that code inside hands
    to a call itself (`model.invoke(..., config={"callbacks": [...]})`), or that is bound as a whole callback manager,
    is told at once.
    """

    def __init__(
        self,
        bound: Runnable[Any, Any],
        guard: LlamaGuard,
        *,
        input_key: str | None = None,
        output_key: str | None = None,
        refuse_with: RefuseWith | None = None,
    ) -> None:
        self.bound = bound
        self.guard = guard
        self.input_key = input_key
        self.output_key = output_key
        self.refuse_with = refuse_with

    @property
    def InputType(self) -> Any:  # noqa: N802 - LangChain's name
        """The chain's own."""
        return self.bound.InputType

    @property
    def OutputType(self) -> Any:  # noqa: N802 - LangChain's name
        """The chain's own."""
        return self.bound.OutputType

    def get_input_schema(self, config: RunnableConfig | None = None) -> TypeBaseModel:
        """The chain's own."""
        return self.bound.get_input_schema(config)

    def get_output_schema(self, config: RunnableConfig | None = None) -> TypeBaseModel:
        """The chain's own."""
        return self.bound.get_output_schema(config)

    @property
    def config_specs(self) -> list[ConfigurableFieldSpec]:
        """The chain's own."""
        return self.bound.config_specs

    def get_name(self, suffix: str | None = None, *, name: str | None = None) -> str:
        """The name runs are traced by."""
        return super().get_name(suffix, name=name or f"Guarded{self.bound.get_name()}")

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Judge the input, run the chain, judge its output."""
        return self._call_with_config(self._invoke, input, config, **kwargs)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Judge the input, run the chain, judge its output."""
        return await self._acall_with_config(self._ainvoke, input, config, **kwargs)

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:
        """Judge the input, then show the chain's pieces once a verdict covers them."""
        yield from self.transform(iter([input]), config, **kwargs)

    async def astream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Any]:
        """Judge the input, then show the chain's pieces once a verdict covers them."""

        async def once() -> AsyncIterator[Any]:
            yield input

        async for piece in self.atransform(once(), config, **kwargs):
            yield piece

    def transform(self, input: Iterator[Any], config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:
        """As `stream`, in the middle of a chain: waits for the whole input."""
        yield from self._transform_stream_with_config(input, self._transform, config, **kwargs)

    async def atransform(
        self,
        input: AsyncIterator[Any],
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """As `astream`, in the middle of a chain: waits for the whole input."""
        async for piece in self._atransform_stream_with_config(input, self._atransform, config, **kwargs):
            yield piece

    def _invoke(
        self, value: Any, run_manager: CallbackManagerForChainRun, config: RunnableConfig, **kwargs: Any
    ) -> Any:
        held = GuardedRun(self, value, run_manager, config)

        def call() -> Any:
            with held.watching():
                return self.bound.invoke(value, held.config, **kwargs)

        flow = guarded_call(self.guard.policy, held.conversation, held.read)
        outcome = run(flow, self.guard.judge, catching(call, held.failed))
        announce([outcome.prompt, *outcome.decisions], run_manager)
        if held.events and not refusals(outcome):
            held.events.release()
        return held.result(outcome)

    async def _ainvoke(
        self, value: Any, run_manager: AsyncCallbackManagerForChainRun, config: RunnableConfig, **kwargs: Any
    ) -> Any:
        held = GuardedRun(self, value, run_manager, config)

        async def call() -> Any:
            with held.watching():
                return await self.bound.ainvoke(value, held.config, **kwargs)

        flow = guarded_call(self.guard.policy, held.conversation, held.read)
        outcome = await arun(flow, self.guard.ajudge, acatching(call, held.failed))
        await aannounce([outcome.prompt, *outcome.decisions], run_manager)
        if held.events and not refusals(outcome):
            await held.events.arelease()
        return held.result(outcome)

    def _transform(
        self, pieces: Iterator[Any], run_manager: CallbackManagerForChainRun, config: RunnableConfig, **kwargs: Any
    ) -> Iterator[Any]:
        held = GuardedRun(self, whole_of(list(pieces)), run_manager, config)
        source = held.source(kwargs)
        with held.forgetting(), closing(guard_stream(held.machine(), source, self.guard.judge)) as events:
            for event in events:
                announce([event.decision], run_manager)
                if isinstance(event, Halted):
                    yield held.refusal(event.decision)
                    return
                if held.events and event.is_last:
                    held.events.release()
                yield from held.shown(event.chunks)

    async def _atransform(
        self,
        pieces: AsyncIterator[Any],
        run_manager: AsyncCallbackManagerForChainRun,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        held = GuardedRun(self, whole_of([piece async for piece in pieces]), run_manager, config)
        source = held.asource(kwargs)
        with held.forgetting():
            async with aclosing(aguard_stream(held.machine(), source, self.guard.ajudge)) as events:
                async for event in events:
                    await aannounce([event.decision], run_manager)
                    if isinstance(event, Halted):
                        yield held.refusal(event.decision)
                        return
                    if held.events and event.is_last:
                        await held.events.arelease()
                    for piece in held.shown(event.chunks):
                        yield piece
