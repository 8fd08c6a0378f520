"""A host of a guard and a model on this machine, in a process of its own, that counts what reaches it at once.

It waits 5 to 50 ms before each answer. Told to, it answers nobody before so many questions to the guard are there.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import re
import sys
from array import array
from dataclasses import asdict, dataclass, field
from time import monotonic
from typing import Any, cast

from benchmarks.host_process import HostProcess
from benchmarks.load_texts import SAFE, group_of, reply_to, right_verdict

GUARD, MODEL = "meta-llama/llama-guard-4-12b", "meta-llama/llama-4-scout"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_END_OF_HEAD = b"\r\n\r\n"
_SHORTEST, _LONGEST = 0.005, 0.050  # seconds
_BACKLOG = 2048
_IDENTITY = {"id": "gen-1", "created": 1763700000}
_USAGE = {"prompt_tokens": 24, "completion_tokens": 3, "total_tokens": 27}


@dataclass(slots=True)
class AtOnce:
    """How many there are of something, and how many there were at most."""

    now: int = 0
    most: int = 0

    def add(self, change: int) -> None:
        """Count one that came or went."""
        self.now += change
        self.most = max(self.most, self.now)


@dataclass(slots=True)
class Counts:
    """What the host saw since it was told to begin.

    Attributes:
        requests: answered or being answered, at once.
        by_client: the same, by who asks (threads or loop) and what.
        connections: open at once.
        connections_by_client: the same, by who used a connection first.
        arrived: when each request came, in seconds of a clock that all processes of a machine share.
    """

    requests: AtOnce = field(default_factory=AtOnce)
    by_client: dict[str, AtOnce] = field(default_factory=dict)
    connections: AtOnce = field(default_factory=AtOnce)
    connections_by_client: dict[str, AtOnce] = field(default_factory=dict)
    arrived: array[float] = field(default_factory=lambda: array("d"))


class LoadHost(HostProcess):
    """The host in its own process, for as long as the `with` block lasts."""

    module = "benchmarks.load_host"

    @property
    def base_url(self) -> str:
        """Its address, up to and including the `/v1`."""
        return f"http://127.0.0.1:{self._port}/v1"

    def begin(self, *, hold: int = 0) -> None:
        """Count anew, and answer nobody before so many questions to the guard are there."""
        self._control("POST", f"/begin/{hold}")

    def counts(self) -> Counts:
        """What it saw."""
        told = self._control("GET", "/counts")
        return Counts(
            AtOnce(**told["requests"]),
            {client: AtOnce(**seen) for client, seen in told["by_client"].items()},
            AtOnce(**told["connections"]),
            {client: AtOnce(**seen) for client, seen in told["connections_by_client"].items()},
            array("d", told["arrived"]),
        )

    def _control(self, method: str, path: str) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request(method, path, headers={"content-length": "0"})
            answered: dict[str, Any] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return answered


class _Host:
    """What all connections share."""

    def __init__(self) -> None:
        self.counts = Counts()
        self._missing = 0
        self._opened = asyncio.Event()
        self._random = random.Random(7)
        self.answering: set[asyncio.Task[None]] = set()

    def begin(self, hold: int) -> None:
        """Those that are open stay counted, and nobody else does."""
        before, self.counts = self.counts, Counts()
        self.counts.connections.add(before.connections.now)
        for client, seen in before.connections_by_client.items():
            self.counts.connections_by_client[client] = AtOnce(seen.now, seen.now)
        self._missing, self._opened = hold, asyncio.Event()
        if not hold:
            self._opened.set()

    async def time_passes(self, *, is_guard: bool) -> None:
        """Wait until those that are to be here at once are here, and then as long as an answer takes."""
        if is_guard:
            self._missing -= 1
            if self._missing <= 0:
                self._opened.set()
        await self._opened.wait()
        await asyncio.sleep(self._random.uniform(_SHORTEST, _LONGEST))


class _Connection(asyncio.Protocol):
    """One client's connection: requests in, one after the other, and answers out."""

    def __init__(self, host: _Host) -> None:
        self._host = host
        self._received = bytearray()
        self._client = ""
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, _: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()
        if self._client:
            self._host.counts.connections.add(-1)
            self._host.counts.connections_by_client[self._client].add(-1)

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
            self._asked(head.split(b" ", 2)[1].decode(), body)

    def _asked(self, path: str, body: bytes) -> None:
        if path.startswith("/begin/"):
            self._host.begin(int(path.removeprefix("/begin/")))
            self._transport.write(_plain({}))
        elif path == "/counts":
            self._transport.write(_plain({**asdict(self._host.counts), "arrived": self._host.counts.arrived.tolist()}))
        else:
            self._task = asyncio.create_task(self._answer(json.loads(body)))
            self._host.answering.add(self._task)
            self._task.add_done_callback(self._host.answering.discard)

    async def _answer(self, asked: dict[str, Any]) -> None:
        texts, is_guard = [_text(message["content"]) for message in asked["messages"]], asked["model"] == GUARD
        text, client = texts[-1], f"{group_of(' '.join(texts))}, {'guard' if is_guard else 'model'}"
        counts = self._host.counts
        counts.arrived.append(monotonic())
        if not self._client:
            self._client = client
            counts.connections.add(1)
            counts.connections_by_client.setdefault(client, AtOnce()).add(1)
        both = counts.requests, counts.by_client.setdefault(client, AtOnce())
        for seen in both:
            seen.add(1)
        try:
            await self._host.time_passes(is_guard=is_guard)
        finally:
            for seen in both:
                seen.add(-1)
        said = _judged(text) if is_guard else reply_to(text)
        self._transport.write(_streamed(asked["model"], said) if asked.get("stream") else _whole(asked["model"], said))


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _judged(text: str) -> str:
    verdict = right_verdict(text)
    return SAFE if verdict == SAFE else f"unsafe\n{verdict}"


def _whole(model: str, said: str) -> bytes:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}
    return _plain({**_IDENTITY, "model": model, "object": "chat.completion", "choices": [choice], "usage": _USAGE})


def _plain(answer: dict[str, Any]) -> bytes:
    body = json.dumps(answer).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def _streamed(model: str, said: str) -> bytes:
    """A word an event."""
    pieces = [({"role": "assistant", "content": word}, None) for word in re.findall(r"\S+\s*", said)]
    events = [
        b"data: %b\n\n" % json.dumps(_chunk(model, delta, finish)).encode()
        for delta, finish in [*pieces, ({"content": ""}, "stop")]
    ]
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n" + b"".join(
        b"%x\r\n%b\r\n" % (len(event), event) for event in [*events, b"data: [DONE]\n\n", b""]
    )


def _chunk(model: str, delta: dict[str, str], finish: str | None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {**_IDENTITY, "model": model, "object": "chat.completion.chunk", "choices": [choice]}


async def _serve() -> None:
    """Serve until the process that started this one closes our standard input, or ends."""
    host = _Host()
    host.begin(0)
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(host), "127.0.0.1", 0, backlog=_BACKLOG)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve())
