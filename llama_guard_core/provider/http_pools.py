"""Connection pools: one TLS context for all, one pool per event loop, and enough small ones that none becomes slow."""

from __future__ import annotations

import functools
import ssl
import threading
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING
from urllib.request import getproxies

import httpx

if TYPE_CHECKING:
    import asyncio

_POOLS = 16
_KEEP_IDLE_SECONDS = 30.0


@functools.lru_cache(maxsize=1)
def shared_ssl_context() -> ssl.SSLContext:
    """The TLS settings of all clients here: reading the certificates takes 20 ms, so it is done once."""
    return httpx.create_ssl_context()


def open_client(most: int | None = None) -> httpx.Client | httpx.BaseTransport:
    """What sync calls go through: a pool, or behind a proxy a client, since it alone reads the proxy settings.

    Args:
        most: connections at once; None for no limit.
    """
    context, limits = shared_ssl_context(), _limits(most, keep=64)
    if _behind_a_proxy():
        return httpx.Client(verify=context, limits=limits, timeout=None)  # noqa: S113 (every request brings its own)
    return httpx.HTTPTransport(verify=context, limits=limits)


def open_async_client(most: int | None = None) -> httpx.AsyncClient | httpx.AsyncBaseTransport:
    """What async calls go through, fast with many in flight.

    httpx's own pool looks through all its connections at each step of each request, which at 64 at once leaves no
    time for anything else; behind a proxy it is used all the same, since it alone reads the proxy settings.

    Args:
        most: connections at once; None for no limit.
    """
    context = shared_ssl_context()
    if _behind_a_proxy():
        return httpx.AsyncClient(verify=context, limits=_limits(most, keep=8), timeout=None)  # noqa: S113 (as above)
    # A limit is shared out evenly among as many pools as divide it, so that no request waits while one is free.
    pools = _POOLS if most is None else max(n for n in range(1, _POOLS + 1) if most % n == 0)
    limits = _limits(None if most is None else most // pools, keep=8)
    return LeastLoadedTransport([httpx.AsyncHTTPTransport(verify=context, limits=limits) for _ in range(pools)])


def _limits(most: int | None, *, keep: int) -> httpx.Limits:
    return httpx.Limits(max_connections=most, max_keepalive_connections=keep, keepalive_expiry=_KEEP_IDLE_SECONDS)


def _behind_a_proxy() -> bool:
    return any(scheme in getproxies() for scheme in ("http", "https", "all"))


AsyncOpened = httpx.AsyncClient | httpx.AsyncBaseTransport


class LeastLoadedTransport(httpx.AsyncBaseTransport):
    """Several pools that look like one: each request goes to the one with the fewest in flight."""

    def __init__(self, pools: Sequence[httpx.AsyncBaseTransport]) -> None:
        self._pools = pools
        self._in_flight = [0] * len(pools)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request through the least loaded pool."""
        chosen = self._in_flight.index(min(self._in_flight))
        self._in_flight[chosen] += 1
        try:
            response = await self._pools[chosen].handle_async_request(request)
        except BaseException:
            self._release(chosen)
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 (what an async transport returns)
        response.stream = _CountedStream(response.stream, functools.partial(self._release, chosen))
        return response

    async def aclose(self) -> None:
        """Close all pools."""
        for pool in self._pools:
            await pool.aclose()

    def _release(self, chosen: int) -> None:
        self._in_flight[chosen] -= 1


class _CountedStream(httpx.AsyncByteStream):
    """A response's body that says when it is closed."""

    def __init__(self, stream: httpx.AsyncByteStream, on_close: Callable[[], None]) -> None:
        self._stream = stream
        self._on_close: Callable[[], None] | None = on_close

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._stream.__aiter__()

    async def aclose(self) -> None:
        on_close, self._on_close = self._on_close, None
        if on_close:
            on_close()
        await self._stream.aclose()


class LoopPools:
    """One async client for each running event loop, since a connection cannot leave the loop it was opened in.

    Each is held open by an asynchronous generator of its loop. Python itself closes such generators when the loop
    shuts down (`asyncio.run` does) and when nobody refers to them any more, so no connection outlives its loop and
    none is closed from a foreign one.
    """

    def __init__(self, open_one: Callable[[], AsyncOpened]) -> None:
        self._open_one = open_one
        self._lock = threading.Lock()
        self._held: weakref.WeakKeyDictionary[
            asyncio.AbstractEventLoop, tuple[AsyncOpened, AsyncGenerator[AsyncOpened, None]]
        ] = weakref.WeakKeyDictionary()

    async def client(self) -> AsyncOpened:
        """The client of the running loop, opened at its first call."""
        loop = _running_loop()
        known = self._held.get(loop)
        if known is not None:
            return known[0]
        holder = _held_open(self._open_one)
        client = await anext(holder)
        with self._lock:
            for other in [other for other in self._held if other.is_closed()]:
                del self._held[other]
            self._held[loop] = (client, holder)
        return client

    async def aclose(self) -> None:
        """Close the running loop's client. Those of other loops are closed by their loops."""
        known = self._held.pop(_running_loop(), None)
        if known is not None:
            await known[1].aclose()


async def _held_open(open_one: Callable[[], AsyncOpened]) -> AsyncGenerator[AsyncOpened, None]:
    client = open_one()
    try:
        yield client
    finally:
        await client.aclose()


def _running_loop() -> asyncio.AbstractEventLoop:
    import asyncio  # noqa: PLC0415 (sync users need not pay for it)

    return asyncio.get_running_loop()
