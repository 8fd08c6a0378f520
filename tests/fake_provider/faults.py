"""What goes wrong with a host: each fault turns the answer that would have come into the one that does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from .answers import COMMENT, PADDING, Answer, Framing, Then, cut_into, html_answer, json_answer, on_the_wire
from .error_bodies import RetryAfterForm, error_body, metadata_of, retry_header
from .rendering import DONE, Rendering
from .replies import Reply, Usage

Where = Literal["before_headers", "in_headers", "in_body", "after_body"]

_ALL_NULL = {"id": None, "choices": None, "created": 1768361801, "model": None, "object": None, "usage": None}


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to fail, with a name that serves as the id of a test's row.

    Attributes:
        name: what goes wrong, in a word or two.
        spoil: from the request, the reply that would have come, and how to render it, to what comes instead.
    """

    name: str
    spoil: Callable[[Rendering, Reply], Answer]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def status(
        cls,
        status: int,
        *,
        retry_after: float | None = None,
        form: RetryAfterForm = "seconds",
        message: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Fault:
        """Fail with an error status and the body that goes with it; `retry_after` is in seconds."""

        def spoil(rendering: Rendering, _: Reply) -> Answer:
            headers = {} if retry_after is None else retry_header(retry_after, form)
            details = metadata or metadata_of(status, rendering)
            return json_answer(error_body(status, message, details), status=status, headers=headers)

        hint = "" if retry_after is None else f" with Retry-After in {form}"
        return cls(f"status {status}{hint}", spoil)

    @classmethod
    def daily_limit(cls) -> Fault:
        """Fail because the free requests of a day are used up: waiting a little does not help."""
        limits = {"X-RateLimit-Limit": "50", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1795219200000"}
        message = "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock more"
        metadata = {"headers": limits, "limit_source": "openrouter_free_tier_daily"}
        return replace(cls.status(429, message=message, metadata=metadata), name="daily limit")

    @classmethod
    def html(cls, status: int = 502) -> Fault:
        """Fail with a web page, with an error status or with 200."""
        return cls(f"web page with {status}", lambda *_: html_answer(status, "Bad gateway"))

    @classmethod
    def error_with_200(cls, code: int = 502) -> Fault:
        """Fail with status 200: nothing but an error in the body, or in the first chunk of a stream."""

        def spoil(rendering: Rendering, _: Reply) -> Answer:
            body = error_body(code, None, metadata_of(code, rendering))
            if rendering.received.stream:
                envelope = rendering.envelope("chat.completion.chunk")
                return rendering.stream_answer([{**envelope, "choices": [], **body}])
            return rendering.plain_answer(body)

        return cls(f"error {code} with status 200", spoil)

    @classmethod
    def choice_error(cls, code: int = 502) -> Fault:
        """Fail inside a choice, beside text that looks like an answer."""

        def spoil(rendering: Rendering, reply: Reply) -> Answer:
            error = error_body(code, None, metadata_of(code, rendering))["error"]
            if not rendering.received.stream:
                body = rendering.completion(reply)
                return rendering.plain_answer({**body, "choices": [{**body["choices"][0], "error": error}]})
            *spoken, last = rendering.chunks(replace(reply, finish_reason="null"))
            failed = rendering.chunk({"content": ""}, finish_reason="error", error=error)
            return rendering.stream_answer([*spoken, {**failed, "usage": last["usage"]}])

        return cls(f"error {code} in the choice", spoil)

    @classmethod
    def stream_error(cls, shape: Literal[1, 2, 3, 4], *, code: int = 502, after: int = 2) -> Fault:
        """Fail in a stream that has begun, in one of the four shapes; a plain request gets status 200 and the error.

        Shape 1 has no choices and no `[DONE]`, 2 an open choice and usage on the same chunk, 3 a choice that
        claims to have stopped, 4 the finish reason `error` and a code in words.

        Args:
            shape: the shape of the chunk that carries the error.
            code: the error's code.
            after: how many chunks come before it.
        """

        def spoil(rendering: Rendering, reply: Reply) -> Answer:
            if not rendering.received.stream:
                return cls.error_with_200(code).spoil(rendering, reply)
            begun = list(rendering.chunks(reply))[:after]
            failed = _failed_chunk(rendering, reply, shape, code)
            return rendering.stream_answer([*begun, failed], done=shape in {2, 4})

        return cls(f"error {code} in the stream, shape {shape}", spoil)

    @classmethod
    def all_null(cls) -> Fault:
        """Fail with a body in which everything is null, with no error in it either."""

        def spoil(rendering: Rendering, _: Reply) -> Answer:
            if rendering.received.stream:
                return rendering.stream_answer([_ALL_NULL])
            return rendering.plain_answer(_ALL_NULL)

        return cls("all null", spoil)

    @classmethod
    def reply(cls, name: str, reply: Reply) -> Fault:
        """Fail by saying something that is no answer."""
        return cls(name, lambda rendering, _: rendering.answer(reply))

    @classmethod
    def empty(cls) -> Fault:
        """Fail with a completion of no tokens and no finish reason."""
        return cls.reply("empty completion", Reply("", finish_reason="null", usage=Usage(9, 0)))

    @classmethod
    def whitespace(cls) -> Fault:
        """Fail with a completion of white space."""
        return cls.reply("white space", Reply("\n\n \n"))

    @classmethod
    def prose(cls) -> Fault:
        """Fail as a guard does whose host applied no guard prompt: by chatting. It names both verdicts."""
        return cls.reply("prose", Reply("I think that is safe, but others may call it unsafe. How can I help?"))

    @classmethod
    def blank_body(cls) -> Fault:
        """Fail with a body of padding or comments alone, properly ended."""
        return cls("blank body", lambda rendering, reply: _first_pieces(rendering.answer(reply), 2))

    @classmethod
    def truncated_json(cls) -> Fault:
        """Fail with JSON that breaks off though the response ends properly."""
        return cls("truncated JSON", lambda rendering, reply: _broken_json(rendering.answer(reply)))

    @classmethod
    def cut(cls, where: Where, *, body_bytes: int | None = None) -> Fault:
        """Close the connection; in the body after `body_bytes`, by default halfway, after it without its end mark."""
        return cls._broken_off(f"cut {where}", where, "close", body_bytes)

    @classmethod
    def reset(cls, where: Where, *, body_bytes: int | None = None) -> Fault:
        """Break the connection without a proper end; positions as in `cut`."""
        return cls._broken_off(f"reset {where}", where, "reset", body_bytes)

    @classmethod
    def cut_at(cls, offset: int, framing: Framing = "chunked", *, then: Then = "close") -> Fault:
        """Send so many bytes of head and body, at most all but the last one, then close. Takes a socket."""

        def spoil(rendering: Rendering, reply: Reply) -> Answer:
            whole = on_the_wire(rendering.answer(reply), framing)
            return Answer(wire=(whole[: min(offset, len(whole) - 1)],), then=then)

        return cls(f"{then} at byte {offset}, {framing}", spoil)

    @classmethod
    def wire(cls, name: str, *pieces: bytes, then: Then = "close", filler: bytes = b"", pause: float = 0.0) -> Fault:
        """Send these very bytes in place of a response. Takes a socket."""
        return cls(name, lambda *_: Answer(wire=pieces, then=then, filler=filler, pause=pause))

    @classmethod
    def stall(cls, where: Where, *, body_bytes: int | None = None) -> Fault:
        """Fall silent and keep the connection; positions as in `cut`."""
        return cls._broken_off(f"stall {where}", where, "stall", body_bytes)

    @classmethod
    def endless(cls, *, body_bytes: int = 0) -> Fault:
        """Go on with padding or comments for ever, after `body_bytes` of the answer."""
        return cls._broken_off("endless", "in_body", "endless", body_bytes)

    @classmethod
    def _broken_off(cls, name: str, where: Where, then: Then, body_bytes: int | None) -> Fault:
        return cls(name, lambda rendering, reply: _stopped(rendering.answer(reply), where, then, body_bytes))

    @classmethod
    def trickle(cls, *, size: int, pause: float) -> Fault:
        """Deliver the whole answer, but `size` bytes at a time with `pause` seconds before each."""

        def spoil(rendering: Rendering, reply: Reply) -> Answer:
            answer = rendering.answer(reply)
            return replace(answer, pieces=cut_into(answer.pieces, size), pause=pause)

        return cls("trickle", spoil)


def _failed_chunk(rendering: Rendering, reply: Reply, shape: int, code: int) -> dict[str, Any]:
    error = error_body(code, None, metadata_of(code, rendering))["error"]
    chunk = rendering.chunk({"content": ""}, finish_reason={3: "stop", 4: "error"}.get(shape))
    if shape == 1:
        return {**chunk, "choices": [], "error": error}
    if shape == 2:
        return {**chunk, "error": error, "usage": rendering.usage(reply).as_json()}
    return {**chunk, "error": {**error, "code": "server_error"} if shape == 4 else error}


def _first_pieces(answer: Answer, count: int) -> Answer:
    return replace(answer, pieces=answer.pieces[:count])


def _broken_json(answer: Answer) -> Answer:
    documents = [piece for piece in answer.pieces if piece not in {PADDING, COMMENT, DONE}]
    whole = len(documents) // 2
    return replace(answer, pieces=(*documents[:whole], documents[whole][: len(documents[whole]) // 2]))


def _stopped(answer: Answer, where: Where, then: Then, body_bytes: int | None) -> Answer:
    if where == "before_headers":
        return replace(answer, reach="nothing", then=then)
    if where == "in_headers":
        return replace(answer, reach="half_head", then=then)
    if where == "after_body":
        return replace(answer, then=then)
    size = len(answer.body) // 2 if body_bytes is None else body_bytes
    return replace(answer, pieces=cut_into([answer.body[:size]], max(size, 1)), then=then)
