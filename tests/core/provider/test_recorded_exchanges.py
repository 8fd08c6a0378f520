"""Real traffic of OpenRouter and eight other hosts, where it is at hand: each exchange is a reply or one typed error.

Set `LLAMA_GUARD_WIRE` to a file of such exchanges to read others.
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from llama_guard_core.errors import (
    AuthenticationFailed,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    RequestRejected,
)
from llama_guard_core.provider.chunks import CompletionChunk, collected
from llama_guard_core.provider.endpoints import CHAT
from llama_guard_core.provider.responses import StreamedReply, WholeReply
from llama_guard_core.provider.wire import Completion

WIRE = Path(os.environ.get("LLAMA_GUARD_WIRE") or Path(__file__).parents[4] / "shared" / "wire" / "exchanges.jsonl")
EXCHANGES = [json.loads(line) for line in WIRE.read_text("utf-8").splitlines()] if WIRE.is_file() else []
BY_STATUS = {
    400: RequestRejected,
    401: AuthenticationFailed,
    402: RequestRejected,
    403: RequestRejected,
    404: RequestRejected,
    429: RateLimited,
    502: ProviderUnavailable,
}

pytestmark = pytest.mark.skipif(
    not EXCHANGES, reason=f"no recorded exchanges at {WIRE.name}: set LLAMA_GUARD_WIRE to their path"
)
each = pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange["id"][-60:] for exchange in EXCHANGES])


def body_of(exchange) -> bytes:
    return exchange["body"].encode() if "body" in exchange else base64.b64decode(exchange["body_b64"])


def plain_reading(exchange) -> list[dict]:
    """The choices' messages or deltas, read as simply as can be."""
    body = body_of(exchange).decode()
    if not exchange["stream"]:
        payloads = [json.loads(body)]
    else:
        payloads = [
            json.loads(line[5:]) for line in body.split("\n") if line.startswith("data:") and "[DONE]" not in line
        ]
    return [
        choice.get("delta") or choice.get("message") or {}
        for payload in payloads
        for choice in payload.get("choices") or []
    ]


def says_something(exchange) -> bool:
    """Whether a simple reading finds a reply and no error."""
    if exchange["status"] != 200 or '"error":' in body_of(exchange).decode():
        return False
    return any(one.get(key) for one in plain_reading(exchange) for key in ("content", "reasoning", "tool_calls"))


REPLIES = [one for one in EXCHANGES if says_something(one)]
each_reply = pytest.mark.parametrize("exchange", REPLIES, ids=[one["id"][-60:] for one in REPLIES])


def pieces_of(body: bytes, size: int | None) -> list[bytes]:
    return [body] if size is None else [body[at : at + size] for at in range(0, len(body), size)]


def read(exchange, size: int | None = None, trailing: bytes = b"") -> Completion:
    body = body_of(exchange) + trailing
    if exchange["stream"]:
        return collected(chunks(exchange, body, size))
    whole = WholeReply(exchange["status"], exchange["headers"], None)
    for piece in pieces_of(body, size):
        whole.receive(piece)
    return whole.read_by(CHAT)


def chunks(exchange, body: bytes, size: int | None) -> list[CompletionChunk]:
    reply = StreamedReply(exchange["status"], exchange["headers"], None)
    return [chunk for piece in pieces_of(body, size) for chunk in reply.receive(piece)] + reply.end()


def outcome(exchange, size: int | None = None, trailing: bytes = b"") -> object:
    """The reply, or what can be told of the error."""
    try:
        return read(exchange, size, trailing)
    except ProviderError as error:
        return type(error), str(error), error.reason, error.status, error.retryable


def error_or_reply(exchange) -> ProviderError | Completion:
    try:
        return read(exchange)
    except ProviderError as error:
        return error


@each
def test_it_is_a_reply_that_says_something_or_one_typed_error(exchange):
    found = error_or_reply(exchange)
    if isinstance(found, ProviderError):
        assert ". " in str(found)
        assert not says_something(exchange)
    else:
        assert found.text.strip() or found.tool_calls or found.refusal or found.reasoning
        assert all(call.name for call in found.tool_calls)
        assert says_something(exchange)


@each
@pytest.mark.parametrize("size", [1, 3, 7, 64])
def test_it_is_read_alike_in_pieces_of_any_size(exchange, size):
    assert outcome(exchange) == outcome(exchange, size)


@each
def test_white_space_behind_it_changes_nothing(exchange):
    assert outcome(exchange) == outcome(exchange, trailing=b"\n\n   \n")


@pytest.mark.parametrize(
    "exchange",
    [one for one in EXCHANGES if one["status"] != 200],
    ids=[one["id"][-60:] for one in EXCHANGES if one["status"] != 200],
)
def test_a_status_that_says_failure_is_the_error_of_that_status(exchange):
    with pytest.raises(ProviderError) as caught:
        read(exchange)
    assert (BY_STATUS[exchange["status"]], exchange["status"]) == (type(caught.value), caught.value.status)


def texts_in(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for key, item in value.items() if key not in ("type", "role", "detail") for text in texts_in(item)]
    return [text for item in value for text in texts_in(item)] if isinstance(value, list) else []


@pytest.mark.parametrize("exchange", [one for one in EXCHANGES if not says_something(one)])
def test_no_error_repeats_the_request_or_the_reply_or_the_account(exchange):
    with pytest.raises(ProviderError) as caught:
        read(exchange)
    shown = f"{caught.value!r} {caught.value} {vars(caught.value)}"
    texts = texts_in((exchange.get("request") or {}).get("messages"))
    assert [] == [text for text in texts if len(text) > 8 and text in shown]
    assert [] == [word for word in ("user_X", "failed_generation", "structured_output{") if word in shown]


@each_reply
def test_text_reasoning_and_arguments_are_what_a_simple_reading_finds(exchange):
    completion = read(exchange)
    said = plain_reading(exchange)
    calls = [call for one in said for call in one.get("tool_calls") or []]
    assert "".join(one.get("content") or "" for one in said) == completion.text
    assert "".join(one.get("reasoning") or one.get("reasoning_content") or "" for one in said) == (
        completion.reasoning or ""
    )
    assert "".join((call.get("function") or {}).get("arguments") or "" for call in calls) == "".join(
        call.arguments for call in completion.tool_calls
    )
    assert list(dict.fromkeys(call["id"] for call in calls if call.get("id"))) == [
        call.id for call in completion.tool_calls
    ]


@each_reply
def test_usage_and_finish_reason_are_the_last_and_the_first_that_were_sent(exchange):
    completion = read(exchange)
    lines = (
        [body_of(exchange).decode()]
        if not exchange["stream"]
        else [
            line[5:]
            for line in body_of(exchange).decode().split("\n")
            if line.startswith("data:") and "[DONE]" not in line
        ]
    )
    payloads = [json.loads(line) for line in lines]
    usages = [payload["usage"] for payload in payloads if payload.get("usage")]
    reasons = [
        choice["finish_reason"] for payload in payloads for choice in payload["choices"] if choice.get("finish_reason")
    ]
    assert (usages[-1]["prompt_tokens"] if usages else None) == (
        completion.usage.input_tokens if completion.usage else None
    )
    assert (usages[-1]["completion_tokens"] if usages else None) == (
        completion.usage.output_tokens if completion.usage else None
    )
    assert (reasons[0] if reasons else None) == completion.finish_reason


@pytest.mark.parametrize(
    "exchange", [one for one in EXCHANGES if one["stream"]], ids=[one["id"][-60:] for one in EXCHANGES if one["stream"]]
)
def test_a_stream_cut_anywhere_before_its_finish_is_an_error(exchange):
    body = body_of(exchange)
    marks = [at for mark in (b'"finish_reason":"', b'"finish_reason": "', b"[DONE]") if (at := body.find(mark)) >= 0]
    for end in range(0, min(marks, default=0), max(1, min(marks, default=1) // 40)):
        with pytest.raises(ProviderError):
            chunks(exchange, body[:end], None)


@pytest.mark.parametrize(
    "exchange",
    [one for one in EXCHANGES if not one["stream"]],
    ids=[one["id"][-60:] for one in EXCHANGES if not one["stream"]],
)
def test_a_body_cut_anywhere_is_an_error(exchange):
    body = body_of(exchange).rstrip()
    for end in range(0, len(body), max(1, len(body) // 60)):
        whole = WholeReply(exchange["status"], exchange["headers"], None)
        whole.receive(body[:end])
        with pytest.raises(ProviderError):
            whole.read_by(CHAT)
