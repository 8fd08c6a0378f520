"""A TLS handshake that is given up closes its socket.

httpcore closes it when a handshake fails, but not when it is cancelled, nor when the time for it and for the whole call
end together: its own closing is cancelled then. The socket would stay open until it is collected.
"""

from __future__ import annotations

from typing import Any

import httpcore
import httpx


def close_broken_handshakes(transport: httpx.AsyncHTTPTransport) -> httpx.AsyncHTTPTransport:
    """The same transport, which leaves no socket open that a handshake was given up on."""
    transport._pool._network_backend = _Backend()  # noqa: SLF001 (httpx has no setting for it)
    return transport


class _Backend(httpcore.AsyncNetworkBackend):
    """The usual connections, with handshakes that close."""

    def __init__(self) -> None:
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(self, *args: Any, **kwargs: Any) -> httpcore.AsyncNetworkStream:
        """Connect."""
        return _Stream(await self._backend.connect_tcp(*args, **kwargs))


class _Stream(httpcore.AsyncNetworkStream):
    """A connection before its handshake; behind it, it is httpcore's own."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        # Plain HTTP goes on with this very stream, at each step: nothing may stand between.
        self.read, self.write = stream.read, stream.write  # type: ignore[method-assign]
        self.aclose, self.get_extra_info = stream.aclose, stream.get_extra_info  # type: ignore[method-assign]

    async def start_tls(self, *args: Any, **kwargs: Any) -> httpcore.AsyncNetworkStream:
        """Go on in TLS."""
        import anyio  # noqa: PLC0415 (sync users need not pay for it)

        try:
            return await self._stream.start_tls(*args, **kwargs)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._stream.aclose()
            raise
