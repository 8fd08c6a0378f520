"""One query under guard: what was asked, what came back, what may be shown."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Sequence
from contextlib import aclosing, closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Union

from llama_index.core.base.response.schema import (
    RESPONSE_TYPE,
    AsyncStreamingResponse,
    PydanticResponse,
    Response,
    StreamingResponse,
)
from llama_index.core.schema import NodeWithScore, QueryBundle
from pydantic import BaseModel

from llama_guard_core.drive import acatching_stream, catching_stream
from llama_guard_core.drive_streams import aguard_stream, guard_stream
from llama_guard_core.errors import GuardUnavailable, UnsafeContent
from llama_guard_core.guardrail.decisions import Allow, Decision, Refuse, decision_records
from llama_guard_core.guardrail.failures import Failed, with_failures
from llama_guard_core.guardrail.screening import GuardedReply
from llama_guard_core.guardrail.stream_events import REFUSAL_SEPARATOR, Halted, Release, stream_records
from llama_guard_core.guardrail.stream_guard import StreamGuard
from llama_guard_core.guardrail.verdict import Stage
from llama_guard_core.messages import Conversation, Message, Part, Text, Unjudgeable, assistant
from llamaindex_llama_guard._failures import as_output
from llamaindex_llama_guard._reply_form import METADATA_KEY
from llamaindex_llama_guard._tracing import atraced_here, traced_here
from llamaindex_llama_guard._unobserved import aunobserved_iteration, unobserved_iteration

if TYPE_CHECKING:
    from llamaindex_llama_guard.query_engines import GuardedQueryEngine

Answer = Union[RESPONSE_TYPE, Failed, Refuse]  # noqa: UP007 - the framework's alias is no type `|` takes
Piece = str | Failed | Refuse

_EMPTY_RESPONSE = "Empty Response"  # LlamaIndex's answer, without asking a model, where no passage is left


class Refusal(BaseModel):
    """Stands where a structured answer would: the `response` of a `PydanticResponse` that was refused."""

    refusal: str


def question_of(bundle: QueryBundle) -> Conversation:
    """The user's own words, all that are searched with. An image among them is beyond the guard."""
    said = dict.fromkeys([bundle.query_str, *(bundle.custom_embedding_strs or ())])
    parts: list[Part] = [Text(text) for text in said]
    if bundle.image_path:
        parts.append(Unjudgeable("an image in a query"))
    return (Message("user", tuple(parts)),)


class GuardedQuery:
    """What `GuardedQueryEngine` knows of one query, whether plain or streamed."""

    def __init__(self, owner: GuardedQueryEngine, bundle: QueryBundle, expected: type[Any]) -> None:
        self._owner = owner
        self._policy = owner.guard.policy
        self._expected = expected
        self._judge = traced_here(owner.guard.judge)
        self._ajudge = atraced_here(owner.guard.ajudge)
        self._sources: list[NodeWithScore] = []
        self._metadata: dict[str, Any] = {}
        self._records: list[dict[str, Any]] = []
        self._has_shown_text = False
        self.conversation = question_of(bundle)

    def failed(self, error: Exception) -> Failed | Refuse:
        """An exception of the engine, as an output that is judged, or refused if a guard inside raised it."""
        decision = self._decided_inside(error)
        if isinstance(decision, Refuse):
            return decision
        if not self._policy.judges(Stage.REPLY):
            raise error
        return as_output(error)

    def read(self, reply: Answer) -> list[Message]:
        """What a whole answer says. A stream is read as it comes."""
        match reply:
            case Failed():
                return [assistant(reply.text)]
            case PydanticResponse():
                return [assistant(str(reply))]
            case Response():
                self._sources = reply.source_nodes
                return [self._said(reply.response or "")]
            case _:
                return []

    def result(self, outcome: GuardedReply[Answer]) -> RESPONSE_TYPE:  # noqa: PLR0911 - one line a type
        """What the query returns, or raises."""
        self._note(outcome.prompt)
        if isinstance(outcome.prompt, Refuse):
            return self._refusal(outcome.prompt, None)
        reply = outcome.reply
        for decision in outcome.decisions:
            self._note(decision)
            if isinstance(decision, Refuse):
                return self._refusal(decision, reply)
        match reply:
            case Refuse():
                self._note(reply)
                return self._refusal(reply, None)
            case Failed():
                raise reply.error
            case StreamingResponse():
                return self._stream(reply)
            case AsyncStreamingResponse():
                return self._astream(reply)
            case Response():
                return replace(reply, response=self._settled(reply.response or ""), metadata=self._told(reply.metadata))
            case _:
                assert isinstance(reply, PydanticResponse)  # noqa: S101 - the last of LlamaIndex's four
                return replace(reply, metadata=self._told(reply.metadata))

    def _decided_inside(self, error: Exception) -> Decision | None:
        match error:
            case UnsafeContent():
                return self._policy.decide(error.verdict)
            case GuardUnavailable(stage=Stage() as stage):
                return self._policy.without_verdict(stage, error)
            case _:
                return None

    def _stream(self, reply: StreamingResponse) -> StreamingResponse:
        self._begin(reply)
        source = reply.response_gen if reply.response_txt is None else _in_one(reply.response_txt)
        return StreamingResponse(self._pieces(source), self._sources, self._metadata)

    def _astream(self, reply: AsyncStreamingResponse) -> AsyncStreamingResponse:
        self._begin(reply)
        source = reply.response_gen if reply.response_txt is None else _at_once(reply.response_txt)
        return AsyncStreamingResponse(self._apieces(source), self._sources, self._metadata)

    def _begin(self, reply: StreamingResponse | AsyncStreamingResponse) -> None:
        """The caller's response holds these very objects: at the end of the stream they are brought up to date."""
        self._sources = list(reply.source_nodes)
        self._metadata = self._told(reply.metadata)

    def _refusal(self, decision: Refuse, instead_of: Answer | None) -> RESPONSE_TYPE:
        """The refusal in the form of the answer it stands for, or of the one that was to be expected."""
        form, kept, metadata = self._expected, list[NodeWithScore](), self._told(None)
        if isinstance(instead_of, Response | PydanticResponse):
            form, kept = type(instead_of), list(instead_of.source_nodes) if self._owner.keeps_sources else []
        if issubclass(form, PydanticResponse):
            return PydanticResponse(Refusal(refusal=decision.text), kept, metadata)
        if issubclass(form, StreamingResponse):
            return StreamingResponse(_in_one(decision.text), kept, metadata)
        if issubclass(form, AsyncStreamingResponse):
            return AsyncStreamingResponse(_at_once(decision.text), kept, metadata)
        return Response(decision.text, kept, metadata)

    def _note(self, decision: Allow | Refuse) -> None:
        self._records += decision_records(decision)

    def _told(self, metadata: dict[str, Any] | None) -> dict[str, Any]:
        """What is told beside an answer: what the engine told, and what was decided."""
        return {**(metadata or {}), METADATA_KEY: self._records}

    def _pieces(self, source: Iterator[str]) -> Generator[str, None, None]:
        with closing(guard_stream(self._machine(), self._ending(source), self._judge)) as events:
            for event in events:
                yield from self._shown(event)

    async def _apieces(self, source: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
        async with aclosing(aguard_stream(self._machine(), self._aending(source), self._ajudge)) as events:
            async for event in events:
                for piece in self._shown(event):
                    yield piece

    def _ending(self, source: Iterator[str]) -> Generator[Piece, None, None]:
        """The pieces; an exception is the last of them."""
        opened = unobserved_iteration(source) if self._owner.hides else source
        return catching_stream(lambda: opened, self.failed)

    def _aending(self, source: AsyncGenerator[str, None]) -> AsyncGenerator[Piece, None]:
        """The pieces; an exception is the last of them."""
        opened: AsyncIterator[str] = aunobserved_iteration(source) if self._owner.hides else source
        return acatching_stream(lambda: opened, self.failed)

    def _machine(self) -> StreamGuard[Piece]:
        return StreamGuard(self._policy, self.conversation, self._read_pieces, _text_added_by)

    def _read_pieces(self, pieces: Sequence[Piece]) -> Message:
        said = self._said("".join(piece for piece in pieces if isinstance(piece, str)))
        return with_failures(said, pieces)

    def _shown(self, event: Release[Piece] | Halted) -> Iterator[str]:
        """The pieces to show. Where the engine raised, it is raised."""
        self._records += stream_records(event)
        if isinstance(event, Halted):
            yield self._halted(event.decision)
            return
        for piece in event.chunks:
            if isinstance(piece, Refuse):
                self._note(piece)
                yield self._halted(piece)
                return
            if isinstance(piece, Failed):
                raise piece.error
            self._has_shown_text = self._has_shown_text or bool(piece)
            yield self._settled(piece)

    def _halted(self, decision: Refuse) -> str:
        if not self._owner.keeps_sources:
            self._sources.clear()
        for name in self._metadata.keys() - {METADATA_KEY}:
            del self._metadata[name]
        return (REFUSAL_SEPARATOR if self._has_shown_text else "") + decision.text

    def _said(self, text: str) -> Message:
        """An answer as what is judged; LlamaIndex's own words need no judging."""
        return assistant("" if self._is_empty(text) else text)

    def _settled(self, text: str) -> str:
        nothing_left = self._owner.nothing_left
        return nothing_left if nothing_left is not None and self._is_empty(text) else text

    def _is_empty(self, text: str) -> bool:
        return text == _EMPTY_RESPONSE and not self._sources


def _text_added_by(piece: Piece) -> str | None:
    return piece if isinstance(piece, str) else None


def _in_one(text: str) -> Generator[str, None, None]:
    yield text


async def _at_once(text: str) -> AsyncGenerator[str, None]:
    yield text
