"""Connections that share no pool: a request has one to itself, and what it failed on is thrown away.

httpx's pool looks through all its connections at each step of each request, which with hundreds at once leaves no time
for anything else. And who gives up at the wrong moment, a task that is cancelled or a thread that has waited too long,
leaves a connection in it that is neither used, nor idle, nor closed: one socket less for the machine, and where there
is a limit one place less for everybody, for good. A pool of one connection has nothing to look through, and can be
thrown away with whatever is left in it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import httpx

from llama_guard_core.provider.deadlines import Until, moving_on_at
from llama_guard_core.provider.single_connections import KEEP_IDLE_SECONDS, has_leftovers

if TYPE_CHECKING:
    from anyio import Semaphore

C = TypeVar("C")


class SeparateConnections(httpx.BaseTransport):
    """As many connections as there are requests at once.

    Args:
        open_one: opens a pool of one connection.
        most: requests at once; the others wait, as long as their timeout for a connection says. None for no limit.
        keep: connections that are kept open while nobody uses them.
    """

    def __init__(self, open_one: Callable[[], httpx.BaseTransport], most: int | None, *, keep: int) -> None:
        self._slots = None if most is None else threading.Semaphore(most)
        self._connections = _Connections(open_one, keep)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request on the connection that was used last, or on a new one.

        Raises:
            httpx.PoolTimeout: if its turn does not come in time.
        """
        if self._slots is not None and not self._slots.acquire(timeout=_patience(request)):
            raise _too_late(request)
        connection = self._connections.taken()
        try:
            response = connection.handle_request(request)
        except BaseException:
            self._given_back(connection, failed=True)
            raise
        response.stream = _Body(response.stream, lambda *, failed: self._given_back(connection, failed=failed))
        return response

    def close(self) -> None:
        """Close all connections, also those in use."""
        for connection in self._connections.all_of_them():
            connection.close()

    def _given_back(self, connection: httpx.BaseTransport, *, failed: bool) -> None:
        try:
            if not self._connections.kept(connection, failed=failed):
                connection.close()
        finally:
            if self._slots is not None:
                self._slots.release()
        while (unneeded := self._connections.unneeded()) is not None:
            unneeded.close()


class AsyncSeparateConnections(httpx.AsyncBaseTransport):
    """As many connections as there are requests at once, in one event loop; see `SeparateConnections`.

    Who waits has the next turn in the order they came.
    """

    def __init__(self, open_one: Callable[[], httpx.AsyncBaseTransport], most: int | None, *, keep: int) -> None:
        from anyio import Semaphore  # noqa: PLC0415 (sync users need not pay for it)

        self._slots = None if most is None else Semaphore(most)
        self._connections = _Connections(open_one, keep)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; see `SeparateConnections.handle_request`."""
        if self._slots is not None:
            await _acquired(self._slots, request)
        connection = self._connections.taken()
        try:
            response = await connection.handle_async_request(request)
        except BaseException:
            await self._given_back(connection, failed=True)
            raise
        response.stream = _AsyncBody(response.stream, lambda *, failed: self._given_back(connection, failed=failed))
        return response

    async def aclose(self) -> None:
        """Close all connections, also those in use."""
        for connection in self._connections.all_of_them():
            await connection.aclose()

    async def _given_back(self, connection: httpx.AsyncBaseTransport, *, failed: bool) -> None:
        try:
            if not self._connections.kept(connection, failed=failed):
                await connection.aclose()
        finally:
            if self._slots is not None:
                self._slots.release()
        while (unneeded := self._connections.unneeded()) is not None:
            await unneeded.aclose()


class _Connections(Generic[C]):
    """Which connections are in use and which are not. Closes none itself."""

    def __init__(self, open_one: Callable[[], C], keep: int) -> None:
        self._open_one = open_one
        self._keep = keep
        self._busy: set[C] = set()
        self._idle: deque[tuple[float, C]] = deque()
        self._is_closed = False
        self._lock = threading.Lock()

    def taken(self) -> C:
        with self._lock:
            connection = self._idle.pop()[1] if self._idle else self._open_one()
            self._busy.add(connection)
            return connection

    def kept(self, connection: C, *, failed: bool) -> bool:
        """Take one back; tells whether it is kept, or else to be closed."""
        with self._lock:
            self._busy.discard(connection)
            keeps = not failed and not self._is_closed and not has_leftovers(connection)
            if keeps:
                self._idle.append((monotonic(), connection))
            return keeps

    def unneeded(self) -> C | None:
        """One that is to be closed: there are more than are kept, or it was not needed for long."""
        with self._lock:
            if self._idle and (len(self._idle) > self._keep or monotonic() - self._idle[0][0] > KEEP_IDLE_SECONDS):
                return self._idle.popleft()[1]
            return None

    def all_of_them(self) -> list[C]:
        """Everything there is. From now on nothing is kept any more."""
        with self._lock:
            self._is_closed = True
            everything = [*self._busy, *(connection for _, connection in self._idle)]
            self._idle.clear()
            return everything


class _Body(httpx.SyncByteStream):
    """A response's body, whose connection is given back once, when it is closed: as a good one if it was read whole."""

    def __init__(self, stream: Any, give_back: Callable[..., None]) -> None:
        self._stream = stream
        self._give_back: Callable[..., None] | None = give_back
        self._is_read = False

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream
        self._is_read = True

    def close(self) -> None:
        give_back, self._give_back = self._give_back, None
        if give_back is None:
            return
        try:
            self._stream.close()
        except BaseException:
            give_back(failed=True)
            raise
        give_back(failed=not self._is_read)


class _AsyncBody(httpx.AsyncByteStream):
    """The same of an async response."""

    def __init__(self, stream: Any, give_back: Callable[..., Awaitable[None]]) -> None:
        self._stream = stream
        self._give_back: Callable[..., Awaitable[None]] | None = give_back
        self._is_read = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._stream:
            yield piece
        self._is_read = True

    async def aclose(self) -> None:
        give_back, self._give_back = self._give_back, None
        if give_back is None:
            return
        try:
            await self._stream.aclose()
        except BaseException:
            await give_back(failed=True)
            raise
        await give_back(failed=not self._is_read)


async def _acquired(slots: Semaphore, request: httpx.Request) -> None:
    """Take a slot. Who is cancelled or too late has none, even where it was just being handed over."""
    if slots.value:
        slots.acquire_nowait()
        return
    patience = _patience(request)
    with moving_on_at(None if patience is None else monotonic() + patience) as waiting:
        await slots.acquire()
    if waiting.cancelled_caught:
        raise _too_late(request)


def _patience(request: httpx.Request) -> float | None:
    """Seconds that a request waits for a connection."""
    seconds: float | None = request.extensions.get("timeout", {}).get("pool")
    return max(0.0, seconds.left()) if isinstance(seconds, Until) else seconds


def _too_late(request: httpx.Request) -> httpx.PoolTimeout:
    return httpx.PoolTimeout("no connection became free in time", request=request)
