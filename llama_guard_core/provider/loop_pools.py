"""One of something for each event loop, closed by the loop it belongs to: connections cannot leave theirs."""

from __future__ import annotations

import threading
import weakref
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    import asyncio


class Closable(Protocol):
    """What holds connections of one event loop."""

    def aclose(self) -> Any:
        """Close them; awaited."""


P = TypeVar("P", bound=Closable)


class LoopPools(Generic[P]):
    """One async client for each running event loop, since a connection cannot leave the loop it was opened in.

    Each is held open by an asynchronous generator of its loop. Python itself closes such generators when the loop
    shuts down (`asyncio.run` does) and when nobody refers to them any more, so no connection outlives its loop and
    none is closed from a foreign one.
    """

    def __init__(self, open_one: Callable[[], P]) -> None:
        self._open_one = open_one
        self._lock = threading.Lock()
        self._held: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[P, AsyncGenerator[P, None]]] = (
            weakref.WeakKeyDictionary()
        )

    async def client(self) -> P:
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
        """Close the running loop's client, its sockets too. Those of other loops are closed by their loops."""
        known = self._held.pop(_running_loop(), None)
        if known is not None:
            import asyncio  # noqa: PLC0415 (sync users need not pay for it)

            await known[1].aclose()
            await asyncio.sleep(0)  # the turn in which asyncio closes the sockets


async def _held_open(open_one: Callable[[], P]) -> AsyncGenerator[P, None]:
    client = open_one()
    try:
        yield client
    finally:
        await client.aclose()


def _running_loop() -> asyncio.AbstractEventLoop:
    import asyncio  # noqa: PLC0415 (sync users need not pay for it)

    return asyncio.get_running_loop()
