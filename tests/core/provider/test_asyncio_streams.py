"""A connection hands over every byte in order, says how it ended, and waits no longer than it is told."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

import httpcore
import pytest
from certified_server import NAME, certified_server

from llama_guard_core.provider.asyncio_streams import AsyncioStream, connected
from llama_guard_core.provider.client import AsyncChatClient
from llama_guard_core.provider.connection import Connection
from llama_guard_core.provider.hosts import host_for

SOON, LONG = 0.05, 10.0  # seconds
MUCH = b"0123456789abcdef" * 1024 * 1024  # bytes: more than all buffers on the way take
Serves = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def connection_to(serve: Serves, tls: Path | None = None) -> AsyncIterator[AsyncioStream]:
    """A connection to a host that does this, in TLS where there is a folder for its certificate."""
    context, certificate = (None, None) if tls is None else certified_server(tls)
    served = asyncio.Event()

    async def serve_until_it_is_left(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await serve(reader, writer)
        writer.transport.abort()
        await asyncio.sleep(0)  # the turn in which asyncio closes the socket
        served.set()

    server = await asyncio.start_server(serve_until_it_is_left, "127.0.0.1", 0, ssl=context)
    stream = await connected("127.0.0.1", server.sockets[0].getsockname()[1], LONG)
    if certificate is not None:
        stream = await stream.start_tls(ssl.create_default_context(cafile=certificate), NAME, LONG)
    try:
        yield stream
    finally:
        await stream.aclose()
        await served.wait()
        server.close()
        await server.wait_closed()


async def all_of(stream: AsyncioStream, size: int) -> bytes:
    received = bytearray()
    while len(received) < size and (piece := await stream.read(64 * 1024, LONG)):
        received += piece
    return bytes(received)


def late_once(said: asyncio.Event) -> Serves:
    """A host that says `late` when it may."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await said.wait()
        writer.write(b"late")
        await reader.read()

    return say


async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


@pytest.fixture(params=["plain", "tls"])
def tls(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path if request.param == "tls" else None


async def test_what_is_written_comes_back_whole_and_in_order(tls: Path | None) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(64 * 1024):
            writer.write(piece)
            await writer.drain()

    async with connection_to(echo, tls) as stream:
        for said in (b"a", b"bc" * 5000, MUCH, b"d"):
            writing = asyncio.create_task(stream.write(said, LONG))
            assert all_equal(await all_of(stream, len(said)), said)
            await writing


async def test_a_short_head_and_its_body_leave_together() -> None:
    came: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def first_read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set_result(await reader.read(64 * 1024))

    async with connection_to(first_read) as stream:
        await stream.write(b"head ", LONG)
        await asyncio.sleep(SOON)
        assert not came.done()
        await stream.write(b"body", LONG)
        assert await stream.read(10, LONG) == b""
        assert await came == b"head body"


async def test_the_hosts_end_is_the_end_once_all_of_it_is_read(tls: Path | None) -> None:
    async def say_and_leave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"all of it")
        writer.close()

    async with connection_to(say_and_leave, tls) as stream:
        assert b"all of it" == await all_of(stream, 1000)
        assert b"" == await stream.read(10, LONG)
        assert stream.get_extra_info("is_readable")


async def test_a_connection_that_the_host_breaks_off_has_no_end() -> None:
    async def say_and_break_off(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with connection_to(say_and_break_off) as stream:
        with pytest.raises(httpcore.ReadError):
            await all_of(stream, 1000)


async def test_a_connection_that_is_closed_here_has_no_end(tls: Path | None) -> None:
    async with connection_to(silent, tls) as stream:
        reading = asyncio.create_task(stream.read(10, LONG))
        await asyncio.sleep(SOON)
        await stream.aclose()
        with pytest.raises(httpcore.ReadError):
            await reading
        with pytest.raises(httpcore.WriteError):
            await stream.write(MUCH, LONG)


async def test_who_waits_too_long_for_a_byte_may_wait_again() -> None:
    said = asyncio.Event()
    async with connection_to(late_once(said)) as stream:
        with pytest.raises(httpcore.ReadTimeout):
            await stream.read(10, SOON)
        said.set()
        assert b"late" == await stream.read(10, LONG)


async def test_who_is_cancelled_while_it_waits_loses_no_byte() -> None:
    said = asyncio.Event()
    async with connection_to(late_once(said)) as stream:
        reading = asyncio.create_task(stream.read(10, LONG))
        await asyncio.sleep(SOON)
        reading.cancel()
        await asyncio.wait([reading])
        said.set()
        assert b"late" == await stream.read(10, LONG)


async def test_a_host_that_takes_nothing_is_not_waited_for_longer_than_that(tls: Path | None) -> None:
    left = asyncio.Event()

    async def takes_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()
        await left.wait()

    async with connection_to(takes_nothing, tls) as stream:
        try:
            with pytest.raises(httpcore.WriteTimeout):
                await stream.write(MUCH, SOON)
        finally:
            left.set()


async def test_a_host_that_says_more_than_is_read_has_to_wait(tls: Path | None) -> None:
    sent = 0

    async def floods(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        for at in range(0, len(MUCH), 16 * 1024):
            writer.write(MUCH[at : at + 16 * 1024])
            await writer.drain()
            sent = at
        await reader.read()
        writer.close()

    async with connection_to(floods, tls) as stream:
        before = -1
        while before < sent:
            before = sent
            await asyncio.sleep(10 * SOON)
        assert sent < len(MUCH) - 16 * 1024
        assert len(stream._unread) < 1024 * 1024
        assert all_equal(await all_of(stream, len(MUCH)), MUCH)


async def test_a_handshake_with_another_name_is_no_connection(tmp_path: Path) -> None:
    context, certificate = certified_server(tmp_path)
    server = await asyncio.start_server(silent, "127.0.0.1", 0, ssl=context)
    stream = await connected("127.0.0.1", server.sockets[0].getsockname()[1], LONG)
    with pytest.raises(httpcore.ConnectError, match="certificate verify failed"):
        await stream.start_tls(ssl.create_default_context(cafile=certificate), "other.test", LONG)
    assert stream.get_extra_info("is_readable")
    await asyncio.sleep(SOON)  # the server sees it, too, and closes its side
    server.close()


async def test_a_port_where_nobody_listens_is_no_connection() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(httpcore.ConnectError):
        await connected("127.0.0.1", port, LONG)


async def test_no_time_is_too_late_to_connect() -> None:
    with pytest.raises(httpcore.ConnectTimeout):
        await connected("127.0.0.1", 9, 0.0)


class OneAnswerEach:
    """A host that answers a request on each connection, and ends that when it is told to."""

    ANSWER = b'{"choices": [{"message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}]}'

    def __init__(self) -> None:
        self.connections = 0
        self.may_end, self.has_ended = threading.Event(), threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def serve(self, connections: int) -> None:
        for _ in range(connections):
            connection, _ = self._listener.accept()
            with connection:
                self.connections += 1
                connection.recv(64 * 1024)
                head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(self.ANSWER)}\r\n\r\n"
                connection.sendall(head.encode() + self.ANSWER)
                assert self.may_end.wait(LONG)
            self.has_ended.set()
        self._listener.close()


async def test_a_connection_that_ended_while_the_loop_was_busy_is_not_used_again() -> None:
    host = OneAnswerEach()
    request = {"model": "meta-llama/llama-4-scout", "messages": [{"role": "user", "content": "Hello."}]}
    serving = threading.Thread(target=host.serve, args=(2,))
    serving.start()
    connection = Connection(host=host_for(host.base_url), max_retries=0, timeout=LONG)
    async with AsyncChatClient(connection) as client:
        assert "Hello." == (await client.complete(request)).text
        host.may_end.set()
        assert host.has_ended.wait(LONG)  # the socket knows of it, and the loop, which stands still, does not
        assert "Hello." == (await client.complete(request)).text
    serving.join()
    assert 2 == host.connections


def all_equal(one: bytes, other: bytes) -> bool:
    """As `==`, without pytest's explanation of megabytes."""
    return one == other
