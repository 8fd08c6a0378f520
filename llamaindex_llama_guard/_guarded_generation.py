"""A model's chat and completions, guarded from inside: below LlamaIndex's events and callbacks.

What is withheld here has been seen by no event handler, no span and no callback. An exception of the model is
withheld like a reply: some quote what the model wrote.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import aclosing, closing
from functools import partial
from typing import Any, Generic, TypeVar

from llama_index.core.base.llms.types import ChatResponse, CompletionResponse

from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.drive import Asks, AsksAsync, acatching, acatching_stream, arun, catching, catching_stream, run
from llama_guard_core.drive_streams import aguard_stream, guard_stream
from llama_guard_core.guardrail.decisions import Refuse, decision_records
from llama_guard_core.guardrail.failures import Failed, shown_before_failure, with_failures
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.screening import Flow, GuardedReply, guarded_call, judges_replies
from llama_guard_core.guardrail.stream_events import Halted, Release, stream_records
from llama_guard_core.guardrail.stream_guard import StreamGuard
from llama_guard_core.messages import Conversation, Message, assistant
from llamaindex_llama_guard._failures import as_output
from llamaindex_llama_guard._reply_form import ReplyForm, refusal_of, with_records, without_refused_calls
from llamaindex_llama_guard._tracing import atraced_here, traced_here

# Agents without function calling read in the text what they are to do: ReActAgent and CodeActAgent. Half an action, or
# one that a later verdict would have stopped, must not be there for them to read.
_ACTION = re.compile(r"^\s*Action\s*(Input)?\s*:|<execute>", re.IGNORECASE | re.MULTILINE)
_LONGEST_SIGN = 40

C = TypeVar("C")
R = TypeVar("R", bound=ChatResponse | CompletionResponse)


def generate(guard: LlamaGuard, conversation: Conversation, call: Callable[[], R], form: ReplyForm[R, R]) -> R:
    """Judge the prompt, call the model, judge its reply."""
    flow = _answered(guard.policy, conversation, form)
    return run(flow, guard.judge, catching(call, partial(_failed, guard)))


async def agenerate(
    guard: LlamaGuard, conversation: Conversation, call: Callable[[], Awaitable[R]], form: ReplyForm[R, R]
) -> R:
    """Judge the prompt, call the model, judge its reply."""
    flow = _answered(guard.policy, conversation, form)
    return await arun(flow, guard.ajudge, acatching(call, partial(_failed, guard)))


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
            yield from held.shown(event, run(held.without_refused_calls(event), judge))


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
            for response in held.shown(event, await arun(held.without_refused_calls(event), judge)):
                yield response


def _answered(policy: Policy, conversation: Conversation, form: ReplyForm[R, R]) -> Flow[R]:
    """Judge the prompt, call the model, judge its reply; what is refused of that is not in what is given back."""
    outcome: GuardedReply[R | Failed] = yield from guarded_call(policy, conversation, lambda it: [_said(it, form)])
    reply = outcome.reply
    if reply is None or isinstance(reply, Failed) or not any(isinstance(it, Refuse) for it in outcome.decisions):
        return _result(outcome, form)
    decided = decision_records(outcome.prompt)
    kept = yield from without_refused_calls(policy, conversation, form, reply, form.read([reply]), decided=decided)
    return _result(outcome, form) if kept is None else kept


def _failed(guard: LlamaGuard, error: Exception) -> Failed:
    if not judges_replies(guard.policy):
        raise error
    return as_output(error)


class _HeldReply(Generic[C, R]):
    """One streamed reply on its way: what has come, and what has been decided."""

    def __init__(self, guard: LlamaGuard, conversation: Conversation, form: ReplyForm[C, R]) -> None:
        self._policy = guard.policy
        self._conversation = conversation
        self._form = form
        self._message = Message("assistant")
        self._whole: R | None = None
        self._last_shown: R | None = None
        self._said = ""
        self._seen = ""
        self._records: list[dict[str, Any]] = []
        self.machine = StreamGuard[C | Failed](
            guard.policy, conversation, self._read, self._text_added_by, with_prompt=True
        )

    def without_refused_calls(self, event: Release[C | Failed] | Halted) -> Flow[R | None]:
        """What to show in the place of a refusal, if the reply was read to its end and only calls in it are refused."""
        if not isinstance(event, Halted) or event.model_cut or self._whole is None:
            return None
        policy, conversation, form, decided = self._policy, self._conversation, self._form, self._records
        return (
            yield from without_refused_calls(
                policy, conversation, form, self._whole, self._message, decided=decided, shown=self._said
            )
        )

    def shown(self, event: Release[C | Failed] | Halted, instead: R | None) -> Iterator[R]:
        """What to show; the last of it says what was decided. Where the model raised, it is raised.

        Args:
            event: what the machine lets through.
            instead: what to show in the place of a refusal.
        """
        self._records += stream_records(event)
        if instead is not None:
            yield instead
        elif isinstance(event, Halted):
            refusal = refusal_of(self._form, event.decision, self._records, self._whole, is_streamed=True)
            yield self._form.after(self._last_shown, self._said, refusal) if self._last_shown else refusal
        else:
            yield from self._released(event.chunks)

    def _released(self, chunks: Sequence[C | Failed]) -> Iterator[R]:
        for at, chunk in enumerate(shown_before_failure(chunks, self._adds_no_call), 1):
            if isinstance(chunk, Failed):
                raise chunk.error
            response = self._last_shown = self._form.shown(chunk)
            self._said += response.delta or ""
            # A response says everything so far, and so what was decided so far.
            yield with_records(response, self._records) if at == len(chunks) else response

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
        self._message = said if len(came) == len(chunks) else Message("assistant")
        return with_failures(said, chunks)


def _said(reply: R | Failed, form: ReplyForm[R, R]) -> Message:
    return assistant(reply.text) if isinstance(reply, Failed) else form.read([reply])


def _result(guarded: GuardedReply[R | Failed], form: ReplyForm[R, R]) -> R:
    decided, reply = decision_records(guarded.prompt), guarded.reply
    if isinstance(guarded.prompt, Refuse) or reply is None:
        return refusal_of(form, guarded.prompt, decided, None, is_streamed=False)
    (decision,) = guarded.decisions
    decided += decision_records(decision)
    if isinstance(decision, Refuse):
        return refusal_of(form, decision, decided, None if isinstance(reply, Failed) else reply, is_streamed=False)
    if isinstance(reply, Failed):
        raise reply.error
    return with_records(reply, decided)
