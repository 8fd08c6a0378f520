"""When a call has to be done, whatever trickles in until then, also for sync code, which nothing can cancel.

The HTTP library bounds each step of a call by itself (a read, a write), and a host that sends a byte now and then
makes any number of steps. It hands a step's timeout to the connection, though; so the timeout itself knows the end of
the call.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

import httpcore
import httpx
from typing_extensions import Self

if TYPE_CHECKING:
    import anyio

_WRITTEN_AT_ONCE = 16 * 1024  # bytes


class Until(float):
    """Seconds that one step may take, of a call that has to be done by a time.

    Attributes:
        deadline: that time, by the monotonic clock; `None` for no end.
    """

    deadline: float | None

    def __new__(cls, seconds: float, deadline: float | None) -> Self:
        """The seconds of a step, and the end of the call."""
        until = super().__new__(cls, seconds)
        until.deadline = deadline
        return until

    def left(self) -> float:
        """What the next step may take: 0 or less if the call has to be done already."""
        return float(self) if self.deadline is None else min(self, self.deadline - monotonic())


def set_deadline(request: httpx.Request, seconds: float | None) -> None:
    """Let a call that is under way end by another time; one that is bounded in steps alone stays as it is.

    Args:
        request: what was sent.
        seconds: from now; `None` for no end.
    """
    timeouts: Mapping[str, Any] = request.extensions.get("timeout") or {}
    for until in timeouts.values():
        if isinstance(until, Until):
            until.deadline = None if seconds is None else monotonic() + seconds


def keep_deadlines(*transports: httpx.BaseTransport | None) -> None:
    """Have an `Until` hold on the connections of these."""
    for transport in transports:
        if isinstance(transport, httpx.HTTPTransport):
            transport._pool._network_backend = DeadlineBackend()  # noqa: SLF001 (httpx has no setting for it)


def sleep(seconds: float) -> None:
    """Wait; for nothing, not at all: `time.sleep(0)` gives the processor away."""
    if seconds:
        time.sleep(seconds)


async def asleep(seconds: float) -> None:
    """Wait; see `sleep`."""
    if not seconds:
        return
    import anyio  # noqa: PLC0415 (sync users need not pay for it)

    await anyio.sleep(seconds)


def moving_on_at(deadline: float | None) -> anyio.CancelScope:
    """Leave what is within at that time, by the monotonic clock; `None` for never."""
    import anyio  # noqa: PLC0415 (as above)

    return anyio.move_on_after(None if deadline is None else max(0.0, deadline - monotonic()))


class DeadlineBackend(httpcore.NetworkBackend):
    """The usual connections, each step of which may take as long as is left of the whole."""

    def __init__(self) -> None:
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, *args: Any, **kwargs: Any
    ) -> httpcore.NetworkStream:
        """Connect."""
        seconds = seconds_left(timeout, httpcore.ConnectTimeout)
        return DeadlineStream(self._backend.connect_tcp(host, port, seconds, *args, **kwargs))


class DeadlineStream(httpcore.NetworkStream):
    """A connection on which each step may take as long as is left of the whole."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read some bytes."""
        return self._stream.read(max_bytes, seconds_left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all bytes, a few at a time: the host may be slow to take them."""
        for begin in range(0, len(buffer), _WRITTEN_AT_ONCE):
            self._stream.write(buffer[begin : begin + _WRITTEN_AT_ONCE], seconds_left(timeout, httpcore.WriteTimeout))

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Go on in TLS."""
        seconds = seconds_left(timeout, httpcore.ConnectTimeout)
        return DeadlineStream(self._stream.start_tls(ssl_context, server_hostname, seconds))

    def get_extra_info(self, info: str) -> Any:
        """What the connection knows of itself."""
        return self._stream.get_extra_info(info)

    def close(self) -> None:
        """Close it."""
        self._stream.close()


def seconds_left(timeout: float | None, too_late: type[httpcore.TimeoutException]) -> float | None:
    """What a step may take; `None` for any time.

    Args:
        timeout: as it was handed to the connection, an `Until` or plain seconds.
        too_late: raised where nothing is left.
    """
    seconds = timeout.left() if isinstance(timeout, Until) else timeout
    if seconds is not None and seconds <= 0:
        raise too_late
    return None if seconds == inf else seconds
