"""One run of a guarded chain: what went in, what is withheld, what may be shown."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import patch_config

from langchain_llama_guard._failures import as_output
from langchain_llama_guard._held_events import (
    HeldEvents,
    RunManager,
    aunobserved_iteration,
    unobserved,
    unobserved_iteration,
)
from langchain_llama_guard._values import conversation_in, refusal_like, reply_in, reply_in_pieces, text_added_by_piece
from llama_guard_core.drive import acatching_stream, catching_stream
from llama_guard_core.guardrail.decisions import Refuse, refusal_error
from llama_guard_core.guardrail.failures import Failed, shown_before_failure, with_failures
from llama_guard_core.guardrail.screening import GuardedReply, withholds_replies
from llama_guard_core.guardrail.stream_events import REFUSAL_SEPARATOR
from llama_guard_core.guardrail.stream_guard import StreamGuard
from llama_guard_core.messages import Message, assistant

if TYPE_CHECKING:
    from langchain_llama_guard.runnables import GuardedRunnable


_TYPES_AS_WRITTEN: dict[str, type] = {"str": str, "AIMessage": AIMessage, "BaseMessage": BaseMessage}


class GuardedRun:
    """What `GuardedRunnable` knows of one run, whether plain or streamed, sync or async."""

    def __init__(self, owner: GuardedRunnable, value: Any, run_manager: RunManager, config: RunnableConfig) -> None:
        policy = owner.guard.policy
        self._owner = owner
        self._value = value
        self._seen: Any = None
        self._has_shown_text = False
        self.conversation = conversation_in(value, owner.input_key)
        self.events = HeldEvents(run_manager) if withholds_replies(policy) else None
        self.config = (
            self.events.config(config, run_manager)
            if self.events
            else patch_config(config, callbacks=run_manager.get_child())
        )

    def watching(self) -> AbstractContextManager[None]:
        """The context the chain runs in: unobserved while its output is withheld."""
        return unobserved(self.config) if self.events else nullcontext()

    @contextmanager
    def forgetting(self) -> Iterator[None]:
        """Forget in the end what was not told."""
        try:
            yield
        finally:
            if self.events:
                self.events.forget()

    def source(self, settings: dict[str, Any]) -> Generator[Any, None, None]:
        """The chain's pieces; an exception of it is the last of them."""

        def opened() -> Generator[Any, None, None]:
            pieces = self._owner.bound.stream(self._value, self.config, **settings)
            return unobserved_iteration(pieces, self.config, hidden=self.events is not None)

        return catching_stream(opened, self.failed)

    def asource(self, settings: dict[str, Any]) -> AsyncGenerator[Any, None]:
        """The chain's pieces; an exception of it is the last of them."""

        def opened() -> AsyncGenerator[Any, None]:
            pieces = self._owner.bound.astream(self._value, self.config, **settings)
            return aunobserved_iteration(pieces, self.config, hidden=self.events is not None)

        return acatching_stream(opened, self.failed)

    def failed(self, error: Exception) -> Failed:
        """An exception as an output, where outputs are judged."""
        if self.events is None:
            raise error
        return as_output(error)

    def machine(self) -> StreamGuard[Any]:
        """The machine that withholds this run's pieces."""
        policy = self._owner.guard.policy
        return StreamGuard(policy, self.conversation, self._read_pieces, _text_added_by, with_prompt=True)

    def read(self, reply: Any) -> list[Message]:
        """What a whole output says."""
        if isinstance(reply, Failed):
            return [assistant(reply.text)]
        self._seen = reply
        return [reply_in(reply, self._owner.output_key, self.conversation)]

    def result(self, outcome: GuardedReply[Any]) -> Any:
        """What the run returns, or raises."""
        for refused in refusals(outcome):
            return self.refusal(refused)
        return _unless_failed(outcome.reply)

    def shown(self, pieces: Sequence[Any]) -> Iterator[Any]:
        """The pieces to show; where the chain raised, it is raised."""
        for piece in shown_before_failure(pieces, _text_added_by):
            output = _unless_failed(piece)
            self._has_shown_text = True
            yield output

    def refusal(self, decision: Refuse) -> Any:
        """The refusal in the form of the chain's output.

        Raises:
            UnsafeContent: the output has no form a refusal could take.
            GuardUnavailable: the same, and there is no verdict either.
        """
        if self._owner.refuse_with:
            return self._owner.refuse_with(decision)
        separator = REFUSAL_SEPARATOR if self._has_shown_text else ""
        refusal = refusal_like(separator + decision.text, self._example(), self._owner.output_key)
        if refusal is None:
            raise refusal_error(decision) from None
        return refusal

    def _example(self) -> Any:
        key = self._owner.output_key
        if self._seen is not None:
            return self._seen
        if key is not None and isinstance(self._value, dict) and key in self._value:
            return self._value
        try:
            kind = self._owner.OutputType
            # Of a function in a module with postponed annotations, LangChain tells the type as it is written.
            return _TYPES_AS_WRITTEN.get(kind) if isinstance(kind, str) else kind
        except TypeError:  # what LangChain raises where a chain does not say its type
            return None

    def _read_pieces(self, pieces: Sequence[Any]) -> Message:
        shown = [piece for piece in pieces if not isinstance(piece, Failed)]
        if not shown:
            return with_failures(Message("assistant"), pieces)
        self._seen = shown[-1]
        said = reply_in_pieces(shown, self._owner.output_key, self.conversation)
        return with_failures(said, pieces)


def _text_added_by(piece: Any) -> str | None:
    return None if isinstance(piece, Failed) else text_added_by_piece(piece)


def _unless_failed(output: Any) -> Any:
    if isinstance(output, Failed):
        raise output.error
    return output


def refusals(outcome: GuardedReply[Any]) -> list[Refuse]:
    """The decisions that keep this reply from being shown."""
    return [decision for decision in (outcome.prompt, *outcome.decisions) if isinstance(decision, Refuse)]
