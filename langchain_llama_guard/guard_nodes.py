"""The guard as nodes of a chain: `guard.input() | chain | guard.output()`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, closing
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForChainRun, CallbackManagerForChainRun
from langchain_core.runnables import Runnable, RunnableConfig

from langchain_llama_guard._decision_events import aannounce, announce
from langchain_llama_guard._values import (
    conversation_in_pieces,
    refusal_like,
    reply_in_pieces,
    text_added_by_piece,
    text_of,
    whole_of,
)
from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.drive import arun, run
from llama_guard_core.drive_streams import aguard_stream, guard_stream
from llama_guard_core.guardrail.decisions import Allow, Refuse, refusal_error
from llama_guard_core.guardrail.screening import Flow, screen_prompt, screen_reply
from llama_guard_core.guardrail.stream_events import REFUSAL_SEPARATOR, Halted, Release
from llama_guard_core.guardrail.stream_guard import StreamGuard
from llama_guard_core.messages import Message


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


class InputGuard(_GuardNode):
    """A step that lets a prompt through or raises. Made by `guard.input()`.

    Raising is the one way a step has to stop the steps behind it: `UnsafeContent`, or `GuardUnavailable` where
    no verdict could be had, whatever the policy says of refusing. `.with_fallbacks` turns them into an answer;
    `guarded(chain, guard)` does all of it.
    """

    def transform(self, input: Iterator[Any], config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:
        """Judge a streamed prompt when it has ended; then pass its pieces on."""

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
        """Judge a streamed prompt when it has ended; then pass its pieces on."""

        async def judge(_: AsyncIterator[Any], run_manager: AsyncCallbackManagerForChainRun) -> AsyncIterator[Any]:
            if not (pieces := [piece async for piece in input]):
                return
            decision = await arun(self._flow(pieces), self.guard.ajudge)
            await aannounce([decision], run_manager)
            passed = self._passed(decision, whole_of(pieces))
            for piece in pieces if isinstance(decision, Allow) else [passed]:
                yield piece

        async for piece in self._atransform_stream_with_config(_nothing(), judge, config, **kwargs):
            yield piece

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

    def transform(self, input: Iterator[Any], config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:
        """Pass the pieces of a stream on as verdicts cover them."""

        def judge(_: Iterator[Any], run_manager: CallbackManagerForChainRun) -> Iterator[Any]:
            held = _HeldOutput(self)
            with closing(guard_stream(held.machine, input, self.guard.judge)) as events:
                for event in events:
                    announce([event.decision], run_manager)
                    yield from held.shown(event)

        yield from self._transform_stream_with_config(iter([""]), judge, config, **kwargs)

    async def atransform(
        self,
        input: AsyncIterator[Any],
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """Pass the pieces of a stream on as verdicts cover them."""

        async def judge(_: AsyncIterator[Any], run_manager: AsyncCallbackManagerForChainRun) -> AsyncIterator[Any]:
            held = _HeldOutput(self)
            async with aclosing(aguard_stream(held.machine, input, self.guard.ajudge)) as events:
                async for event in events:
                    await aannounce([event.decision], run_manager)
                    for piece in held.shown(event):
                        yield piece

        async for piece in self._atransform_stream_with_config(_nothing(), judge, config, **kwargs):
            yield piece

    def _flow(self, pieces: Sequence[Any]) -> Flow[Allow | Refuse]:
        return screen_reply(self.guard.policy, (), reply_in_pieces(pieces, self.key))

    def _passed(self, decision: Allow | Refuse, value: Any) -> Any:
        return value if isinstance(decision, Allow) else self.refusal(decision, value)

    def refusal(self, decision: Refuse, example: Any, *, separator: str = "") -> Any:
        """A refusal in the form of an output.

        Raises:
            UnsafeContent: the output has no form a refusal could take.
            GuardUnavailable: the same, and there is no verdict either.
        """
        refusal = refusal_like(separator + decision.text, example, self.key)
        if refusal is None:
            raise refusal_error(decision)
        return refusal


class _HeldOutput:
    """One stream on its way through an `OutputGuard`."""

    def __init__(self, owner: OutputGuard) -> None:
        self._owner = owner
        self._seen: Any = None
        self._has_shown_text = False
        self.machine = StreamGuard[Any](owner.guard.policy, (), self._read, text_added_by_piece)

    def shown(self, event: Release[Any] | Halted) -> Iterator[Any]:
        """The pieces to pass on, or what stands in the place of the rest."""
        if isinstance(event, Halted):
            separator = REFUSAL_SEPARATOR if self._has_shown_text else ""
            yield self._owner.refusal(event.decision, self._seen, separator=separator)
            return
        self._has_shown_text = self._has_shown_text or bool(event.chunks)
        yield from event.chunks

    def _read(self, pieces: Sequence[Any]) -> Message:
        self._seen = whole_of(pieces)
        return reply_in_pieces(pieces, self._owner.key)


def _withheld(value: Any) -> str:
    """What a trace is told in place of a value under judgement."""
    return f"({len(text_of(value))} characters)"


async def _nothing() -> AsyncIterator[Any]:
    yield ""
