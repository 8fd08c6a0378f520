"""Fuzzed event streams, whole and in pieces: read alike wherever they are cut, and never more than typed errors."""

from __future__ import annotations

import json
import random
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hostile_text.counting import Row, cases_of
from hostile_text.junk import junk, with_controls
from llama_guard_core.errors import ProviderError
from llama_guard_core.provider.chunks import CompletionChunk, collected
from llama_guard_core.provider.event_stream import EventStreamDecoder
from llama_guard_core.provider.responses import StreamedReply

_LINE_ENDS = [b"\n", b"\n", b"\r\n", b"\r"]
_LINES = [
    *(
        b"data: [DONE]",
        b"data:",
        b"data",
        b": OPENROUTER PROCESSING",
        b"data: : ping",
        b"event: error",
        b"event: ping",
        b"id: 7",
    ),
    *(
        b"retry: 1",
        b"",
        b"",
        b"\xef\xbb\xbfdata: x",
        b"data: {",
        b"data: \xff\xfe",
        b"data: \xf0\x9f\x98",
        b"data: null",
        b"data: []",
    ),
    *(
        b'data: {"choices": []}',
        b'data: {"error": {"code": 429, "message": "slow down"}}',
        b"<html>",
        b'{"choices": []}',
        b"data: \x00",
    ),
    *(
        b'data: {"choices": [{"delta": {"content": "\xed\xa0\xbd"}}]}',
        b"data: \x1b[2J",
        "data: \u2028\u2029\x85".encode(),
    ),
]
_BOUND = 4096  # bytes that one event may hold, in the row about endless ones
_MOST_HELD = 40 * _BOUND
Outcome = tuple[Any, tuple[str, str, str] | None]
"""What was read, and the error that ended it: its class, its reason, its words."""


def rows(seed: int, cases: int) -> list[Row]:
    """Streams of events, streamed replies, and events without end."""
    return [_events(seed, cases), _replies(seed, cases), _endless(seed, max(1, cases // 50))]


def _events(seed: int, cases: int) -> Row:
    return _alike(Row("event stream"), seed, cases, _body, _read_events)


def _replies(seed: int, cases: int) -> Row:
    return _alike(Row("streamed reply"), seed, cases, _reply_body, _read_reply)


def _alike(
    row: Row, seed: int, cases: int, body_of: Callable[..., bytes], read: Callable[[Sequence[bytes]], Outcome]
) -> Row:
    for chance, _ in cases_of(row.name, seed, cases):
        body = body_of(chance)
        with row.case(body, typed=()):
            said, error = read([body])
            row.outcomes[error[1] if error else "whole"] += 1
            for pieces in ([body[at : at + 1] for at in range(len(body))], _cut(chance, body)):
                said_in_pieces, error_in_pieces = read(pieces)
                # An error takes with it what came in the same piece, so that in small pieces more is seen before it.
                is_alike = said == said_in_pieces if error is None else said == said_in_pieces[: len(said)]
                if error != error_in_pieces or not is_alike:
                    row.wrong("read otherwise in pieces", (body, pieces))
    return row


def _read_events(pieces: Sequence[bytes]) -> Outcome:
    decoder = EventStreamDecoder()
    return _read(pieces, decoder.feed, decoder.end, lambda found: [(event.data, event.event) for event in found])


def _read_reply(pieces: Sequence[bytes]) -> Outcome:
    """The chunks, and from a stream that ends well the reply they make up."""
    reply = StreamedReply(200, {}, None)
    chunks, error = _read(pieces, reply.receive, reply.end, list)
    for chunk in chunks:
        if not isinstance(chunk, CompletionChunk):
            raise TypeError(chunk)
    return (chunks if error else [collected(chunks)]), error


def _read(
    pieces: Sequence[bytes], feed: Callable[..., Any], end: Callable[..., Any], as_list: Callable[..., Any]
) -> Outcome:
    found: list[Any] = []
    try:
        for piece in pieces:
            found += feed(piece)
        found += end()
    except ProviderError as error:
        return as_list(found), (type(error).__name__, error.reason, str(error))
    return as_list(found), None


def _cut(chance: random.Random, body: bytes) -> list[bytes]:
    cuts = sorted(chance.randint(0, len(body)) for _ in range(chance.randint(1, 6)))
    return [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]


def _body(chance: random.Random) -> bytes:
    """Lines of any kind, lines of events, or any bytes at all."""
    if chance.random() < 0.2:
        return chance.randbytes(chance.randint(0, 60))
    return b"".join(chance.choice(_LINES) + chance.choice(_LINE_ENDS) for _ in range(chance.randint(0, 8)))


def _reply_body(chance: random.Random) -> bytes:
    """Chunks of a reply with other lines among them, cut off at times, something else in the place of some values."""
    if chance.random() < 0.2:
        return _body(chance)
    lines = []
    for number in range(chance.randint(1, 5)):
        data = json.dumps(_chunk(chance, number)) if chance.random() < 0.95 else "{" * number
        lines.append(b"data: " + data.encode() + chance.choice(_LINE_ENDS) * 2)
        if chance.random() < 0.3:
            lines.append(chance.choice(_LINES) + chance.choice(_LINE_ENDS))
    body = b"".join(lines) + (b"data: [DONE]\n\n" if chance.random() < 0.5 else b"")
    return body[: chance.randint(0, len(body))] if chance.random() < 0.2 else body


def _chunk(chance: random.Random, number: int) -> Any:
    delta: dict[str, Any] = {"content": chance.choice(["a", "", "safe", with_controls(chance, "b c"), None])}
    if chance.random() < 0.3:
        function = {
            "name": chance.choice(["f", None, ""]),
            "arguments": chance.choice(['{"q": ', "1}", "{}", "", None, "{}{}"]),
        }
        delta["tool_calls"] = [
            {"index": chance.choice([0, 1, None]), "id": chance.choice(["c1", "c2", None]), "function": function}
        ]
    if chance.random() < 0.2:
        delta["reasoning_details"] = [{"index": chance.choice([0, None, []]), "type": "reasoning.text", "text": "hm"}]
    choice = {"index": 0, "delta": delta, "finish_reason": chance.choice([None, None, "stop", "tool_calls", "length"])}
    chunk: dict[str, Any] = {
        "id": f"g{number}",
        "model": "m",
        "choices": [choice],
        "usage": chance.choice([None, {"prompt_tokens": 3}]),
    }
    if chance.random() < 0.2:
        holder = chance.choice([chunk, choice, delta])
        holder[chance.choice([*holder, "error", "logprobs", "annotations", "provider", "refusal", "reasoning"])] = junk(
            chance
        )
    return chunk


def _endless(seed: int, cases: int) -> Row:
    """An event that never ends is given up, and what is held of it stays within a bound."""
    row = Row("endless event")
    for chance, _ in cases_of(row.name, seed, cases):
        unit = chance.choice(
            [
                b"data:\n",
                b"data\r",
                b"x",
                b"data: y\n",
                b": z",
                b"event: e",
                b"data: \xff\r\n",
                b"\xef\xbb\xbf",
                b"id: 1\ndata:\n",
            ]
        )
        size = chance.choice([1, 7, 100, 3000])
        decoder = EventStreamDecoder(max_event_bytes=_BOUND)
        tracemalloc.start()
        with row.case(unit, typed=(ProviderError,)):
            for piece in _pieces_of(unit, size):
                if decoder.feed(piece):
                    row.wrong("read otherwise in pieces", unit)
            row.wrong("crashes", (unit, "was never given up"))
        if tracemalloc.get_traced_memory()[1] > _MOST_HELD + 20 * size:
            row.wrong("crashes", (unit, size, tracemalloc.get_traced_memory()[1]))
        tracemalloc.stop()
    return row


def _pieces_of(unit: bytes, size: int) -> Iterator[bytes]:
    """A hundred times as much as an event may hold."""
    whole = unit * (size + 1)
    for at in range(0, 100 * _BOUND, size):
        start = at % len(unit)
        yield whole[start : start + size]
