"""A host that takes few requests at once is never sent more, counted at a real socket."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import pytest
from fake_provider import FakeProvider, Fault, Received, Reply

from llama_guard_core import ProviderError, ProviderUnavailable
from llama_guard_core.provider.chat_clients import AsyncChatClients, ChatClients
from llama_guard_core.provider.client import AsyncChatClient, ChatClient
from llama_guard_core.provider.connection import Connection, Timeouts
from llama_guard_core.provider.hosts import Host

REQUEST = {"model": "meta-llama/llama-4-scout", "messages": [{"role": "user", "content": "Hello"}]}


class Crowd:
    """Calls that wait at the host until as many are there as may be; counts how many there were at once."""

    def __init__(self, at_once: int) -> None:
        self._barrier = threading.Barrier(at_once, timeout=10)
        self._lock = threading.Lock()
        self._inside = 0
        self.most = 0

    def __call__(self, _: Received) -> Reply:
        with self._lock:
            self._inside += 1
            self.most = max(self.most, self._inside)
        self._barrier.wait()
        with self._lock:
            self._inside -= 1
        return Reply("Hello.")


@pytest.mark.parametrize("limit", [1, 2, 3])
@pytest.mark.parametrize("streamed", [False, True])
def test_never_more_requests_are_at_a_host_at_once_than_its_limit(limit: int, streamed: bool) -> None:
    crowd = Crowd(limit)
    provider = FakeProvider(chat=crowd)
    with provider.serve() as base_url:
        host = Host(name="h", base_url=base_url, api_key="k", max_connections=limit)
        with ChatClients([Connection(host=host)]) as clients, ThreadPoolExecutor(12) as threads:
            ask = (lambda _: [*clients.stream(REQUEST)]) if streamed else (lambda _: clients.complete(REQUEST))
            assert 6 == len(list(threads.map(ask, range(6))))
    assert limit == crowd.most


@pytest.mark.parametrize("limit", [1, 2, 3])
@pytest.mark.parametrize("streamed", [False, True])
async def test_never_more_async_requests_are_at_a_host_at_once_than_its_limit(limit: int, streamed: bool) -> None:
    crowd = Crowd(limit)
    provider = FakeProvider(chat=crowd)
    with provider.serve() as base_url:
        host = Host(name="h", base_url=base_url, api_key="k", max_connections=limit)
        async with AsyncChatClients([Connection(host=host)]) as clients:

            async def ask() -> None:
                if streamed:
                    assert [chunk async for chunk in clients.stream(REQUEST)]
                else:
                    await clients.complete(REQUEST)

            await asyncio.gather(*(ask() for _ in range(6)))
    assert limit == crowd.most


class Held:
    """A host that answers those who say `wait` only when it is opened, and everybody else at once."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.waiting = threading.Semaphore(0)

    def __call__(self, received: Received) -> Reply:
        if "wait" in received.last_text:
            self.waiting.release()
            assert self.opened.wait(10)
        return Reply("Hello.")


def _request(text: str) -> dict[str, object]:
    return {**REQUEST, "messages": [{"role": "user", "content": text}]}


def _host(base_url: str, limit: int | None) -> Host:
    return Host(name="h", base_url=base_url, api_key="k", max_connections=limit, max_retries=0)


@pytest.fixture
def held() -> Iterator[Held]:
    held = Held()
    yield held
    held.opened.set()


@pytest.mark.parametrize("limit", [2, 3, 17])
async def test_no_async_request_waits_while_a_connection_is_free(held: Held, limit: int) -> None:
    """All but one are held at the host; everybody else goes through the last one."""
    with FakeProvider(chat=held).serve() as base_url:
        async with AsyncChatClient(Connection(host=_host(base_url, limit))) as client:
            slow = [asyncio.create_task(client.complete(_request("wait"))) for _ in range(limit - 1)]
            for _ in slow:
                await asyncio.to_thread(held.waiting.acquire)
            await asyncio.gather(*(client.complete(_request("hello")) for _ in range(20)))
            assert not any(task.done() for task in slow)
            held.opened.set()
            await asyncio.gather(*slow)


def test_no_request_waits_while_a_connection_is_free(held: Held) -> None:
    with (
        FakeProvider(chat=held).serve() as base_url,
        ChatClient(Connection(host=_host(base_url, 2))) as client,
        ThreadPoolExecutor(20) as threads,
    ):
        slow = threads.submit(client.complete, _request("wait"))
        held.waiting.acquire()
        list(threads.map(client.complete, [_request("hello")] * 19))
        assert not slow.done()
        held.opened.set()


@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_whose_turn_does_not_come_in_time_is_told_so_and_sends_nothing(held: Held, colour: str) -> None:
    provider = FakeProvider(chat=held)
    with provider.serve() as base_url:
        connection = Connection(host=_host(base_url, 1), timeout=Timeouts(connect=0.1))
        async with AsyncChatClient(connection) as client:
            with ChatClient(connection) as sync_client, ThreadPoolExecutor(1) as threads:
                request = _request("wait")
                slow = (
                    threads.submit(sync_client.complete, request)
                    if colour == "sync"
                    else asyncio.create_task(client.complete(request))
                )
                await asyncio.to_thread(held.waiting.acquire)
                with pytest.raises(ProviderUnavailable, match="no connection became free in time") as caught:
                    sync_client.complete(REQUEST) if colour == "sync" else await client.complete(REQUEST)
                assert ("timeout", 1) == (caught.value.reason, len(provider.requests))
                held.opened.set()
                assert "Hello." == (slow.result() if colour == "sync" else await slow).text


class Unsteady:
    """A host that answers, fails, breaks off and falls silent by turns; who says `together` waits for the others."""

    FAULTS = (Fault.status(503), Fault.cut("before_headers"), Fault.reset("in_body"), Fault.stall("in_body"))

    def __init__(self, at_once: int) -> None:
        self._chance = random.Random(5)  # noqa: S311 (no secret)
        self._crowd = Crowd(at_once)

    def __call__(self, received: Received) -> Reply | Fault:
        if received.last_text == "together":
            return self._crowd(received)
        return Reply("Hello.") if self._chance.random() < 0.5 else self._chance.choice(self.FAULTS)


@pytest.mark.parametrize("limit", [3, None])
async def test_wherever_async_requests_are_cancelled_or_fail_no_place_and_no_connection_is_lost(
    limit: int | None,
) -> None:
    """Each is cancelled a step of the event loop later than the one before: somewhere in it, and the last not at all."""
    at_once = limit or 8
    provider = FakeProvider(chat=Unsteady(at_once))
    with provider.serve() as base_url:
        connection = Connection(host=_host(base_url, limit), timeout=Timeouts(connect=0.05, read=0.05))
        async with AsyncChatClient(connection) as client:

            async def cancelled_after(steps: int) -> None:
                task = asyncio.create_task(client.complete(REQUEST))
                for _ in range(steps):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])

            for steps in range(0, 120, 4):
                await asyncio.gather(*(cancelled_after(steps + beside) for beside in range(8)))
            patient = AsyncChatClient(replace(connection, timeout=10))
            patient._pools = client._pools
            replies = await asyncio.gather(*(patient.complete(_request("together")) for _ in range(at_once)))
            assert ["Hello."] * at_once == [reply.text for reply in replies]
            assert provider.wait_for_connections(at_once)
        assert provider.wait_for_connections(0)


def test_however_many_threads_give_up_or_fail_no_place_and_no_connection_is_lost() -> None:
    provider = FakeProvider(chat=Unsteady(3))
    with provider.serve() as base_url:
        connection = Connection(host=_host(base_url, 3), timeout=Timeouts(connect=0.01, read=0.05))
        with ChatClient(connection) as client, ThreadPoolExecutor(24) as threads:

            def tried(_: int) -> None:
                with suppress(ProviderError):
                    client.complete(REQUEST)

            list(threads.map(tried, range(600)))
            patient = ChatClient(replace(connection, timeout=10))
            patient._own_client = client._client()
            assert ["Hello."] * 3 == [reply.text for reply in threads.map(patient.complete, [_request("together")] * 3)]
            assert provider.wait_for_connections(3)
        assert provider.wait_for_connections(0)


@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_what_comes_back_after_closing_is_closed_too(held: Held, colour: str) -> None:
    provider = FakeProvider(chat=held)
    with provider.serve() as base_url:
        connection = Connection(host=_host(base_url, 1))
        async with AsyncChatClient(connection) as client:
            with ChatClient(connection) as sync_client, ThreadPoolExecutor(2) as threads:
                asked = [_request("wait"), REQUEST]
                calls = (
                    [asyncio.wrap_future(threads.submit(sync_client.complete, request)) for request in asked]
                    if colour == "sync"
                    else [asyncio.create_task(client.complete(request)) for request in asked]
                )
                await asyncio.to_thread(held.waiting.acquire)
                sync_client.close() if colour == "sync" else await client.aclose()
                held.opened.set()
                await asyncio.wait(calls)
                assert "Hello." == calls[1].result().text
                assert await asyncio.to_thread(provider.wait_for_connections, 0)
