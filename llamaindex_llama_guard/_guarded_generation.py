"""A model's chat and completions, guarded from inside: below LlamaIndex's events and callbacks.

What is withheld here has been seen by no event handler, no span and no callback. An exception of the model is
withheld like a reply: some quote what the model wrote.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from functools import partial
from typing import Any, Generic, TypeVar

from llama_index.core.base.llms.types import ChatResponse, CompletionResponse
from pydantic import BaseModel

from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.drive import Asks, AsksAsync, acatching, acatching_stream, arun, catching, catching_stream, run
from llama_guard_core.drive_streams import aguard_stream, guard_stream
from llama_guard_core.guardrail.failures import Failed, shown_before_failure, with_failures
from llama_guard_core.guardrail.policy import Allow, Refuse, decision_records
from llama_guard_core.guardrail.screening import Flow, GuardedReply, guarded_call, judges_replies
from llama_guard_core.guardrail.stream_events import Halted, Release, stream_records
from llama_guard_core.guardrail.stream_guard import StreamGuard
from llama_guard_core.messages import Conversation, Message, assistant
from llamaindex_llama_guard._failures import as_output
from llamaindex_llama_guard._tracing import atraced_here, traced_here

METADATA_KEY = "llama_guard"
"""Where a response says what was decided about it: `response.additional_kwargs["llama_guard"]`."""

# Agents without function calling read in the text what they are to do: ReActAgent and CodeActAgent. Half an action, or
# one that a later verdict would have stopped, must not be there for them to read.
_ACTION = re.compile(r"^\s*Action\s*(Input)?\s*:|<execute>", re.IGNORECASE | re.MULTILINE)
_LONGEST_SIGN = 40

C = TypeVar("C")
R = TypeVar("R", bound=ChatResponse | CompletionResponse)

_TOLD_OF_REFUSED = ("id", "model", "provider", "created", "system_fingerprint", "service_tier")
_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens", "cost")


class ReplyForm(ABC, Generic[C, R]):
    """How a model's answer is read by the guard and shown to the caller; one for each call."""

    @abstractmethod
    def read(self, chunks: Sequence[C]) -> Message:
        """What these chunks of a stream say, to somebody who sees them all."""

    @abstractmethod
    def whole(self, chunks: Sequence[C]) -> R:
        """What these chunks of a stream amount to."""

    @abstractmethod
    def shown(self, chunk: C) -> R:
        """The next chunk as the caller is given it."""

    @abstractmethod
    def text_added_by(self, chunk: C) -> str | None:
        """The text that the next chunk adds to the reply; `None` for one that nobody may act on before its end."""

    @abstractmethod
    def after(self, shown: R, said: str, refusal: R) -> R:
        """A refusal that ends a stream of which something was shown: it says everything so far, and then that.

        Args:
            shown: the last response that was shown.
            said: the deltas that were shown.
            refusal: the refusal alone.
        """

    @abstractmethod
    def refused(self, text: str, *, is_streamed: bool, raw: dict[str, Any], additional_kwargs: dict[str, Any]) -> R:
        """A refusal as the caller is given it."""


def generate(guard: LlamaGuard, conversation: Conversation, call: Callable[[], R], form: ReplyForm[R, R]) -> R:
    """Judge the prompt, call the model, judge its reply."""
    flow: Flow[GuardedReply[R | Failed]] = guarded_call(guard.policy, conversation, lambda it: [_said(it, form)])
    return _result(run(flow, guard.judge, catching(call, partial(_failed, guard))), form)


async def agenerate(
    guard: LlamaGuard, conversation: Conversation, call: Callable[[], Awaitable[R]], form: ReplyForm[R, R]
) -> R:
    """Judge the prompt, call the model, judge its reply."""
    flow: Flow[GuardedReply[R | Failed]] = guarded_call(guard.policy, conversation, lambda it: [_said(it, form)])
    return _result(await arun(flow, guard.ajudge, acatching(call, partial(_failed, guard))), form)


def stream(
    guard: LlamaGuard, conversation: Conversation, open_stream: Callable[[], Generator[C]], form: ReplyForm[C, R]
) -> Generator[R, None, None]:
    """Judge the prompt, open the model's stream, show of it what a verdict covers."""
    return _stream(guard, conversation, open_stream, form, traced_here(guard.judge))


def _stream(
    guard: LlamaGuard,
    conversation: Conversation,
    open_stream: Callable[[], Generator[C]],
    form: ReplyForm[C, R],
    judge: Asks,
) -> Generator[R, None, None]:
    held = _HeldReply(guard, conversation, form)
    chunks = catching_stream(open_stream, partial(_failed, guard))
    with closing(guard_stream(held.machine, chunks, judge)) as events:
        for event in events:
            yield from held.shown(event)


def astream(
    guard: LlamaGuard, conversation: Conversation, open_stream: Callable[[], AsyncGenerator[C]], form: ReplyForm[C, R]
) -> AsyncGenerator[R, None]:
    """Judge the prompt, open the model's stream, show of it what a verdict covers."""
    return _astream(guard, conversation, open_stream, form, atraced_here(guard.ajudge))


async def _astream(
    guard: LlamaGuard,
    conversation: Conversation,
    open_stream: Callable[[], AsyncGenerator[C]],
    form: ReplyForm[C, R],
    judge: AsksAsync,
) -> AsyncGenerator[R, None]:
    held = _HeldReply(guard, conversation, form)
    chunks = acatching_stream(open_stream, partial(_failed, guard))
    async with aclosing(aguard_stream(held.machine, chunks, judge)) as events:
        async for event in events:
            for response in held.shown(event):
                yield response


def _failed(guard: LlamaGuard, error: Exception) -> Failed:
    if not judges_replies(guard.policy):
        raise error
    return as_output(error)


class _HeldReply(Generic[C, R]):
    """One streamed reply on its way: what has come, and what has been decided."""

    def __init__(self, guard: LlamaGuard, conversation: Conversation, form: ReplyForm[C, R]) -> None:
        self._form = form
        self._whole: R | None = None
        self._last_shown: R | None = None
        self._said = ""
        self._seen = ""
        self._records: list[dict[str, Any]] = []
        self.machine = StreamGuard[C | Failed](
            guard.policy, conversation, self._read, self._text_added_by, with_prompt=True
        )

    def shown(self, event: Release[C | Failed] | Halted) -> Iterator[R]:
        """What to show; the last of it says what was decided. Where the model raised, it is raised."""
        self._records += stream_records(event)
        if isinstance(event, Halted):
            refusal = _refusal(self._form, event.decision, self._records, self._whole, is_streamed=True)
            yield self._form.after(self._last_shown, self._said, refusal) if self._last_shown else refusal
            return
        for at, chunk in enumerate(shown_before_failure(event.chunks, self._adds_no_call), 1):
            if isinstance(chunk, Failed):
                raise chunk.error
            response = self._last_shown = self._form.shown(chunk)
            self._said += response.delta or ""
            # A response says everything so far, and so what was decided so far.
            yield with_records(response, self._records) if at == len(event.chunks) else response

    def _adds_no_call(self, chunk: C | Failed) -> str | None:
        return None if isinstance(chunk, Failed) else self._form.text_added_by(chunk)

    def _text_added_by(self, chunk: C | Failed) -> str | None:
        """The text a chunk adds; none of it may be shown bit by bit once it begins to be an action of an agent."""
        text = self._adds_no_call(chunk)
        self._seen = self._seen[-_LONGEST_SIGN:] + (text or "")
        return None if _ACTION.search(self._seen) else text

    def _read(self, chunks: Sequence[C | Failed]) -> Message:
        came = [chunk for chunk in chunks if not isinstance(chunk, Failed)]
        self._whole = self._form.whole(came) if came else None
        said = self._form.read(came) if came else Message("assistant")
        return with_failures(said, chunks)


def _said(reply: R | Failed, form: ReplyForm[R, R]) -> Message:
    return assistant(reply.text) if isinstance(reply, Failed) else form.read([reply])


def _result(guarded: GuardedReply[R | Failed], form: ReplyForm[R, R]) -> R:
    decided, reply = decision_records(guarded.prompt), guarded.reply
    if isinstance(guarded.prompt, Refuse) or reply is None:
        return _refusal(form, guarded.prompt, decided, None, is_streamed=False)
    (decision,) = guarded.decisions
    decided += decision_records(decision)
    if isinstance(decision, Refuse):
        return _refusal(form, decision, decided, None if isinstance(reply, Failed) else reply, is_streamed=False)
    if isinstance(reply, Failed):
        raise reply.error
    return with_records(reply, decided)


def with_records(response: R, decided: list[dict[str, Any]]) -> R:
    """The same response, copied, saying what was decided. Its message does not: models are shown messages."""
    if not decided:
        return response
    extras = {**response.additional_kwargs, METADATA_KEY: decided}
    return response.model_copy(update={"additional_kwargs": extras})  # type: ignore[return-value] # of the same class


def _refusal(
    form: ReplyForm[Any, R],
    decision: Allow | Refuse,
    decided: list[dict[str, Any]],
    instead_of: R | None,
    *,
    is_streamed: bool,
) -> R:
    """The refusal, in the place of a reply: same usage, nothing else of it."""
    told = _fields(instead_of.raw) if instead_of else {}
    raw = {key: told[key] for key in _TOLD_OF_REFUSED if isinstance(told.get(key), str | int)}
    raw["choices"] = [{"index": 0, "finish_reason": "content_filter"}]
    if usage := _numbers(told.get("usage")):
        raw["usage"] = usage
    counts = _numbers(instead_of.additional_kwargs) if instead_of else {}
    extras = {**{key: counts[key] for key in _COUNTS if key in counts}, METADATA_KEY: decided}
    text = decision.text if isinstance(decision, Refuse) else ""
    return form.refused(text, is_streamed=is_streamed, raw=raw, additional_kwargs=extras)


def _fields(raw: Any) -> Mapping[str, Any]:
    if isinstance(raw, BaseModel):
        return raw.model_dump()
    return raw if isinstance(raw, Mapping) else {}


def _numbers(counts: Any) -> dict[str, Any]:
    """The numbers of a usage object, at any depth: it may be told where a reply may not."""
    found: dict[str, Any] = {}
    for key, value in _fields(counts).items():
        if isinstance(value, int | float):
            found[str(key)] = value
        elif inner := _numbers(value):
            found[str(key)] = inner
    return found
