"""Failures of a chat model's host in the middle of its reply; the guard is well and calls the marked word unsafe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fake_provider import Answer, Fault, Reply
from fake_provider.rendering import DONE, Rendering, frame

from fault_matrix import body_failures, wire_failures
from fault_matrix.failures import PACE, Failure, rows
from fault_matrix.marks import MARK

Chunks = list[dict[str, Any]]


def _chunks(name: str, change: Callable[[Chunks], Chunks], *, done: bool = True) -> Fault:
    """Send a stream whose chunks were tampered with; a plain call gets the reply whole."""

    def spoil(rendering: Rendering, reply: Reply) -> Answer:
        if not rendering.received.stream:
            return rendering.answer(reply)
        return rendering.stream_answer(change(list(rendering.chunks(reply))), done=done)

    return Fault(name, spoil)


def _frames(name: str, change: Callable[[list[bytes]], list[bytes]]) -> Fault:
    """Send a stream whose events were tampered with."""

    def spoil(rendering: Rendering, reply: Reply) -> Answer:
        if not rendering.received.stream:
            return rendering.answer(reply)
        pieces = change([*map(frame, rendering.chunks(reply)), DONE])
        return Answer(200, {"content-type": "text/event-stream"}, tuple(pieces))

    return Fault(name, spoil)


def _finish_first(chunks: Chunks) -> Chunks:
    return [chunks[0], chunks[-1], *chunks[1:-1]]


def _without_unmarked(chunks: Chunks) -> Chunks:
    return [chunk for at, chunk in enumerate(chunks) if at % 3 or MARK in str(chunk)]


def _marked_twice(chunks: Chunks) -> Chunks:
    return [again for chunk in chunks for again in ([chunk, chunk] if MARK in str(chunk) else [chunk])]


def _marked_last(chunks: Chunks) -> Chunks:
    return [*(c for c in chunks if MARK not in str(c)), *(c for c in chunks if MARK in str(c))]


def _after_done(pieces: list[bytes]) -> list[bytes]:
    marked = [piece for piece in pieces if MARK.encode() in piece]
    return [*(piece for piece in pieces if piece not in marked), *marked]


def _empty_for_ever(rendering: Rendering, reply: Reply) -> Answer:
    begun = [*rendering.chunks(reply)][:4]
    pieces = (*map(frame, begun),)
    return Answer(
        200,
        {"content-type": "text/event-stream"},
        pieces,
        then="endless",
        filler=frame(rendering.chunk({})),
        pause=PACE,
    )


CHUNKS = (
    _chunks("every chunk twice", lambda chunks: [again for chunk in chunks for again in (chunk, chunk)]),
    _chunks("the marked chunk twice", _marked_twice),
    _chunks("chunks missing", _without_unmarked),
    _chunks("first chunk missing", lambda chunks: chunks[1:]),
    _chunks("finish missing", lambda chunks: chunks[:-2]),
    _chunks("no finish and no end", lambda chunks: chunks[:-2], done=False),
    _chunks("finish first", _finish_first),
    _chunks("chunks in reverse", lambda chunks: chunks[::-1]),
    _chunks("marked chunk after the finish", _marked_last),
    _chunks("nothing but the end", lambda _: []),
    _chunks("usage alone", lambda chunks: chunks[-1:]),
    _frames("marked chunk after the end", _after_done),
    _frames("truncated event", lambda pieces: [*pieces[:5], pieces[5][:40]]),
    _frames("half an event, then the next", lambda pieces: [*pieces[:5], pieces[5][:40], *pieces[6:]]),
    _frames("garbage between events", lambda pieces: [*pieces[:4], b"data: {{{\n\n", *pieces[4:]]),
    _frames("invalid UTF-8 between events", lambda pieces: [*pieces[:4], b"data: \xff\xfe\n\n", *pieces[4:]]),
    _frames("deeply nested event", lambda pieces: [*pieces[:4], b"data: " + b"[" * 100_000 + b"\n\n", *pieces[4:]]),
    _frames("no blank lines", lambda pieces: [piece.rstrip(b"\n") + b"\n" for piece in pieces]),
    Fault("endless empty chunks", _empty_for_ever),
    Fault.endless(body_bytes=1500),
)
_BESIDES = ("status", "error body", "encoding", "cut", "stall", "trickle", "HTTP", "connection", "size")
_NOT_OF_A_MODEL = {"endless empty chunks", "plain text"}
_MIDDLES = {
    "cut in_body", "reset in_body", "stall in_body", "trickle of body bytes", "error 502 in the choice",
    *(f"error 502 in the stream, shape {shape}" for shape in (1, 2, 3, 4)),
}  # fmt: skip


def in_the_middle() -> list[Failure]:
    """Those that begin when something has been said already."""
    return [each for each in failures() if each.family == "stream chunks" or each.name in _MIDDLES]


def failures() -> list[Failure]:
    """Tampered streams, and what may befall any host."""
    others = [*body_failures.FAILURES, *wire_failures.FAILURES]
    besides = [each for each in others if each.family in _BESIDES and each.name not in _NOT_OF_A_MODEL]
    return [*rows("stream chunks", CHUNKS), *besides]
