"""A TLS handshake that is given up closes its socket, whoever gives it up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from pydantic import SecretStr

from llama_guard_core import Timeouts
from llama_guard_core.errors import ProviderUnavailable
from llama_guard_core.provider.client import AsyncChatClient
from llama_guard_core.provider.connection import Connection
from llama_guard_core.provider.hosts import host_for

REQUEST = {"model": "meta-llama/llama-4-scout", "messages": [{"role": "user", "content": "Hello."}]}
SECONDS = 0.05


class Silent:
    """A host that listens and says nothing, and knows how many have hung up."""

    def __init__(self) -> None:
        self.came = self.left = 0
        self.news = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came += 1
        self.news.set()
        while await reader.read(65536):
            pass
        self.left += 1
        self.news.set()
        writer.close()

    async def until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            self.news.clear()
            await asyncio.wait_for(self.news.wait(), 5)


@pytest.fixture
async def silent() -> AsyncIterator[tuple[Silent, str]]:
    host = Silent()
    server = await asyncio.start_server(host.serve, "127.0.0.1", 0)
    yield host, f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    server.close()


@pytest.mark.parametrize("total", [SECONDS, 60.0], ids=["with the whole call", "by itself"])
async def test_out_of_time(silent: tuple[Silent, str], total: float) -> None:
    host, base_url = silent
    timeouts = Timeouts(SECONDS, SECONDS, total)
    async with AsyncChatClient(Connection(host=host_for(base_url), timeout=timeouts, max_retries=0)) as client:
        for _ in range(10):
            with pytest.raises(ProviderUnavailable):
                await client.complete(REQUEST)
        await host.until(lambda: host.left == host.came)
    assert 10 == host.came


async def test_cancelled(silent: tuple[Silent, str]) -> None:
    host, base_url = silent
    async with AsyncChatClient(Connection(host=host_for(base_url), api_key=SecretStr("k"), timeout=60)) as client:
        for at in range(1, 4):
            task = asyncio.create_task(client.complete(REQUEST))
            await host.until(lambda at=at: host.came == at)
            task.cancel()
            await asyncio.wait([task])
        await host.until(lambda: host.left == host.came)
