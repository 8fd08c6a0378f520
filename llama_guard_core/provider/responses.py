"""One response, read piece by piece without knowing who fetches the pieces: a whole reply, or a stream of chunks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from llama_guard_core.errors import ProviderError
from llama_guard_core.provider.chunks import CompletionChunk, CompletionStream, chunks_of
from llama_guard_core.provider.endpoints import CHAT, Endpoint
from llama_guard_core.provider.event_stream import EventStreamDecoder, ServerSentEvent
from llama_guard_core.provider.failures import failure, failure_from_response

T = TypeVar("T")

MAX_BODY_BYTES = 64 * 1024 * 1024
_BEGINS_A_BODY = b'{[<"'
_REDIRECTS = range(300, 400)
_SUCCESS = range(200, 300)


class WholeReply:
    """Reads the body of a plain call.

    Args:
        status: the HTTP status.
        headers: the response's headers.
        deadline: when the reply has to be whole, by the clock; padding does not move it.
        clock: what tells the time, in seconds.
    """

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str],
        deadline: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._status = status
        self._headers = headers
        self._pieces: list[bytes] = []
        self._size = 0
        self._clock = clock
        self._deadline = deadline

    def receive(self, piece: bytes) -> None:
        """Take the next piece of the body.

        Raises:
            ProviderUnavailable: if time is up.
            UnexpectedResponse: if the body is larger than any reply could be.
        """
        self._size += len(piece)
        if self._size > MAX_BODY_BYTES:
            raise failure(reason="malformed", said=f"it is larger than {MAX_BODY_BYTES} bytes")
        if self._deadline is not None and self._clock() > self._deadline:
            raise failure(reason="timeout", said="no whole reply in time")
        self._pieces.append(piece)

    def read_by(self, endpoint: Endpoint[T]) -> T:
        """The reply, once the body has ended.

        Args:
            endpoint: where it comes from.

        Raises:
            ProviderError: if it is none.
        """
        body = b"".join(self._pieces)
        if self._status not in _SUCCESS:
            raise _refusal(self._status, self._headers, body)
        return endpoint.read(body, time.time())


class StreamedReply:
    """Reads the body of a streamed call, also where a host answers with a whole reply or a plain error instead.

    Args:
        status: the HTTP status.
        headers: the response's headers.
        seconds: the longest time between two pieces of the reply; comments and events that say nothing are none.
        clock: what tells the time, in seconds.
    """

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str],
        seconds: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._status = status
        self._headers = headers
        self._seconds = seconds
        self._clock = clock
        self._last_chunk_at = self._received_at = clock()
        self._decoder = EventStreamDecoder()
        self._stream = CompletionStream(now=time.time())
        self._whole = None if status in _SUCCESS else self._whole_reply()
        self._undecided = True

    @property
    def done(self) -> bool:
        """Whether the host has said that nothing follows."""
        return self._stream.done

    def receive(self, piece: bytes) -> list[CompletionChunk]:
        """Take the next piece of the body and return the chunks it completes.

        Raises:
            ProviderError: if an error is among them, or nothing but comments comes for too long.
        """
        if self._undecided:
            self._decide(piece)
        if self._whole is not None:
            self._received_at = self._clock()
            self._whole.receive(piece)
            return []
        chunks = self._chunks(self._decoder.feed(piece))
        self._check_time(chunks)
        return chunks

    def go_on(self) -> None:
        """Say that the chunks were taken and more is read: what their reader needed is not the host's time."""
        self._last_chunk_at += self._clock() - self._received_at

    def end(self) -> list[CompletionChunk]:
        """The last chunks, once the body has ended or the host is done.

        Raises:
            ProviderError: if the reply is not whole.
        """
        if self._whole is not None:
            return chunks_of(self._whole.read_by(CHAT))
        return [*self._chunks(self._decoder.end()), *self._stream.end()]

    def _decide(self, piece: bytes) -> None:
        """An event stream begins with a field's name or a colon, never as JSON or a web page does."""
        begin = piece.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
        if not begin:
            return
        self._undecided = False
        if self._whole is None and begin in _BEGINS_A_BODY:
            self._whole = self._whole_reply()

    def _whole_reply(self) -> WholeReply:
        deadline = None if self._seconds is None else self._clock() + self._seconds
        return WholeReply(self._status, self._headers, deadline, self._clock)

    def _check_time(self, chunks: list[CompletionChunk]) -> None:
        now = self._received_at = self._clock()
        if chunks or self._seconds is None:
            self._last_chunk_at = now
        elif now - self._last_chunk_at > self._seconds and not self.done:
            raise failure(reason="timeout", said="nothing but keep-alive signals came")

    def _chunks(self, events: list[ServerSentEvent]) -> list[CompletionChunk]:
        return [chunk for event in events for chunk in self._stream.feed(event.data, event.event)]


def _refusal(status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    if status in _REDIRECTS:
        advice = (
            "Redirects are not followed, since they could carry the key elsewhere: set base_url to the final address."
        )
        return failure(reason="not_found", said="it redirects elsewhere", status=status, advice=advice)
    return failure_from_response(status, headers, body, now=time.time())
