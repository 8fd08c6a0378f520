"""Reading server-sent events from bytes that come in any pieces."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_guard_core.errors import UnexpectedResponse
from llama_guard_core.provider.event_stream import EventStreamDecoder, ServerSentEvent


def decoded(body: bytes, size: int | None = None) -> list[ServerSentEvent]:
    decoder = EventStreamDecoder()
    pieces = [body] if size is None else [body[at : at + size] for at in range(0, len(body), size)]
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return events + decoder.end()


CASES = {
    "one event": (b'data: {"a":1}\n\n', [('{"a":1}', "")]),
    "no space after the colon": (b"data:x\n\n", [("x", "")]),
    "only one space belongs to the colon": (b"data:  x\n\n", [(" x", "")]),
    "lines joined by a line feed": (b"data: a\ndata: b\n\n", [("a\nb", "")]),
    "an empty data line is data": (b"data\n\ndata:\n\n", [("", ""), ("", "")]),
    "comments are skipped": (b": OPENROUTER PROCESSING\n\n: \n\n:\n\ndata: x\n\n: after\n\n", [("x", "")]),
    "a comment inside an event": (b"data: a\n: hm\ndata: b\n\n", [("a\nb", "")]),
    "a comment that became data": (b"data: : OPENROUTER PROCESSING\n\ndata: x\n\n", [("x", "")]),
    "an event without data is dropped, its name with it": (b"event: ping\n\ndata: x\n\n", [("x", "")]),
    "a name holds for its own event alone": (b"event: error\ndata: x\n\ndata: y\n\n", [("x", "error"), ("y", "")]),
    "unknown fields, ids and retries are skipped": (b"id: 7\nretry: 9\nfoo: bar\nbaz\ndata: x\n\n", [("x", "")]),
    "carriage returns alone": (b"data: x\r\rdata: y\r\r", [("x", ""), ("y", "")]),
    "both line ends": (b"data: x\r\n\r\ndata: y\r\n\r\n", [("x", ""), ("y", "")]),
    "a mixture of line ends": (
        b"data: x\r\n\ndata: y\n\r\ndata: z\r\r\ndata: w\n\r",
        [("x", ""), ("y", ""), ("z", ""), ("w", "")],
    ),
    "a byte-order mark": (b"\xef\xbb\xbfdata: x\n\n", [("x", "")]),
    "line separators of Unicode split nothing": (
        "data: a\u2028b\u2029c\x85d\x0be\x0cf\n\n".encode(),
        [("a\u2028b\u2029c\x85d\x0be\x0cf", "")],
    ),
    "the last event lacks its blank line": (b"data: x\n\ndata: y\n", [("x", ""), ("y", "")]),
    "the last line lacks its end": (b"data: x\n\ndata: [DONE]", [("x", ""), ("[DONE]", "")]),
    "bytes that are no UTF-8": (b"data: a\xffb\n\n", [("a\ufffdb", "")]),
    "nothing": (b"", []),
    "blank lines alone": (b"\n\r\n\r\n\n", []),
}


@pytest.mark.parametrize("size", [None, 1, 2, 3, 7])
@pytest.mark.parametrize(("body", "expected"), CASES.values(), ids=CASES)
def test_each_case_is_read_alike_whole_and_in_pieces(body, expected, size):
    assert expected == [(event.data, event.event) for event in decoded(body, size)]


@pytest.mark.parametrize(("body", "expected"), CASES.values(), ids=CASES)
def test_a_comment_behind_an_ended_event_changes_nothing(body, expected):
    assert expected == [(event.data, event.event) for event in decoded(body + b"\n\n: trailing")]


LINE_ENDS = st.sampled_from(["\n", "\r\n", "\r"])
LINES = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=12)


@given(st.lists(st.tuples(st.lists(LINES, min_size=1, max_size=3), LINE_ENDS, LINE_ENDS), max_size=5), st.data())
def test_whatever_is_written_as_an_event_is_read_back_from_any_pieces(events, data):
    body = "".join("".join(f"data:x{line}{end}" for line in lines) + blank for lines, end, blank in events).encode()
    expected = [
        "\n".join(f"x{line}" for line in lines) for lines, end, blank in events if not (end == "\r" and blank == "\n")
    ]
    merged = any(end == "\r" and blank == "\n" for _, end, blank in events)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=6)))
    decoder = EventStreamDecoder()
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    read = [event.data for piece in pieces for event in decoder.feed(piece)] + [event.data for event in decoder.end()]
    if merged:  # a CR before an LF is one line end, so that event runs into the next
        assert "\n".join("\n".join(f"x{line}" for line in lines) for lines, _, _ in events) == "\n".join(read)
    else:
        assert expected == read


@given(st.binary(max_size=80), st.integers(1, 9))
def test_any_bytes_at_all_are_read_alike_whole_and_in_pieces(body, size):
    assert decoded(body) == decoded(body, size)


@pytest.mark.parametrize(
    "body", [b"data: " + b"x" * 200, b"data: " + b"x" * 200 + b"\n\n", b"data: xxxxxxxxxxx\n" * 20, b":" + b"x" * 200]
)
@pytest.mark.parametrize("size", [1, 64, 1000])
def test_an_event_longer_than_the_bound_is_refused(body, size):
    decoder = EventStreamDecoder(max_event_bytes=100)
    with pytest.raises(UnexpectedResponse) as caught:
        [decoder.feed(body[at : at + size]) for at in range(0, len(body), size)]
    assert "malformed" == caught.value.reason


def test_many_short_events_are_not_too_long_together():
    decoder = EventStreamDecoder(max_event_bytes=20)
    assert 50 == len(decoder.feed(b"data: 0123456789\n\n" * 50))


def test_the_data_of_an_event_is_not_in_its_repr():
    assert "secret" not in repr(ServerSentEvent(json.dumps("secret")))
