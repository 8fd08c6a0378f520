"""A host that answers, fails, or quotes the key it was sent; and a wire on which something goes wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import httpcore
import httpx
from fake_provider import FakeProvider, Fault
from fake_provider.answers import Answer, json_answer
from fake_provider.server import LoopbackServer

from key_hunt.keys import KEY
from llama_guard_core.provider.asyncio_streams import AsyncioStream

_SSE = {"content-type": "text/event-stream"}
FAULTS: dict[str, Fault | None] = {
    "500": Fault.status(500),
    "cut": Fault.cut("in_body"),
    "stall": Fault.stall("before_headers"),
    "malformed": Fault.truncated_json(),
    "web page": Fault.html(200),
    "fine": None,
}


def _error() -> dict[str, Any]:
    said = {"message": f"Incorrect API key provided: {KEY}. See your account.", "type": KEY, "code": KEY}
    return {**said, "metadata": {"error_type": KEY, "provider_name": KEY, "raw": KEY}}


QUOTES: dict[str, Callable[[], Answer]] = {
    "401 that quotes the key": lambda: json_answer({"error": _error(), "id": KEY, "model": KEY}, status=401),
    "400 that quotes it in plain text": lambda: Answer(400, {"content-type": "text/plain"}, (KEY.encode(),)),
    "error that quotes it, with status 200": lambda: json_answer({"error": _error(), "id": KEY}, status=200),
    "error that quotes it, in a stream": lambda: Answer(
        200, _SSE, (b'data: {"id":"1","error":{"message":"bad %s","code":500}}\n\n' % KEY.encode(),)
    ),
    "429 that quotes it": lambda: json_answer({"error": _error()}, status=429, headers={"retry-after": "9"}),
    "redirect": lambda: Answer(307, {"location": "http://127.0.0.1:9/elsewhere"}, (b"",)),
}
"""Answers, made when they are sent: a table of them would have the key in it."""

HOSTS_FAULTS = (*FAULTS, *QUOTES)


class FailingHost:
    """A host of guard and model.

    Attributes:
        url: where it is.
        fault: what goes wrong next: one of `HOSTS_FAULTS`.
        was_asked: set when a request has come.
    """

    def __init__(self) -> None:
        self.url = ""
        self.fault = "fine"
        self.was_asked = threading.Event()
        self._provider = FakeProvider(guard=lambda *_: FAULTS[self.fault] or "safe", chat=self._say)

    @contextmanager
    def serve(self) -> Iterator[FailingHost]:
        """Serve on a port of this machine."""
        server = LoopbackServer(self._answer)
        server.start()
        self.url = f"{server.origin}/api/v1"
        try:
            yield self
        finally:
            server.stop()

    def _say(self, received: Any) -> Any:
        return FAULTS[self.fault] or "The capital of France is Paris."

    def _answer(self, request: httpx.Request) -> Answer:
        assert KEY in repr(request.headers.raw), "the key is sent"
        self.was_asked.set()
        if self.fault in QUOTES:
            return QUOTES[self.fault]()
        request.headers.setdefault("authorization", "Bearer of-another-header")
        return self._provider.answer(request)


@contextmanager
def broken_wire(step: str, error: Callable[[], BaseException]) -> Iterator[None]:
    """Have each connection, the HTTP library's and ours, raise something where it would `read` or `write`."""

    def raising(*_: Any, **__: Any) -> Any:
        raise error()

    async def araising(*_: Any, **__: Any) -> Any:
        raise error()

    with (
        mock.patch.object(httpcore._backends.sync.SyncStream, step, raising),
        mock.patch.object(httpcore._backends.anyio.AnyIOStream, step, araising),
        mock.patch.object(AsyncioStream, step, araising),
    ):
        yield
