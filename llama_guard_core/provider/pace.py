"""How many requests a second a host is sent.

Ours, since the libraries for it either serve async code alone, on one event loop, or keep a thread of their own; and
none says beforehand how long the wait would be, which is what a call with a deadline has to know.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from time import monotonic
from typing import Any

from llama_guard_core.errors import ConfigurationError


class Pace:
    """So many requests in so many seconds at most, repetitions included: `Host.named("groq", pace=Pace(30, per=60))`.

    All who use the same `Host` record share it: guards and chat models, sync and async, threads and event loops. It
    knows nothing of other processes; a copy in another process counts for itself. A call whose turn does not come in
    time fails with `rate_limit`, without having been sent. It counts turns: calls that wait for a connection after
    theirs (`max_connections`), or that a busy program sends late, may reach the host closer together.

    Args:
        requests: how many.
        per: in how many seconds.
        burst: how many may be sent at once after a pause.
        clock: what tells the time, in seconds.
    """

    def __init__(
        self, requests: float, *, per: float = 1.0, burst: int = 1, clock: Callable[[], float] = monotonic
    ) -> None:
        if not (requests > 0 and per > 0 and burst >= 1):
            msg = "a Pace needs requests and seconds above 0, and a burst of 1 or more"
            raise ConfigurationError(msg)
        self._settings = (requests, per, burst)
        self._apart = per / requests
        self._lead = self._apart * (burst - 1)
        self._clock = clock
        self._next = float("-inf")
        self._lock = Lock()

    def turn(self, within: float | None = None) -> float | None:
        """Take a turn.

        Args:
            within: the longest wait, in seconds; `None` for any.

        Returns:
            The seconds until it. `None` if that is longer than `within`; then no turn is taken.
        """
        with self._lock:
            now = self._clock()
            at = max(self._next, now - self._lead)
            wait = max(0.0, at - now)
            if within is not None and wait > within:
                return None
            self._next = at + self._apart
            return wait

    def __repr__(self) -> str:
        requests, per, burst = self._settings
        return f"{type(self).__name__}({requests:g}, per={per:g}, burst={burst})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), *self._settings)


def _again(kind: type[Pace], requests: float, per: float, burst: int) -> Pace:
    return kind(requests, per=per, burst=burst)
