"""A host that takes few requests at once is never sent more, counted at a real socket."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from fake_provider import FakeProvider, Received, Reply

from llama_guard_core.provider.chat_clients import AsyncChatClients, ChatClients
from llama_guard_core.provider.connection import Connection
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
