"""A reply, said the way the real host says it: as one padded JSON body, or as an event stream."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from .answers import COMMENT, PADDING, Answer, to_json
from .received import Received
from .replies import Reply, ToolCall, Usage

UsageShape = Literal["choice", "empty", "every", "repeat"]
"""Where a stream tells its usage: on an extra chunk that repeats the finish reason, on an extra chunk without
choices, on every chunk with the counts so far, or on the finish chunk and once more on a chunk without choices."""

ToolDeltas = Literal["fragments", "repeat_names", "one_index"]
"""How a stream sends tool calls: named first and then argument by argument, with the name on every fragment, or
each whole call at index 0 under an id of its own."""

PROVIDER_NAME = "DeepInfra"
DONE = b"data: [DONE]\n\n"

_FIRST_SECOND = 1780097766
_PADDING_TIMES = 3
_ARGUMENT_FRAGMENT = 5
_CANONICAL = {
    "meta-llama/llama-4-scout": "meta-llama/llama-4-scout-17b-16e-instruct",
    "meta-llama/llama-4-maverick": "meta-llama/llama-4-maverick-17b-128e-instruct",
}


@dataclass(frozen=True, slots=True)
class Rendering:
    """Everything that turns a reply into the answer to one request.

    Attributes:
        received: the request that is answered.
        number: which request it is, from 1; ids and times follow from it.
        usage_shape: where a stream tells its usage.
        tool_deltas: how a stream sends tool calls.
    """

    received: Received
    number: int
    usage_shape: UsageShape = "choice"
    tool_deltas: ToolDeltas = "fragments"

    def answer(self, reply: Reply) -> Answer:
        """Render a reply in the form the request asked for."""
        if self.received.stream:
            return self.stream_answer(self.chunks(reply))
        return self.plain_answer(self.completion(reply))

    def plain_answer(self, body: object) -> Answer:
        """Answer with a padded JSON body."""
        return Answer(200, self._headers("application/json"), (*[PADDING] * _PADDING_TIMES, to_json(body)))

    def stream_answer(self, chunks: Iterable[dict[str, Any]], *, done: bool = True) -> Answer:
        """Answer with an event stream, comments before, between and after its chunks."""
        pieces = [COMMENT, COMMENT]
        for position, chunk in enumerate(chunks):
            pieces += [frame(chunk), COMMENT] if position % 2 else [frame(chunk)]
        ending = (COMMENT, DONE) if done else (COMMENT,)
        headers = {**self._headers("text/event-stream"), "cache-control": "no-cache"}
        return Answer(200, headers, (*pieces, *ending), filler=COMMENT)

    def completion(self, reply: Reply) -> dict[str, Any]:
        """Give the body of a whole completion."""
        message: dict[str, Any] = {
            "role": "assistant",
            "content": reply.text,
            "refusal": reply.refusal,
            "reasoning": reply.reasoning,
        }
        if reply.tool_calls:
            message["tool_calls"] = [self._call(index, call) for index, call in enumerate(reply.tool_calls)]
        choice = {"index": 0, "logprobs": None, **_finish(reply), "message": message}
        envelope = self.envelope("chat.completion")
        return {**envelope, "service_tier": None, "choices": [choice], "usage": self.usage(reply).as_json()}

    def chunks(self, reply: Reply) -> Iterator[dict[str, Any]]:
        """Give the chunks of a stream, with usage where the shape wants it."""
        spoken = [self.chunk(delta) for delta in self._deltas(reply)]
        usage = self.usage(reply)
        if self.usage_shape == "every":
            for count, chunk in enumerate(spoken):
                chunk["usage"] = replace(usage, completion_tokens=min(count, usage.completion_tokens)).as_json()
        final = {"usage": usage.as_json()}
        finish = self.chunk({"content": ""}, **_finish(reply))
        yield from spoken
        yield {**finish, **final} if self.usage_shape in {"every", "repeat"} else finish
        if self.usage_shape == "choice":
            yield {**finish, **final}
        elif self.usage_shape != "every":
            yield {**finish, "choices": [], **final}

    def chunk(self, delta: dict[str, Any], **choice: Any) -> dict[str, Any]:
        """Give one chunk of a stream: role and content are on every one of them."""
        whole = {"role": "assistant", "content": "", **delta}
        outcome = {"finish_reason": None, "native_finish_reason": None, "logprobs": None, **choice}
        return {**self.envelope("chat.completion.chunk"), "choices": [{"index": 0, "delta": whole, **outcome}]}

    def usage(self, reply: Reply) -> Usage:
        """Give the reply's own usage, or one counted in words."""
        prompt_tokens = len(to_json(self.received.messages)) // 4 + 1
        return reply.usage or Usage(prompt_tokens, reply.completion_tokens)

    def envelope(self, kind: str) -> dict[str, Any]:
        """Give what stands around every completion and every chunk."""
        return {
            "id": self.generation_id,
            "object": kind,
            "created": _FIRST_SECOND + self.number,
            "model": answering_model(self.received.model),
            "provider": PROVIDER_NAME,
            "system_fingerprint": None,
        }

    @property
    def generation_id(self) -> str:
        """The id of this generation, the same on every run."""
        return f"gen-{_FIRST_SECOND + self.number}-{_digest(f'generation {self.number}')}"

    def _headers(self, content_type: str) -> dict[str, str]:
        return {"content-type": content_type, "server": "cloudflare", "x-generation-id": self.generation_id}

    def _deltas(self, reply: Reply) -> Iterator[dict[str, Any]]:
        yield {}
        if reply.reasoning:
            details = {"type": "reasoning.text", "text": reply.reasoning, "format": None, "index": 0}
            yield {"reasoning": reply.reasoning, "reasoning_details": [details]}
        if reply.refusal:
            yield {"refusal": reply.refusal}
        yield from ({"content": piece} for piece in reply.text_deltas)
        for index, call in enumerate(reply.tool_calls):
            yield from ({"content": None, "tool_calls": [part]} for part in self._call_deltas(index, call))

    def _call_deltas(self, index: int, call: ToolCall) -> Iterator[dict[str, Any]]:
        whole = self._call(index, call)
        if self.tool_deltas == "one_index":
            yield {**whole, "index": 0}
            return
        yield {**whole, "function": {"name": call.name, "arguments": ""}}
        name = {"name": call.name} if self.tool_deltas == "repeat_names" else {}
        for start in range(0, len(call.arguments), _ARGUMENT_FRAGMENT):
            fragment = call.arguments[start : start + _ARGUMENT_FRAGMENT]
            yield {"index": index, "type": "function", "function": {**name, "arguments": fragment}}

    def _call(self, index: int, call: ToolCall) -> dict[str, Any]:
        call_id = call.id or f"call_{_digest(f'call {self.number}.{index}')}"
        function = {"name": call.name, "arguments": call.arguments}
        return {"id": call_id, "index": index, "type": "function", "function": function}


def frame(chunk: object) -> bytes:
    """Write one chunk as a server-sent event."""
    return b"data: " + to_json(chunk) + b"\n\n"


def answering_model(model: str) -> str:
    """Name the model that answers: the canonical or dated slug, which is seldom the one asked for."""
    slug, _, variant = model.partition(":")
    if variant == "free" or slug.startswith("meta-llama/llama-guard"):
        return model
    return _CANONICAL.get(slug, f"{slug}-20260416")


def _finish(reply: Reply) -> dict[str, str | None]:
    reason = reply.sent_finish_reason
    return {"finish_reason": reason, "native_finish_reason": reason}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:20]
