"""Connection pools: one TLS context for all, and enough small ones that none becomes slow."""

from __future__ import annotations

import functools
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from urllib.request import getproxies

import httpx

from llama_guard_core.provider.deadlines import keep_deadlines

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
        client = httpx.Client(verify=context, limits=limits, timeout=None)  # noqa: S113 (every request brings its own)
        keep_deadlines(client._transport, *client._mounts.values())  # noqa: SLF001 (httpx has no setting for it)
        return client
    transport = httpx.HTTPTransport(verify=context, limits=limits)
    keep_deadlines(transport)
    return transport


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


def sent(client: httpx.Client | httpx.BaseTransport, request: httpx.Request) -> httpx.Response:
    """Send a request, and give its response while the body is still to come."""
    if isinstance(client, httpx.Client):
        return client.send(request, stream=True, follow_redirects=False)
    return client.handle_request(request)


async def asent(client: httpx.AsyncClient | httpx.AsyncBaseTransport, request: httpx.Request) -> httpx.Response:
    """Send a request; see `sent`."""
    if isinstance(client, httpx.AsyncClient):
        return await client.send(request, stream=True, follow_redirects=False)
    return await client.handle_async_request(request)


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
