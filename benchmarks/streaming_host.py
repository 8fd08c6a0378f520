"""A host of a model, a guard and OpenAI's moderation on this machine, that takes its time and writes down what it did.

It runs in a process of its own. What it is asked next, and how long that takes, it is told beforehand as a `Case`.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from time import monotonic
from typing import Any

from benchmarks.host_process import HostProcess
from benchmarks.streaming_cases import MARKER, MODEL, Case

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_YES_OR_NO = re.compile(r"yes.{0,3} or .{0,3}no", re.IGNORECASE)
_STOP: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
_USAGE = {"prompt_tokens": 24, "completion_tokens": 60, "total_tokens": 84}
_MOST_POLLS, _POLL_SECONDS = 500, 0.02


@dataclass(slots=True)
class Counts:
    """What the host did since it was told the case.

    Attributes:
        prompt_checks: checks of a text that held nothing of the reply.
        reply_checks: checks of a text that held some of the reply.
        model_calls: replies that were begun.
        token_times: when it sent each token; what a client that is gone would have had is never made.
        answering: requests that are being answered now.
    """

    prompt_checks: int = 0
    reply_checks: int = 0
    model_calls: int = 0
    token_times: list[float] = field(default_factory=list)
    answering: int = 0


class StreamingHost(HostProcess):
    """The host in its own process, for as long as the `with` block lasts."""

    module = "benchmarks.streaming_host"

    @property
    def base_url(self) -> str:
        """Its address, up to and including the `/v1`."""
        return f"http://127.0.0.1:{self._port}/v1"

    def expect(self, case: Case) -> None:
        """Say what is asked next, and begin to count anew."""
        self._control("POST", "/expect", json.dumps(case.as_dict()))

    async def counts(self) -> Counts:
        """What it has done, once it has no more to do.

        Raises:
            TimeoutError: if it is still answering after ten seconds.
        """
        for _ in range(_MOST_POLLS):
            counts = Counts(**self._control("GET", "/counts"))
            if not counts.answering:
                return counts
            await asyncio.sleep(_POLL_SECONDS)
        raise TimeoutError

    def _control(self, method: str, path: str, body: str | None = None) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request(method, path, body)
            answered: dict[str, Any] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return answered


class _Host:
    """All that is said and counted, on whatever connection."""

    def __init__(self) -> None:
        self._case = Case("none yet")
        self._counts = Counts()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one client's requests, one after the other, until it has gone."""
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = _LENGTH.search(head)
                body = await reader.readexactly(int(length[1]) if length else 0)
                path = head.split(b" ", 2)[1].decode()
                await self._answer(path, json.loads(body or b"{}"), reader, writer)
                await writer.drain()
        writer.close()

    async def _answer(
        self, path: str, asked: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if path == "/expect":
            self._case, self._counts = Case(**asked), Counts()
            return writer.write(_plain({}))
        if path == "/counts":
            return writer.write(_plain(asdict(self._counts)))
        counts = self._counts
        counts.answering += 1
        try:
            if path == "/v1/moderations":
                writer.write(_plain(_moderation(unsafe=await self._is_unsafe(_text(asked["input"])))))
            elif path == "/v1/chat/completions":
                await self._complete(asked, reader, writer)
            else:
                writer.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
        finally:
            counts.answering -= 1

    async def _complete(
        self, asked: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        tokens = self._verdict(asked) if "guard" in asked["model"] else self._reply()
        if not asked.get("stream"):
            writer.write(_plain(_completion("".join([token async for token in tokens]))))
            return
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        async for token in tokens:
            if reader.at_eof() or writer.is_closing():
                return
            writer.write(_event(_chunk({"role": "assistant", "content": token})))
            if "guard" not in asked["model"]:
                self._counts.token_times.append(monotonic())
        writer.write(_event(_chunk({"content": ""}, **_STOP, usage=_USAGE)) + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")

    async def _reply(self) -> AsyncIterator[str]:
        """Each token at its time, counted from the request: one that is late makes no other late."""
        self._counts.model_calls += 1
        first = monotonic() + self._case.first_token_ms / 1000
        for number, token in enumerate(self._case.reply):
            await asyncio.sleep(first + number / self._case.per_second - monotonic())
            yield token

    async def _verdict(self, asked: dict[str, Any]) -> AsyncIterator[str]:
        """Llama Guard's words, or those that NeMo's self check asks for."""
        judged = _text(asked["messages"][-1]["content"])
        unsafe = await self._is_unsafe(judged)
        if _YES_OR_NO.search(judged):
            yield "Yes" if unsafe else "No"
        else:
            yield "unsafe\nS9" if unsafe else "safe"

    async def _is_unsafe(self, judged: str) -> bool:
        if any(token.strip() in judged for token in self._case.reply):
            self._counts.reply_checks += 1
        else:
            self._counts.prompt_checks += 1
        await asyncio.sleep(self._case.guard_ms / 1000)
        return MARKER in judged


def _text(content: Any) -> str:
    """The text of a message or of a moderation's input, which are a string or a list of parts."""
    if isinstance(content, str):
        return content
    return "".join(part if isinstance(part, str) else part.get("text", "") for part in content)


def _completion(text: str) -> dict[str, Any]:
    choice = {**_STOP, "message": {"role": "assistant", "content": text}}
    return {**_identity("chat.completion"), "choices": [choice], "usage": _USAGE}


def _chunk(delta: dict[str, str], *, index: int = 0, finish_reason: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": index, "delta": delta, "finish_reason": finish_reason}
    return {**_identity("chat.completion.chunk"), "choices": [choice], **more}


def _identity(kind: str) -> dict[str, Any]:
    return {"id": "gen-1763700000-Vx0TqkQ2yF6mBr1dZ8cW", "created": 1763700000, "model": MODEL, "object": kind}


def _moderation(*, unsafe: bool) -> dict[str, Any]:
    result = {
        "flagged": unsafe,
        "categories": {"illicit": unsafe},
        "category_scores": {"illicit": float(unsafe)},
        "category_applied_input_types": {"illicit": ["text"]},
    }
    return {"id": "modr-1", "model": "omni-moderation-latest", "results": [result]}


def _plain(answer: dict[str, Any]) -> bytes:
    body = json.dumps(answer).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


def _event(chunk: dict[str, Any]) -> bytes:
    event = b"data: %b\n\n" % json.dumps(chunk).encode()
    return b"%x\r\n%b\r\n" % (len(event), event)


async def _serve() -> None:
    """Serve until the process that started this one closes our standard input, or ends."""
    server = await asyncio.start_server(_Host().serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve())
