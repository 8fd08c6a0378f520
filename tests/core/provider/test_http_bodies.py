"""A body is read whole however it comes: as it is, compressed, or read by somebody else before."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import httpx
import pytest
from fake_provider import FakeProvider

from llama_guard_core.provider.chunks import collected
from llama_guard_core.provider.client import AsyncChatClient, ChatClient
from llama_guard_core.provider.connection import Connection
from llama_guard_core.provider.hosts import host_for
from llama_guard_core.provider.http_bodies import abody_of, body_of

REQUEST = {"model": "meta-llama/llama-4-scout", "messages": [{"role": "user", "content": "Hello."}]}
PIECES = (b"One and ", b"two and ", b"three.")


class Pieces(httpx.SyncByteStream, httpx.AsyncByteStream):
    def __init__(self, *pieces: bytes) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces

    async def __aiter__(self):
        for piece in self._pieces:
            yield piece


def test_a_plain_body_comes_in_the_pieces_that_were_sent() -> None:
    assert [*PIECES] == [*body_of(httpx.Response(200, stream=Pieces(*PIECES)))]


async def test_a_plain_async_body_comes_in_the_pieces_that_were_sent() -> None:
    assert [*PIECES] == [piece async for piece in abody_of(httpx.Response(200, stream=Pieces(*PIECES)))]


async def test_a_compressed_body_is_decompressed() -> None:
    packed = gzip.compress(b"".join(PIECES))
    responses = [
        httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=Pieces(packed[:9], packed[9:]))
        for _ in range(2)
    ]
    assert b"".join(PIECES) == b"".join(body_of(responses[0]))
    assert b"".join(PIECES) == b"".join([piece async for piece in abody_of(responses[1])])


@pytest.mark.parametrize("manner", ["whole", "streamed"])
def test_a_body_that_a_hook_of_the_users_client_has_read_is_read_again(manner: str) -> None:
    http_client = FakeProvider().client(event_hooks={"response": [lambda response: response.read()]})
    with ChatClient(Connection(host=host_for(None), api_key="k"), http_client=http_client) as client:
        reply = client.complete(REQUEST) if manner == "whole" else collected(client.stream(REQUEST))
    assert reply.text


@pytest.mark.parametrize("manner", ["whole", "streamed"])
async def test_a_body_that_a_hook_of_the_users_async_client_has_read_is_read_again(manner: str) -> None:
    async def read(response: httpx.Response) -> None:
        await response.aread()

    http_client = FakeProvider().async_client(event_hooks={"response": [read]})
    async with AsyncChatClient(Connection(host=host_for(None), api_key="k"), http_client=http_client) as client:
        if manner == "whole":
            reply = await client.complete(REQUEST)
        else:
            reply = collected([chunk async for chunk in client.stream(REQUEST)])
    assert reply.text
