"""The least that asking for verdicts can cost: requests written by hand, on sockets; shows what the host can do."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Sequence
from typing import cast

import httpx

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)")
_END_OF_HEAD = b"\r\n\r\n"


async def answered(base_url: str, texts: Sequence[str], *, at_once: int) -> int:
    """Put texts to a model, on so many connections.

    Returns:
        How many were answered.
    """
    url = httpx.URL(f"{base_url}/chat/completions")
    requests, loop = _requests(url, texts), asyncio.get_running_loop()
    connections = [_Connection(requests) for _ in range(at_once)]
    for connection in connections:
        await loop.create_connection(lambda connection=connection: connection, url.host, url.port)  # type: ignore[misc]
    await asyncio.gather(*(connection.ended for connection in connections))
    return sum(connection.answers for connection in connections)


def _requests(url: httpx.URL, texts: Sequence[str]) -> Iterator[bytes]:
    head = b"POST %b HTTP/1.1\r\nhost: %b\r\ncontent-type: application/json\r\n" % (url.raw_path, url.netloc)
    for text in texts:
        body = json.dumps({"model": "guard", "messages": [{"role": "user", "content": text}]}).encode()
        yield b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body)


class _Connection(asyncio.Protocol):
    """Sends one request after the other."""

    def __init__(self, requests: Iterator[bytes]) -> None:
        self.answers = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._requests = requests
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._send_next()

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(_END_OF_HEAD)
        length = _LENGTH.search(self._received)
        if end < 0 or length is None or len(self._received) < end + len(_END_OF_HEAD) + int(length[1]):
            return
        json.loads(self._received[end + len(_END_OF_HEAD) :])
        self._received.clear()
        self.answers += 1
        self._send_next()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio calls it so)
        self.ended.set_result(None)

    def _send_next(self) -> None:
        if (request := next(self._requests, None)) is None:
            self._transport.close()
        else:
            self._transport.write(request)
