"""One connection, in a transport of httpx where its pool would be.

So requests are httpx's, and so are the errors, and who records or mocks httpx's transports finds these, too. But a pool
takes its time to look through its connections at each step of a request, and there is one.
"""

from __future__ import annotations

import ssl
from contextlib import nullcontext
from typing import Any, cast

import httpcore
import httpx

from llama_guard_core.provider.asyncio_streams import connected
from llama_guard_core.provider.deadlines import DeadlineBackend

KEEP_IDLE_SECONDS = 30.0
_BEGINS_WITH_TLS = b"https"


def single_connection(context: ssl.SSLContext) -> httpx.BaseTransport:
    """A transport for one request at a time, with a connection that is kept for the next one."""
    transport = httpx.HTTPTransport(verify=context)
    transport._pool = cast("Any", _Connection(context))  # noqa: SLF001 (httpx has no setting for it)
    return transport


def async_single_connection(context: ssl.SSLContext) -> httpx.AsyncBaseTransport:
    """The same in an event loop."""
    transport = httpx.AsyncHTTPTransport(verify=context)
    transport._pool = cast("Any", _AsyncConnection(context))  # noqa: SLF001 (as above)
    return transport


def has_leftovers(transport: Any) -> bool:
    """Whether bytes came behind the response, that the next one asked for would be taken to begin with."""
    pool = getattr(transport, "_pool", None)
    return isinstance(pool, _Connection | _AsyncConnection) and pool.has_leftovers


class _Connection:
    """What httpx asks of a pool."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._http: httpcore.HTTPConnection | None = None

    def handle_request(self, request: httpcore.Request) -> httpcore.Response:
        origin = request.url.origin
        if self._http is None or not _can_go_on(self._http, origin):
            self.close()
            self._http = httpcore.HTTPConnection(
                origin, self._context, KEEP_IDLE_SECONDS, network_backend=DeadlineBackend()
            )
        return self._http.handle_request(request)

    def close(self) -> None:
        if self._http is not None:
            self._http.close()

    @property
    def has_leftovers(self) -> bool:
        return _has_leftovers(getattr(self._http, "_connection", None))


class _AsyncConnection:
    """The same in an event loop."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._http: httpcore.AsyncHTTP11Connection | None = None

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        origin = request.url.origin
        if self._http is None or not _can_go_on(self._http, origin):
            await self.aclose()
            self._http = await self._opened(origin, request.extensions.get("timeout", {}).get("connect"))
        return await self._http.handle_async_request(request)

    async def aclose(self) -> None:
        if self._http is not None:
            await self._http.aclose()

    @property
    def has_leftovers(self) -> bool:
        return _has_leftovers(self._http)

    async def _opened(self, origin: httpcore.Origin, timeout: float | None) -> httpcore.AsyncHTTP11Connection:
        host = origin.host.decode("ascii")
        stream = await connected(host, origin.port, timeout)
        if origin.scheme == _BEGINS_WITH_TLS:
            stream = await stream.start_tls(self._context, host, timeout)
        connection = httpcore.AsyncHTTP11Connection(origin, stream, KEEP_IDLE_SECONDS)
        # Nobody else asks for it, and httpcore's lock gives the turn away each time it is taken.
        connection._state_lock = cast("Any", nullcontext())  # noqa: SLF001 (httpcore has no setting for it)
        return connection


def _can_go_on(connection: Any, origin: httpcore.Origin) -> bool:
    return connection.can_handle_request(origin) and connection.is_idle() and not connection.has_expired()


def _has_leftovers(connection: Any) -> bool:
    """There is no public word for it: what the HTTP parser was handed and has not read is nowhere else."""
    state = getattr(connection, "_h11_state", None)
    return state is not None and bool(state.trailing_data[0])
