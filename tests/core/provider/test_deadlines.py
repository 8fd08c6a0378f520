"""A call ends in time whatever a host does with its bytes: trickles them, takes ours slowly, or never ends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from fake_provider import FakeProvider, Fault
from pydantic import SecretStr
from typing_extensions import Self

from llama_guard_core import ConfigurationError, Host, LlamaGuard, Timeouts
from llama_guard_core.errors import GuardUnavailable, ProviderError, ProviderUnavailable
from llama_guard_core.provider.chunks import collected
from llama_guard_core.provider.client import AsyncChatClient, ChatClient
from llama_guard_core.provider.connection import Connection
from llama_guard_core.provider.deadlines import Until
from llama_guard_core.provider.hosts import host_for
from llama_guard_core.provider.retry_policy import RetryPolicy

GUARD = "meta-llama/llama-guard-4-12b"
REQUEST = {"model": "meta-llama/llama-4-scout", "messages": [{"role": "user", "content": "Hello."}]}
LARGE = {"model": GUARD, "messages": [], "metadata": {"padding": "walnut " * 3_000_000}}
PIECE, TOTAL, LONG = 0.05, 0.4, 5.0
"""Seconds between two bytes of a host; for all of a reply; and after which a call has certainly not ended in time."""
WAYS = [f"{colour} {manner}" for colour in ("sync", "async") for manner in ("whole", "streamed")]


class Dripping:
    """A host that answers each request with some bytes for ever, one at a time."""

    def __init__(self, begin: bytes, drop: bytes, *, reads: bool = True) -> None:
        self._begin, self._drop, self._reads = begin, drop, reads
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]
        self.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        socket.create_connection(self._listener.getsockname()).close()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._over.is_set():
                connection.close()
                return
            self._threads.append(threading.Thread(target=self._answer, args=(connection,)))
            self._threads[-1].start()

    def _answer(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if not self._reads:
                while not self._over.wait(PIECE):
                    connection.recv(1)
            connection.recv(65536)
            connection.sendall(self._begin)
            while not self._over.wait(PIECE):
                connection.sendall(self._drop)


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
DRIPPING: dict[str, tuple[bytes, bytes]] = {
    "a status line": (b"HTTP/1.1 200 ", b"O"),
    "a header": (HEAD + b"x-a: ", b"b"),
    "headers": (HEAD, b"x-a: b\r\n"),
    "100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "padding": (HEAD + b"\r\n", b" "),
    "a body": (HEAD + b'\r\n{"id": "', b"a"),
    "an event": (HEAD.replace(b"application/json", b"text/event-stream") + b'\r\ndata: {"id": "', b"a"),
    "comments": (HEAD.replace(b"application/json", b"text/event-stream") + b"\r\n", b": OPENROUTER PROCESSING\n\n"),
}
DRIPPING["empty chunks"] = (DRIPPING["comments"][0], b'data: {"choices": [{"index": 0, "delta": {"content": ""}}]}\n\n')


async def _call(way: str, base_url: str, request: Any = REQUEST, **settings: Any) -> object:
    connection = Connection(host=host_for(base_url), api_key=SecretStr("k"), **settings)
    once = RetryPolicy(max_retries=0)
    if way.startswith("sync"):
        with ChatClient(connection, retry_policy=once) as client:
            return client.complete(request) if "whole" in way else collected(client.stream(request))
    async with AsyncChatClient(connection, retry_policy=once) as client:
        if "whole" in way:
            return await client.complete(request)
        return collected([chunk async for chunk in client.stream(request)])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dripping", DRIPPING.values(), ids=DRIPPING)
async def test_a_reply_that_only_trickles_ends_in_time(dripping: tuple[bytes, bytes], way: str) -> None:
    begun = time.monotonic()
    with Dripping(*dripping) as host, pytest.raises(ProviderUnavailable) as caught:
        await _call(way, host.base_url, timeout=Timeouts(connect=1.0, read=1.0, total=TOTAL))
    assert "timeout" == caught.value.reason
    assert time.monotonic() - begun < LONG


@pytest.mark.parametrize("way", WAYS)
async def test_a_host_that_takes_the_request_byte_by_byte_ends_the_call_in_time(way: str) -> None:
    begun = time.monotonic()
    with Dripping(b"", b"", reads=False) as host, pytest.raises(ProviderUnavailable):
        await _call(way, host.base_url, LARGE, timeout=Timeouts(connect=1.0, read=1.0, total=TOTAL))
    assert time.monotonic() - begun < LONG


@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_a_stream_that_goes_on_is_not_ended_by_the_time_for_a_whole_reply(colour: str) -> None:
    provider = FakeProvider(chat=["one two three four five six"]).fail(Fault.trickle(size=300, pause=0.03))
    with provider.serve() as base_url:
        begun = time.monotonic()
        reply = await _call(f"{colour} streamed", base_url, timeout=Timeouts(connect=1.0, read=0.2, total=0.3))
    assert "one two three four five six" == reply.text
    assert time.monotonic() - begun > 0.3


@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_a_stream_that_is_whole_does_not_wait_long_for_the_end_of_its_body(
    colour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llama_guard_core.provider.client._WORTH_A_CONNECTION", 0.1)
    provider = FakeProvider(chat=["Hello."]).fail(Fault.stall("after_body"))
    with provider.serve() as base_url:
        begun = time.monotonic()
        reply = await _call(f"{colour} streamed", base_url, timeout=None)
    assert "Hello." == reply.text
    assert time.monotonic() - begun < LONG


@pytest.fixture(params=["sync", "async"])
def check(request: pytest.FixtureRequest) -> Callable[..., object]:
    async def check(guard: LlamaGuard, text: str = "rain") -> object:
        if request.param == "sync":
            with guard:
                return guard.check(text)
        async with guard:
            return await guard.acheck(text)

    return check


@pytest.fixture
def stalling() -> Iterator[tuple[FakeProvider, str]]:
    provider = FakeProvider().fail(Fault.stall("before_headers"))
    with provider.serve() as base_url:
        yield provider, base_url


async def test_a_check_ends_by_its_deadline_whatever_its_attempts_may_take(
    check: Callable[..., object], stalling: tuple[FakeProvider, str]
) -> None:
    begun = time.monotonic()
    with pytest.raises(GuardUnavailable, match=r"no verdict within 0\.4 seconds") as caught:
        await check(LlamaGuard(base_url=stalling[1], api_key="k", timeout=60, max_retries=5, deadline=0.4))
    assert "timeout" == caught.value.reason
    assert time.monotonic() - begun < LONG


async def test_a_long_text_has_one_deadline_for_all_its_chunks(
    check: Callable[..., object], stalling: tuple[FakeProvider, str]
) -> None:
    guard = LlamaGuard(
        base_url=stalling[1],
        api_key="k",
        timeout=0.2,
        max_retries=0,
        deadline=0.3,
        splitting={"chunk_size": 500, "chunk_overlap": 100},
    )
    with pytest.raises(GuardUnavailable, match=r"no verdict within 0\.3 seconds"):
        await check(guard, "walnut " * 1000)
    assert len(stalling[0].requests) <= 16


async def test_a_wait_that_would_end_after_the_deadline_is_not_begun(check: Callable[..., object]) -> None:
    provider = FakeProvider().fail(Fault.status(429, retry_after=30))
    begun = time.monotonic()
    with provider.serve() as base_url, pytest.raises(GuardUnavailable) as caught:
        await check(LlamaGuard(base_url=base_url, api_key="k", deadline=20.0))
    assert ("rate_limit", 1) == (caught.value.reason, len(provider.requests))
    assert time.monotonic() - begun < LONG


async def test_a_host_that_was_given_no_time_is_not_put_to_rest(
    check: Callable[..., object], stalling: tuple[FakeProvider, str]
) -> None:
    other = FakeProvider()
    with other.serve() as second:
        hosts = [Host(name=each, base_url=each, api_key="k", guard_model=GUARD) for each in (stalling[1], second)]
        guard = LlamaGuard(host=hosts, timeout=60, max_retries=0, deadline=0.3)
        with pytest.raises(GuardUnavailable, match=r"no verdict within 0\.3 seconds"):
            await check(guard)
    assert [0, 1] == guard._order.candidates()
    assert [] == other.requests


@pytest.mark.parametrize("timeout", [None, httpx.Timeout(60.0), httpx.Timeout(None), Timeouts(None, None, None), 60.0])
async def test_a_deadline_holds_with_any_timeouts(check: Callable[..., object], timeout: object) -> None:
    begun = time.monotonic()
    with Dripping(*DRIPPING["a status line"]) as host, pytest.raises(GuardUnavailable, match="no verdict within"):
        await check(LlamaGuard(base_url=host.base_url, model=GUARD, timeout=timeout, max_retries=0, deadline=TOTAL))
    assert time.monotonic() - begun < LONG


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan")])
def test_a_deadline_that_is_none_is_refused(seconds: float) -> None:
    with pytest.raises(ConfigurationError, match="deadline"):
        LlamaGuard(deadline=seconds)


def test_the_time_a_step_has_left_is_that_of_the_whole() -> None:
    assert 5.0 == Until(5.0, None).left()
    assert 5.0 == Until(5.0, time.monotonic() + 60).left()
    assert Until(5.0, time.monotonic() + 1).left() <= 1.0


def test_behind_a_proxy_a_trickle_ends_in_time_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with Dripping(b"HTTP/1.1 200 ", b"O") as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.base_url.removesuffix("/v1"))
        begun = time.monotonic()
        with (
            ChatClient(
                Connection(host=host_for("http://host.test/v1"), timeout=Timeouts(1.0, 1.0, TOTAL), max_retries=0)
            ) as client,
            pytest.raises(ProviderError) as caught,
        ):
            client.complete(REQUEST)
    assert "timeout" == caught.value.reason
    assert time.monotonic() - begun < LONG


@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_the_time_that_the_reader_of_a_stream_takes_is_not_the_hosts(colour: str) -> None:
    provider = FakeProvider(chat=["one two three four"], piece_size=40)
    with provider.serve() as base_url:
        connection = Connection(host=host_for(base_url), api_key=SecretStr("k"), timeout=Timeouts(1.0, 1.0, 0.2))
        said = []
        if colour == "sync":
            with ChatClient(connection) as client:
                for chunk in client.stream(REQUEST):
                    said.append(chunk.text)
                    time.sleep(0.25)  # noqa: ASYNC251 (the reader that is slow)
        else:
            async with AsyncChatClient(connection) as client:
                async for chunk in client.stream(REQUEST):
                    said.append(chunk.text)
                    await asyncio.sleep(0.25)
    assert "one two three four" == "".join(said)


class SlowToStart:
    """A server of this process that loads its model at the first call."""

    is_running = False

    def __init__(self, base_url: str) -> None:
        self.base_url, self.api_key = base_url, SecretStr("k")

    def start(self) -> SlowToStart:
        if not self.is_running:
            time.sleep(0.6)
            self.is_running = True
        return self


async def test_the_time_an_embedded_server_takes_to_start_is_not_the_first_attempts(
    check: Callable[..., object],
) -> None:
    with FakeProvider().serve() as base_url:
        server: Any = SlowToStart(base_url)
        host = Host(name="embedded", base_url="embedded", guard_model=GUARD, server=server)
        assert (await check(LlamaGuard(host=host, timeout=0.4, max_retries=0))).safe
