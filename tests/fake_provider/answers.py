"""What goes back over the wire: a status, headers, pieces of a body, and where the delivery breaks."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx

PADDING = b"\n         \n"
"""What the real host writes before a body while the model still works."""

COMMENT = b": OPENROUTER PROCESSING\n\n"
"""What the real host writes into an event stream while the model still works."""

LAST_CHUNK = b"0\r\n\r\n"
"""The end of a chunked body."""

ENDLESS_PAUSE = 0.001
"""Seconds between two pieces of a response that never ends: enough to leave the processor to the client."""

Reach = Literal["nothing", "half_head", "body"]
Then = Literal["complete", "close", "reset", "stall", "endless"]
Framing = Literal["chunked", "length", "until close"]


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP response as the wire sees it.

    Attributes:
        status: the HTTP status.
        headers: the headers, without those that frame the body.
        pieces: the body, in the pieces it is written in.
        reach: how far the answer comes: not even the headers, half of them, or the body's pieces.
        then: what follows the last piece: the proper end, a closed or a reset connection, silence, or filler for ever.
        filler: what an endless answer goes on with.
        pause: seconds to wait before each piece, the filler's too.
        wire: the very bytes of the response, head included, in the pieces they are written in. They take the place of
            `status`, `headers` and `pieces`, and take a socket.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    pieces: tuple[bytes, ...] = ()
    reach: Reach = "body"
    then: Then = "complete"
    filler: bytes = PADDING
    pause: float = 0.0
    wire: tuple[bytes, ...] = ()

    @property
    def body(self) -> bytes:
        """All pieces, joined."""
        return b"".join(self.pieces)


def to_json(value: object) -> bytes:
    """Write JSON as the real host does: compact, and in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def json_answer(value: Mapping[str, Any], *, status: int, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer with unpadded JSON, as every error status does."""
    return Answer(status, {"content-type": "application/json", **(headers or {})}, (to_json(value),))


def html_answer(status: int, text: str) -> Answer:
    """Answer with a web page, as the edge in front of the host does."""
    page = f"<!DOCTYPE html><html><head><title>{text}</title></head><body><h1>{text}</h1></body></html>"
    return Answer(status, {"content-type": "text/html; charset=UTF-8"}, (page.encode(),))


def head_of(answer: Answer, framing: Framing = "chunked") -> bytes:
    """Write the status line and the headers of an answer."""
    frames = {"chunked": {"transfer-encoding": "chunked"}, "length": {"content-length": str(len(answer.body))}}
    headers = {**answer.headers, **frames.get(framing, {"connection": "close"})}
    lines = [f"HTTP/1.1 {answer.status} ", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def chunk_of(piece: bytes) -> bytes:
    """Frame a piece of a chunked body."""
    return f"{len(piece):x}\r\n".encode() + piece + b"\r\n"


def on_the_wire(answer: Answer, framing: Framing = "chunked") -> bytes:
    """Write a whole answer as it goes over the wire."""
    if framing == "chunked":
        return head_of(answer) + b"".join(map(chunk_of, filter(None, answer.pieces))) + LAST_CHUNK
    return head_of(answer, framing) + answer.body


def cut_into(pieces: Sequence[bytes], size: int) -> tuple[bytes, ...]:
    """Cut a body into pieces of `size` bytes, wherever its own pieces ended."""
    body = b"".join(pieces)
    return tuple(body[start : start + size] for start in range(0, len(body), size))


def mock_response(answer: Answer, request: httpx.Request, on_close: Callable[[], None]) -> httpx.Response:
    """Deliver an answer without a socket, with the exceptions a real connection would have caused.

    A silence is not waited for: it is the read timeout at once.
    """
    if answer.wire:
        msg = "these bytes take a socket: serve the provider"
        raise TypeError(msg)
    if answer.reach != "body":
        on_close()
        raise _break_of(answer.then, request)
    return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer, request, on_close))


def _break_of(then: Then, request: httpx.Request) -> httpx.TransportError:
    if then == "stall":
        return httpx.ReadTimeout("The read operation timed out", request=request)
    if then == "reset":
        return httpx.ReadError("Connection reset by peer", request=request)
    return httpx.RemoteProtocolError("Server disconnected", request=request)


class _Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The body of an answer for both kinds of client; tells once when it is let go."""

    def __init__(self, answer: Answer, request: httpx.Request, on_close: Callable[[], None]) -> None:
        self._answer = answer
        self._request = request
        self._on_close: Callable[[], None] | None = on_close

    def __iter__(self) -> Iterator[bytes]:
        for pause, piece in self._paced_pieces():
            if pause:
                time.sleep(pause)
            yield piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for pause, piece in self._paced_pieces():
            await asyncio.sleep(pause)
            yield piece

    def _paced_pieces(self) -> Iterator[tuple[float, bytes]]:
        for piece in self._answer.pieces:
            yield self._answer.pause, piece
        while self._answer.then == "endless":
            yield self._answer.pause or ENDLESS_PAUSE, self._answer.filler
        if self._answer.then != "complete":
            raise _break_of(self._answer.then, self._request)

    def close(self) -> None:
        on_close, self._on_close = self._on_close, None
        if on_close:
            on_close()

    async def aclose(self) -> None:
        self.close()
