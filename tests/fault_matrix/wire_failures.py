"""Failures of the connection and of HTTP itself: cuts, resets, silence, trickles, broken framing, redirects."""

from __future__ import annotations

from collections.abc import Callable

from fake_provider import Answer, Fault, Reply
from fake_provider.answers import PADDING, Framing, chunk_of, cut_into, on_the_wire
from fake_provider.rendering import Rendering

from fault_matrix.failures import PACE, Failure, rows

WHERE = ("before_headers", "in_headers", "in_body", "after_body")


def _changed(name: str, change: Callable[[bytes], bytes], framing: Framing = "length", **how: object) -> Fault:
    """Send the right bytes with something changed in them, then close."""

    def spoil(rendering: Rendering, reply: Reply) -> Answer:
        return Answer(wire=(change(on_the_wire(rendering.answer(reply), framing)),), **{"then": "close", **how})

    return Fault(name, spoil)


def _headed(name: str, head: bytes) -> Fault:
    """Send the right body behind another head."""
    return _changed(name, lambda whole: head + b"\r\n\r\n" + _body(whole), "until close")


def _body(whole: bytes) -> bytes:
    return whole.partition(b"\r\n\r\n")[2]


def _swapped(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda whole: whole.replace(old, new, 1)


def _longer(whole: bytes, by: int) -> bytes:
    length = len(_body(whole))
    return whole.replace(f"content-length: {length}".encode(), f"content-length: {length + by}".encode())


def _more_headers(lines: bytes) -> Callable[[bytes], bytes]:
    return lambda whole: whole.replace(b"\r\n", b"\r\n" + lines, 1)


def _trickled(name: str, size: int, begin: int, framing: Framing = "chunked") -> Fault:
    """Send the first part at once and the rest piece by piece, each in time, and never to its end in time."""

    def spoil(rendering: Rendering, reply: Reply) -> Answer:
        whole = on_the_wire(rendering.answer(reply), framing)
        start = len(whole) - len(_body(whole)) if begin < 0 else begin
        head = (whole[:start],) if start else ()
        return Answer(wire=(*head, *cut_into([whole[start:]], size)), then="close", pause=PACE)

    return Fault(name, spoil)


OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
CUTS = (*map(Fault.cut, WHERE), *map(Fault.reset, WHERE))
OFFSETS = (1, 9, 12, 16, 40, 90, 160, 200, 400, 100_000)
"""A sample of the bytes at which an answer is cut: in the status line, in the head, in the body, at its last one."""
SAMPLED_CUTS = tuple(
    Fault.cut_at(offset, framing) for framing in ("chunked", "length", "until close") for offset in OFFSETS
)
STALLS = (
    *map(Fault.stall, WHERE),
    Fault.cut_at(13, then="stall"),
    Fault.cut_at(400, "length", then="stall"),
    Fault.cut_at(400, "until close", then="stall"),
)
TRICKLES = (
    _trickled("trickle of header bytes", 1, 0),
    _trickled("trickle of body bytes", 1, -1),
    _trickled("trickle of body bytes, with a length", 1, -1, "length"),
    Fault.wire("endless headers", OK, then="endless", filler=b"x-more: 1\r\n", pause=PACE),
    Fault.wire("endless padding", OK + b"\r\n", then="endless", filler=PADDING, pause=PACE),
    Fault.wire(
        "endless comments", b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n",
        then="endless", filler=b": OPENROUTER PROCESSING\n\n", pause=PACE,
    ),
    Fault.wire(
        "endless empty chunks", b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n",
        then="endless", filler=b'data: {"choices":[{"index":0,"delta":{"content":""}}]}\n\n', pause=PACE,
    ),
    Fault.wire(
        "endless fast padding", OK + b"transfer-encoding: chunked\r\n\r\n", then="endless", filler=chunk_of(PADDING)
    ),
    Fault.wire("flood of 100 Continue", then="endless", filler=b"HTTP/1.1 100 Continue\r\n\r\n"),
    Fault.wire("slow 100 Continue for ever", then="endless", filler=b"HTTP/1.1 100 Continue\r\n\r\n", pause=PACE),
    Fault.wire("slow 103 Early Hints for ever", then="endless", filler=b"HTTP/1.1 103 Early Hints\r\n\r\n", pause=PACE),
    Fault.wire("endless status line", b"HTTP/1.1 200 ", then="endless", filler=b"O", pause=PACE),
)  # fmt: skip
READABLE_TRICKLES = (
    Fault("trickle within the time", lambda r, reply: Fault.trickle(size=200, pause=0.005).spoil(r, reply)),
    _changed("100 Continue before the answer", lambda whole: b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + whole),
)

HTTP = (
    _headed("garbage for a status line", b"\x00\x01\x02 garbage"),
    _headed("HTTP/0.9", b""),
    _headed("another protocol", b"SSH-2.0-OpenSSH_9.6"),
    _headed("status 999", OK.replace(b"200", b"999").rstrip()),
    _headed("status 99", OK.replace(b"200", b"99").rstrip()),
    _headed("status 101", b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade"),
    _headed("status 204 with a body", b"HTTP/1.1 204 No Content"),
    _headed("status 304 with a body", b"HTTP/1.1 304 Not Modified"),
    _headed("header without a colon", OK + b"nonsense"),
    _headed("zero byte in a header", OK + b"x-note: a\x00b"),
    _changed("length too large, then closed", lambda whole: _longer(whole, 10)),
    _changed("length too large, then silent", lambda whole: _longer(whole, 10), then="stall"),
    _changed("length too small", lambda whole: _longer(whole, -10)),
    _changed("length too small, kept open", lambda whole: _longer(whole, -10), then="complete"),
    _changed("negative length", _swapped(b"content-length: ", b"content-length: -")),
    _changed("length no number", _swapped(b"content-length: ", b"content-length: 0x")),
    _changed("two lengths that disagree", _more_headers(b"content-length: 5\r\n")),
    _changed("length of 0", lambda whole: _longer(whole, -len(_body(whole))), then="complete"),
    _changed("bad chunk size", _swapped(b"\r\n\r\n", b"\r\n\r\nzz\r\n"), "chunked"),
    _changed("negative chunk size", _swapped(b"\r\n\r\n", b"\r\n\r\n-5\r\n"), "chunked"),
    _changed("huge chunk size", _swapped(b"\r\n\r\n", b"\r\n\r\nFFFFFFFFFFFF\r\n"), "chunked"),
    _changed("endless chunk size", _swapped(b"\r\n\r\n", b"\r\n\r\n" + b"1" * 70_000), "chunked"),
    _changed("chunks without line ends", lambda whole: whole.replace(b"}\r\n", b"}"), "chunked"),
    _changed("no end to the last chunk", lambda whole: whole[:-2], "chunked"),
    _changed("oversized header", _more_headers(b"x-pad: " + b"x" * 2_000_000 + b"\r\n")),
    _changed("a hundred thousand headers", _more_headers(b"x-pad: 1\r\n" * 100_000)),
)


def _doubled(whole: bytes) -> bytes:
    line = next(line for line in whole.split(b"\r\n") if line.startswith(b"content-length"))
    return whole.replace(line, line + b"\r\n" + line, 1)


READABLE_HTTP = (
    _changed("a length twice", _doubled),
    _changed("length and chunks", _swapped(b"\r\n", b"\r\ncontent-length: 5\r\n"), "chunked"),
    _changed("bare line feeds", lambda whole: whole.replace(b"\r\n", b"\n")),
    _changed("HTTP/1.0", _swapped(b"HTTP/1.1", b"HTTP/1.0")),
    _changed("no end but the connection's", lambda whole: whole, "until close"),
)


def _one_too_many(rendering: Rendering, reply: Reply) -> Answer:
    """Send an answer and, unasked, the next one, which would do for any question."""
    answer = rendering.answer(reply)
    return Answer(wire=(on_the_wire(answer, "length") + on_the_wire(rendering.answer(Reply("safe")), "length"),))


LEFTOVERS = (
    Fault("a second answer behind the first", _one_too_many),
    _changed("closed after the answer", lambda whole: whole, then="close"),
    _changed("garbage behind the answer", lambda whole: whole + b"}}}}\r\n", then="complete"),
)


def redirects(elsewhere: str) -> list[Failure]:
    """Every redirect, to an address where somebody counts who comes."""
    to = f"location: {elsewhere}/chat/completions\r\n".encode()
    moved = {301: b"Moved", 302: b"Found", 303: b"See Other", 307: b"Temporary", 308: b"Permanent", 300: b"Choices"}
    faults = [
        _headed(f"redirect {status}", b"HTTP/1.1 %d %s\r\n%scontent-type: application/json" % (status, words, to))
        for status, words in moved.items()
    ]
    return rows("redirect", faults)


FAILURES = [
    *rows("cut", (*CUTS, *SAMPLED_CUTS)),
    *rows("stall", STALLS),
    *rows("trickle", TRICKLES),
    *rows("trickle", READABLE_TRICKLES, may_be_read=True),
    *rows("HTTP", HTTP),
    *rows("HTTP", (*READABLE_HTTP, *LEFTOVERS), may_be_read=True),
    *(Failure(name, "connection", dead_host=name) for name in (
        "connection refused", "reset at once", "no answer ever", "connection never made", "TLS where there is none",
    )),
]  # fmt: skip


def at_any_byte(length: int, framing: Framing) -> list[Failure]:
    """A cut at every byte of an answer of so many."""
    return rows(f"cut at any byte, {framing}", [Fault.cut_at(offset, framing) for offset in range(length)])
