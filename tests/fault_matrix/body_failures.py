"""Failures that stand in a body: statuses, in-band errors, encodings, JSON."""

from __future__ import annotations

import functools
import gzip
import json
import zlib
from typing import Any

from fake_provider import Answer, Fault, Reply
from fake_provider.answers import to_json
from fake_provider.rendering import Rendering, frame

from fault_matrix.failures import body, rows
from llama_guard_core.provider.responses import MAX_BODY_BYTES

_WORDS_OF_ITS_OWN = {
    409: "Conflict with another request",
    422: "Unprocessable entity",
    524: "A timeout occurred",
    451: "Unavailable for legal reasons",
}
STATUSES = (
    *(Fault.status(status) for status in (400, 401, 402, 403, 404, 408, 413, 429, 500, 502, 503, 504, 529)),
    *(
        Fault.status(status, message=words, metadata={"error_type": "unmapped"})
        for status, words in _WORDS_OF_ITS_OWN.items()
    ),
    Fault.status(429, retry_after=3600),
    Fault.daily_limit(),
    Fault.html(403),
    Fault.html(502),
    Fault.html(524),
    Fault.html(200),
)


def _quoting(rendering: Rendering) -> str:
    return rendering.received.last_text[:60]


def _quoted(name: str, make: Any, *, status: int = 400) -> Fault:
    """Fail in words that hold what was asked about."""

    def spoil(rendering: Rendering, _: Reply) -> Answer:
        quoted = _quoting(rendering)
        content = make(quoted)
        sent = content if isinstance(content, bytes) else to_json(content)
        return Answer(status, {"content-type": "application/json"}, (sent,))

    return Fault(name, spoil)


QUOTES = (
    _quoted("error quotes the text", lambda text: {"error": {"code": 400, "message": f"cannot judge: {text}"}}),
    _quoted("error is the text", lambda text: {"error": text}, status=500),
    _quoted("plain error quotes the text", lambda text: f"cannot judge: {text}".encode(), status=500),
    _quoted("200 with an error that quotes the text", lambda text: {"error": {"message": text}}, status=200),
    _quoted("echo in place of a completion", lambda text: {"text": text}, status=200),
    _quoted("detail quotes the text", lambda text: {"detail": [{"msg": "no", "input": text}]}, status=422),
    _quoted(
        "every field quotes the text",
        lambda text: {"error": {"code": text, "type": text, "message": text, "metadata": {"provider_name": text}}},
    ),
    Fault("the guard echoes the text", lambda rendering, _: rendering.answer(Reply(rendering.received.last_text))),
)


def _null_beside_error(rendering: Rendering, _: Reply) -> Answer:
    nothing = {"id": None, "choices": None, "model": None, "error": {"code": 502, "message": "failed"}}
    return rendering.plain_answer(nothing)


def _nested(rendering: Rendering, reply: Reply) -> Answer:
    outer = dict.fromkeys(("id", "choices", "model", "object", "usage"))
    return rendering.plain_answer({**outer, "provider": rendering.completion(reply)})


BODIES = (
    Fault.error_with_200(),
    Fault.error_with_200(429),
    Fault.choice_error(),
    *(Fault.stream_error(shape) for shape in (1, 2, 3, 4)),
    Fault("nulls beside an error", _null_beside_error),
    Fault.all_null(),
    Fault.empty(),
    Fault.blank_body(),
    Fault.truncated_json(),
    body("no body", b""),
    body("white space", b" \n" * 20),
    body("bare error", b'{"error":"overloaded"}'),
    body("bare message", b'{"message":"overloaded","type":"server_error","code":"overloaded"}'),
    body("bare detail", b'{"detail":"Not Found"}'),
    body("bare errors", b'{"errors":[{"message":"no"}]}'),
    body("plain text", b"safe", content_type="text/plain"),
)
READABLE_BODIES = (Fault("nested in provider", _nested),)


def _gzipped(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


@functools.cache
def _bomb() -> bytes:
    """A body of 80 MB of white space that ends in a verdict, in some 400 kB."""
    packer = zlib.compressobj(level=1, wbits=31)
    packed = [packer.compress(b" " * (1 << 20)) for _ in range(80)]
    return b"".join([*packed, packer.compress(b'{"choices":[{"message":{"content":"safe"}}]}'), packer.flush()])


@functools.cache
def _padding() -> bytes:
    return b" " * (MAX_BODY_BYTES + 1)


@functools.cache
def _long_line() -> bytes:
    return b"data: " + b"x" * (17 << 20)


ENCODINGS = (
    body("gzip over plain bytes", lambda right: right, content_encoding="gzip"),
    body("deflate over plain bytes", lambda right: right, content_encoding="deflate"),
    body("truncated gzip", lambda right: _gzipped(right)[:-30], content_encoding="gzip"),
    body("gzip unannounced", _gzipped),
    body("gzip with garbage", lambda right: _gzipped(right)[:20] + b"\0" * 40, content_encoding="gzip"),
    body("invalid UTF-8 in the verdict", lambda right: right.replace(b"safe", b"sa\xfffe")),
    body("UTF-16 without a mark", lambda right: right.decode().encode("utf-16-be"), content_type="text/plain"),
)
READABLE_ENCODINGS = (
    body("UTF-16", lambda right: right.decode().encode("utf-16"), content_type="application/json; charset=utf-16"),
    body("gzip", _gzipped, content_encoding="gzip"),
    body("invalid UTF-8 beside the verdict", lambda right: right.replace(b"DeepInfra", b"Deep\xff\xfeInfra")),
    body("byte-order mark", lambda right: b"\xef\xbb\xbf" + right),
    body("unknown encoding", lambda right: right, content_encoding="x-nobody"),
)
HEAVY = (
    body("gzip bomb", lambda _: _bomb(), content_encoding="gzip"),
    Fault("oversized body", lambda *_: Answer(200, {"content-type": "application/json"}, (_padding(), b"{}"))),
    Fault("oversized line", lambda *_: Answer(200, {"content-type": "text/event-stream"}, (_long_line(),))),
)

_DEEP = b"[" * 100_000


def _with_key(key: bytes, value: bytes) -> Any:
    return lambda right: b"{" + key + b":" + value + b"," + right[1:]


def _first_choices(text: str) -> bytes:
    return json.dumps([{"index": 0, "message": {"content": text}, "finish_reason": "stop"}]).encode()


def _two_choices(right: bytes) -> bytes:
    whole = json.loads(right)
    other = {**whole["choices"][0], "message": {"role": "assistant", "content": "unsafe\nS9"}, "index": 1}
    return to_json({**whole, "choices": [*whole["choices"], other]})


JSON = (
    body("deeply nested", _DEEP),
    body("deeply nested inside", _with_key(b'"choices"', _DEEP + b"]" * 100_000)),
    body("two documents", lambda right: right + right.replace(b"safe", b"unsafe")),
    body("two lines of JSON", lambda right: right + b"\n" + right),
    body("trailing garbage", lambda right: right + b"x"),
    body("trailing comma", lambda right: right[:-1] + b",}"),
    body("an array", lambda right: b"[" + right + b"]"),
    body("a string", b'"safe"'),
    body("a number", b"1"),
    body("true", b"true"),
    body("null", b"null"),
    body("single quotes", lambda right: right.replace(b'"', b"'")),
    body("choices no list", b'{"choices":{"0":{"message":{"content":"safe"}}}}'),
    body("choices empty", b'{"choices":[]}'),
    body("choice null", b'{"choices":[null]}'),
    body("choice a string", b'{"choices":["safe"]}'),
    body("message null", b'{"choices":[{"message":null,"finish_reason":"stop"}]}'),
    body("message a string", b'{"choices":[{"message":"safe","finish_reason":"stop"}]}'),
    body("delta for message", b'{"choices":[{"delta":{"content":"safe"},"finish_reason":"stop"}]}'),
    body("choice of index 1", b'{"choices":[{"index":1,"message":{"content":"safe"},"finish_reason":"stop"}]}'),
    body("two choices that disagree", _two_choices),
    body("choices twice, first unsafe", _with_key(b'"choices"', _first_choices("unsafe\nS9"))),
)
READABLE_JSON = (
    body("a key twice", _with_key(b'"id"', b'"other"')),
    body("choices twice, both unsafe", _with_key(b'"choices"', _first_choices("unsafe"))),
    body("huge float", _with_key(b'"created_at"', b"1e400")),
    body("huge integer", _with_key(b'"seed"', b"9" * 5000)),
    body("NaN and Infinity", _with_key(b'"score"', b"[NaN,Infinity,-Infinity]")),
    body("half a surrogate pair", _with_key(b'"note"', b'"\\ud83d"')),
    body("zero byte", _with_key(b'"note"', b'"\\u0000"')),
    body("usage of wrong types", _with_key(b'"x"', b'{"prompt_tokens":"many"}')),
)


def _as_stream(rendering: Rendering, reply: Reply) -> Answer:
    return rendering.stream_answer(rendering.chunks(reply))


def _first_event(rendering: Rendering, reply: Reply) -> Answer:
    return Answer(200, {"content-type": "text/event-stream"}, (frame(rendering.completion(reply)),))


STREAM_FOR_PLAIN = (Fault("a stream for a plain call", _as_stream), Fault("one event for a plain call", _first_event))

FAILURES = [
    *rows("status", STATUSES),
    *rows("quotes the text", QUOTES),
    *rows("error body", BODIES),
    *rows("error body", READABLE_BODIES, may_be_read=True),
    *rows("encoding", ENCODINGS),
    *rows("encoding", READABLE_ENCODINGS, may_be_read=True),
    *rows("size", HEAVY, is_heavy=True),
    *rows("JSON", JSON),
    *rows("JSON", READABLE_JSON, may_be_read=True),
    *rows("JSON", STREAM_FOR_PLAIN, may_be_read=True),
]
