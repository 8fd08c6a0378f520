"""The bytes of one connection, straight from asyncio: httpcore's own way to them takes a quarter of a call's time.

Who waits here waits for a future that a timer may end. So nothing is cancelled when time is up, and who is cancelled
leaves nothing behind: closing needs no further step of the event loop that could be interrupted.
"""

from __future__ import annotations

import asyncio
import select
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import httpcore

from llama_guard_core.provider.deadlines import moving_on_at, seconds_left

_SENT_TOGETHER = 16 * 1024  # bytes; httpcore hands over a request's head and its body one after the other
_MOST_WRITTEN = 64 * 1024  # bytes at once
_MOST_UNREAD = 256 * 1024  # bytes that came and nobody asked for; then the host has to wait


async def connected(host: str, port: int, timeout: float | None) -> AsyncioStream:
    """Connect to a host, whichever of its addresses answers first.

    Raises:
        httpcore.ConnectTimeout: if that takes longer than `timeout`, in seconds.
        httpcore.ConnectError: if it cannot be reached.
    """
    import anyio  # noqa: PLC0415 (sync users need not pay for it)

    with _connecting(timeout):
        opened = await anyio.connect_tcp(host, port)
        # It has no public name there. Nothing was read from it yet: anyio lets nobody speak before it is asked to.
        return AsyncioStream(opened._transport)  # type: ignore[attr-defined] # noqa: SLF001
    raise httpcore.ConnectTimeout


class AsyncioStream(asyncio.Protocol, httpcore.AsyncNetworkStream):
    """A connection that is open, plain or in TLS.

    Args:
        transport: asyncio's side of it, paused.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._unsent, self._unread = bytearray(), bytearray()
        self._is_paused = self._is_full = self._has_ended = False
        self._failed: Exception | None = None
        self._waiting: set[asyncio.Future[None]] = set()
        transport.set_protocol(self)
        transport.resume_reading()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what is there, or the next that comes; nothing once the host has ended."""
        self._send()
        while not self._unread:
            if self._failed is not None:
                raise httpcore.ReadError from self._failed
            if self._has_ended:
                return b""
            await self._news(timeout, httpcore.ReadTimeout)
        piece = bytes(self._unread[:max_bytes])
        del self._unread[:max_bytes]
        if self._is_paused and not self._has_ended and len(self._unread) < _MOST_UNREAD:
            self._is_paused = False
            self._transport.resume_reading()
        return piece

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write some: a little of it waits until something is to be read."""
        if len(self._unsent) + len(buffer) < _SENT_TOGETHER and not self._waiting:
            self._unsent += buffer
            return
        self._send()
        # Piece by piece: in TLS, asyncio says that it is full at the write after the one that filled it.
        for begin in range(0, len(buffer), _MOST_WRITTEN):
            while self._is_full and not self._has_ended:
                await self._news(timeout, httpcore.WriteTimeout)
            if self._has_ended:
                raise httpcore.WriteError from self._failed
            self._transport.write(buffer[begin : begin + _MOST_WRITTEN])

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> AsyncioStream:
        """Go on in TLS. A handshake that fails, is too late or is cancelled closes the connection."""
        loop = asyncio.get_running_loop()
        plain, secured = self._transport, None
        try:
            with _connecting(timeout):
                secured = await loop.start_tls(plain, self, ssl_context, server_hostname=server_hostname)
        finally:
            if secured is None:
                plain.abort()
        if secured is None:
            raise httpcore.ConnectTimeout
        self._transport = secured
        return self

    def get_extra_info(self, info: str) -> Any:
        """What the connection knows of itself, by httpcore's names."""
        if info == "is_readable":
            return bool(self._unread) or self._has_ended or _is_readable(self._transport)
        names = {"client_addr": "sockname", "server_addr": "peername"}
        return self._transport.get_extra_info(names.get(info, info))

    async def aclose(self) -> None:
        """Close it, whatever is still to be sent; the socket is closed in the event loop's next turn.

        It waits for nothing: a generator that is closed within must not wait, and a wait could be cancelled.
        """
        self._failed, self._has_ended = ConnectionAbortedError("closed here"), True
        self._transport.abort()
        self._tell()

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        self._unread += data
        if len(self._unread) >= _MOST_UNREAD and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
        self._tell()

    def eof_received(self) -> None:
        """Called by asyncio, which then closes the connection."""
        self._has_ended = True
        self._tell()

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by asyncio."""
        self._failed = self._failed or exc
        self._has_ended = True
        self._tell()

    def pause_writing(self) -> None:
        """Called by asyncio."""
        self._is_full = True

    def resume_writing(self) -> None:
        """Called by asyncio."""
        self._is_full = False
        self._tell()

    def _send(self) -> None:
        if self._unsent and not self._has_ended:
            self._transport.write(bytes(self._unsent))
        self._unsent.clear()

    async def _news(self, timeout: float | None, too_late: type[httpcore.TimeoutException]) -> None:
        seconds, loop = seconds_left(timeout, too_late), asyncio.get_running_loop()
        waiting = loop.create_future()
        self._waiting.add(waiting)
        timer = None if seconds is None else loop.call_later(seconds, _end, waiting, too_late)
        try:
            await waiting
        finally:
            self._waiting.discard(waiting)
            if timer is not None:
                timer.cancel()

    def _tell(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)


@contextmanager
def _connecting(timeout: float | None) -> Iterator[None]:
    """Leave what is within when time is up; what goes wrong in it is httpcore's."""
    seconds = seconds_left(timeout, httpcore.ConnectTimeout)
    try:
        with moving_on_at(None if seconds is None else monotonic() + seconds):
            yield
    except OSError as error:  # which `ssl.SSLError` is, too
        raise httpcore.ConnectError(str(error)) from error


def _end(waiting: asyncio.Future[None], too_late: type[httpcore.TimeoutException]) -> None:
    if not waiting.done():
        waiting.set_exception(too_late())


def _is_readable(transport: asyncio.Transport) -> bool:
    """Whether something came that the event loop has not seen yet, since it was busy: the host's end, most likely."""
    number = transport.get_extra_info("socket").fileno()
    if number < 0 or not hasattr(select, "poll"):  # closed; Windows
        return number < 0 or bool(select.select([number], [], [], 0)[0])
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return bool(poll.poll(0))
