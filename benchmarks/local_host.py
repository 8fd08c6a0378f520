"""A host of models on this machine that costs its clients as little as a host can.

It is written on bare sockets, runs in a process of its own, and has every answer ready before it is asked.
How it answers stands in the path of its address, so that one process serves all measurements.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, cast

from benchmarks.host_process import HostProcess

REPLIES = {"reply": "The Aare, the Rhine and the Rhone.", "verdict": "\n\nsafe"}
_PATH = re.compile(rb"/(reply|verdict)/(\d+)ms/(\d+)chunks/(\d+)padding/")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_STREAMED = re.compile(rb'"stream": *true')
_END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How the host answers.

    Attributes:
        answer: what it says: a model's reply, or a guard's verdict.
        latency_ms: how long it waits before its answer, in milliseconds.
        chunks: in how many pieces a streamed answer comes, all of them at once.
        padding: how many spaces stand before a plain answer, as some hosts send to keep a connection alive.
    """

    answer: Literal["reply", "verdict"] = "reply"
    latency_ms: int = 0
    chunks: int = 1
    padding: int = 0

    def path(self) -> str:
        """The path that asks for it."""
        return f"/{self.answer}/{self.latency_ms}ms/{self.chunks}chunks/{self.padding}padding/v1"


class LocalHost(HostProcess):
    """The host in its own process, for as long as the `with` block lasts."""

    module = "benchmarks.local_host"

    def base_url(self, behaviour: Behaviour) -> str:
        """The address under which the host behaves so, up to and including its `/v1`."""
        return f"http://127.0.0.1:{self._port}{behaviour.path()}"


class _Connection(asyncio.Protocol):
    """One client's connection: requests in, one after the other, and answers out."""

    def __init__(self) -> None:
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(_END_OF_HEAD)) >= 0:
            head, end = bytes(self._received[:end]), end + len(_END_OF_HEAD)
            length = _LENGTH.search(head)
            end_of_body = end + int(length[1] if length else 0)
            if len(self._received) < end_of_body:
                return
            body = bytes(self._received[end:end_of_body])
            del self._received[:end_of_body]
            self._answer(head.split(b" ", 2)[1], streamed=_STREAMED.search(body) is not None)

    def _answer(self, path: bytes, *, streamed: bool) -> None:
        latency, answer = _ready_answer(path, streamed=streamed)
        if latency:
            asyncio.get_running_loop().call_later(latency, self._transport.write, answer)
        else:
            self._transport.write(answer)


@lru_cache
def _ready_answer(path: bytes, *, streamed: bool) -> tuple[float, bytes]:
    """How long to wait, in seconds, and what to send then."""
    asked = _PATH.match(path)
    if asked is None:
        return 0.0, b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
    text = REPLIES[asked[1].decode()]
    latency, chunks, padding = int(asked[2]) / 1000, int(asked[3]), int(asked[4])
    return latency, _streamed(text, chunks) if streamed else _plain(text, padding)


def _plain(text: str, padding: int) -> bytes:
    choice = {**_FINISH, "message": {"role": "assistant", "content": text, "refusal": None, "reasoning": None}}
    body = b" " * padding + _json({**_IDENTITY, "object": "chat.completion", "choices": [choice], "usage": _USAGE})
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def _streamed(text: str, chunks: int) -> bytes:
    """A stream of server-sent events, each in an HTTP chunk of its own as hosts send them."""
    piece = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None, "logprobs": None}
    said = _event({**_IDENTITY, "object": "chat.completion.chunk", "choices": [piece]})
    last = {**_FINISH, "delta": {"role": "assistant", "content": ""}, "logprobs": None}
    finish = _event({**_IDENTITY, "object": "chat.completion.chunk", "choices": [last], "usage": _USAGE})
    events = [*[said] * chunks, finish, b"data: [DONE]\n\n", b""]
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n" + b"".join(
        b"%x\r\n%b\r\n" % (len(event), event) for event in events
    )


def _event(chunk: dict[str, object]) -> bytes:
    return b"data: %b\n\n" % _json(chunk)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


_FINISH = {"index": 0, "finish_reason": "stop", "native_finish_reason": "stop"}
_IDENTITY = {
    "id": "gen-1763700000-Vx0TqkQ2yF6mBr1dZ8cW",
    "created": 1763700000,
    "model": "meta-llama/llama-4-scout",
    "provider": "DeepInfra",
    "system_fingerprint": None,
}
_USAGE = {
    "prompt_tokens": 24,
    "completion_tokens": 11,
    "total_tokens": 35,
    "cost": 0.0000052,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0},
}


async def _serve() -> None:
    """Serve until the process that started this one closes our standard input, or ends."""
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve())
