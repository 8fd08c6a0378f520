"""How requests get to a host: one TLS context for all, connections of our own, or httpx's clients behind a proxy."""

from __future__ import annotations

import functools
import ssl
from contextlib import AbstractContextManager, nullcontext
from urllib.request import getproxies

import httpx

from llama_guard_core.provider.deadlines import keep_deadlines, moving_on_at
from llama_guard_core.provider.separate_connections import AsyncSeparateConnections, SeparateConnections
from llama_guard_core.provider.single_connections import (
    KEEP_IDLE_SECONDS,
    async_single_connection,
    single_connection,
)


@functools.lru_cache(maxsize=1)
def shared_ssl_context() -> ssl.SSLContext:
    """The TLS settings of all clients here: reading the certificates takes 20 ms, so it is done once."""
    context = httpx.create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def open_client(most: int | None = None) -> httpx.Client | httpx.BaseTransport:
    """What sync calls go through; behind a proxy a client of httpx, since it alone reads the proxy settings.

    Args:
        most: requests at once; None for no limit.
    """
    context = shared_ssl_context()
    if _behind_a_proxy():
        client = httpx.Client(verify=context, limits=_limits(most, keep=64), timeout=None)  # noqa: S113 (every request brings its own)
        keep_deadlines(client._transport, *client._mounts.values())  # noqa: SLF001 (httpx has no setting for it)
        return client
    return SeparateConnections(functools.partial(single_connection, context), most, keep=64)


def open_async_client(most: int | None = None) -> httpx.AsyncClient | httpx.AsyncBaseTransport:
    """What async calls go through, in one event loop; see `open_client`."""
    context = shared_ssl_context()
    if _behind_a_proxy():
        return httpx.AsyncClient(verify=context, limits=_limits(most, keep=8), timeout=None)  # noqa: S113 (as above)
    return AsyncSeparateConnections(functools.partial(async_single_connection, context), most, keep=128)


def _limits(most: int | None, *, keep: int) -> httpx.Limits:
    return httpx.Limits(max_connections=most, max_keepalive_connections=keep, keepalive_expiry=KEEP_IDLE_SECONDS)


def _behind_a_proxy() -> bool:
    return any(scheme in getproxies() for scheme in ("http", "https", "all"))


def sent(client: httpx.Client | httpx.BaseTransport, request: httpx.Request) -> httpx.Response:
    """Send a request, and give its response while the body is still to come."""
    if isinstance(client, httpx.Client):
        return client.send(request, stream=True, follow_redirects=False)
    return client.handle_request(request)


def ending_at(
    client: httpx.AsyncClient | httpx.AsyncBaseTransport, deadline: float | None
) -> AbstractContextManager[object]:
    """Leave what is within when time is up. Connections of our own know their requests' ends by themselves."""
    return nullcontext() if isinstance(client, AsyncSeparateConnections) else moving_on_at(deadline)


async def asent(client: httpx.AsyncClient | httpx.AsyncBaseTransport, request: httpx.Request) -> httpx.Response:
    """Send a request; see `sent`."""
    if isinstance(client, httpx.AsyncClient):
        return await client.send(request, stream=True, follow_redirects=False)
    return await client.handle_async_request(request)
