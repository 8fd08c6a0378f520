"""The guard as nodes of a chain: `guard.input() | chain | guard.output()`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForChainRun, CallbackManagerForChainRun
from langchain_core.runnables import Runnable, RunnableConfig

from langchain_llama_guard._decision_events import aannounce, announce
from langchain_llama_guard._values import conversation_in_pieces, refusal_like, reply_in_pieces, text_of, whole_of
from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.drive import arun, run
from llama_guard_core.guardrail.policy import Allow, Refuse, refusal_error
from llama_guard_core.guardrail.screening import Flow, screen_prompt, screen_reply


class _GuardNode(Runnable[Any, Any]):
    """A step that passes on what the guard lets through. What it judges is in no trace of its own run."""

    def __init__(self, guard: LlamaGuard, key: str | None) -> None:
        self.guard = guard
        self.key = key

    def _flow(self, pieces: Sequence[Any]) -> Flow[Allow | Refuse]:
        """How the pieces of a stream, or a value that came whole, are judged."""
        raise NotImplementedError

    def _passed(self, decision: Allow | Refuse, value: Any) -> Any:
        """What goes on in the chain: the value, or what stands in its place."""
        raise NotImplementedError

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Judge a value; return it, or what the policy puts in its place."""

        def judge(_: Any, run_manager: CallbackManagerForChainRun) -> Any:
            decision = run(self._flow([input]), self.guard.judge)
            announce([decision], run_manager)
            return self._passed(decision, input)

        return self._call_with_config(judge, _withheld(input), config, **kwargs)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Judge a value; return it, or what the policy puts in its place."""

        async def judge(_: Any, run_manager: AsyncCallbackManagerForChainRun) -> Any:
            decision = await arun(self._flow([input]), self.guard.ajudge)
            await aannounce([decision], run_manager)
            return self._passed(decision, input)

        return await self._acall_with_config(judge, _withheld(input), config, **kwargs)

    def transform(self, input: Iterator[Any], config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:
        """Judge a stream when it has ended; then pass its pieces on."""

        def judge(_: Iterator[Any], run_manager: CallbackManagerForChainRun) -> Iterator[Any]:
            if not (pieces := list(input)):
                return
            decision = run(self._flow(pieces), self.guard.judge)
            announce([decision], run_manager)
            passed = self._passed(decision, whole_of(pieces))
            yield from pieces if isinstance(decision, Allow) else [passed]

        yield from self._transform_stream_with_config(iter([""]), judge, config, **kwargs)

    async def atransform(
        self,
        input: AsyncIterator[Any],
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """Judge a stream when it has ended; then pass its pieces on."""

        async def judge(_: AsyncIterator[Any], run_manager: AsyncCallbackManagerForChainRun) -> AsyncIterator[Any]:
            if not (pieces := [piece async for piece in input]):
                return
            decision = await arun(self._flow(pieces), self.guard.ajudge)
            await aannounce([decision], run_manager)
            passed = self._passed(decision, whole_of(pieces))
            for piece in pieces if isinstance(decision, Allow) else [passed]:
                yield piece

        async def nothing() -> AsyncIterator[Any]:
            yield ""

        async for piece in self._atransform_stream_with_config(nothing(), judge, config, **kwargs):
            yield piece


class InputGuard(_GuardNode):
    """A step that lets a prompt through or raises. Made by `guard.input()`.

    Raising is the one way a step has to stop the steps behind it: `UnsafeContent`, or `GuardUnavailable` where
    no verdict could be had, whatever the policy says of refusing. `.with_fallbacks` turns them into an answer;
    `guarded(chain, guard)` does all of it.
    """

    def _flow(self, pieces: Sequence[Any]) -> Flow[Allow | Refuse]:
        return screen_prompt(self.guard.policy, conversation_in_pieces(pieces, self.key))

    def _passed(self, decision: Allow | Refuse, value: Any) -> Any:
        if isinstance(decision, Refuse):
            raise refusal_error(decision)
        return value


class OutputGuard(_GuardNode):
    """A step that lets a reply through or puts the refusal in its place. Made by `guard.output()`.

    A value that is neither text nor messages cannot be replaced; the step raises then.

    It comes after the model. What the model streams to callbacks, event streams and traces was seen before this
    step could judge it; only a guard inside the model (`ChatLlamaScout(guard=...)`) or around the chain
    (`guarded(chain, guard)`) withholds that. And it sees the reply without its prompt, which costs the guard
    some of its accuracy.
    """

    def _flow(self, pieces: Sequence[Any]) -> Flow[Allow | Refuse]:
        return screen_reply(self.guard.policy, (), reply_in_pieces(pieces, self.key))

    def _passed(self, decision: Allow | Refuse, value: Any) -> Any:
        if isinstance(decision, Allow):
            return value
        refusal = refusal_like(decision.text, value, self.key)
        if refusal is None:
            raise refusal_error(decision)
        return refusal


def _withheld(value: Any) -> str:
    """What a trace is told in place of a value under judgement."""
    return f"({len(text_of(value))} characters)"
