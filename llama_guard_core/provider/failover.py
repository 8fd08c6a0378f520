"""Which of several hosts is asked, and whether the next one is when it fails."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from llama_guard_core.errors import FailureReason, ProviderError
from llama_guard_core.provider.connection import Connection
from llama_guard_core.provider.failures import failure
from llama_guard_core.provider.hosts import Host
from llama_guard_core.provider.retry_policy import RetryPolicy

_IS_DOWN: frozenset[FailureReason] = frozenset({"server", "connection", "timeout", "cut", "empty", "malformed"})
_IS_AT_ITS_LIMIT: frozenset[FailureReason] = frozenset({"rate_limit", "daily_limit", "payment"})
_HAS_WITHDRAWN_IT: frozenset[FailureReason] = frozenset({"not_found"})
_LONG_REST = 600.0  # seconds: what was withdrawn or spent does not come back soon
_LONGEST_RETRY_AFTER = 2.0  # seconds: who has another host to ask does not wait longer for this one
_MOVES_ON = _IS_DOWN | _IS_AT_ITS_LIMIT | _HAS_WITHDRAWN_IT
_log = logging.getLogger(__name__)


def is_down(error: ProviderError) -> bool:
    """Whether a failure says that the host cannot serve now, whatever it is asked: not that a request is wrong."""
    return error.reason in _IS_DOWN | _IS_AT_ITS_LIMIT


class HostOrder:
    """The hosts in the order they are asked; those that failed lately come last.

    The next host is asked where one is down, at a limit, or has withdrawn the model. It is not where a host says that
    the request, the key or the account's settings are wrong: that is for somebody to mend, and to move all traffic
    away from it in silence would hide it. Safe to share between threads and event loops; it knows nothing of other
    processes.

    Args:
        hosts: in order of preference.
        clock: what tells the time, in seconds.
    """

    def __init__(self, hosts: Sequence[Host], clock: Callable[[], float] = time.monotonic) -> None:
        self._hosts = tuple(hosts)
        self._clock = clock
        self._rests_until = [0.0] * len(self._hosts)

    def __reduce__(self) -> tuple[type[HostOrder], tuple[Sequence[Host]]]:
        return type(self), (self._hosts,)

    def candidates(self) -> list[int]:
        """Positions of the hosts to ask, in order. Those at rest come last, by the time their rest ends."""
        now = self._clock()
        return sorted(range(len(self._hosts)), key=lambda at: max(self._rests_until[at], now))

    def moves_on(self, at: int, error: ProviderError) -> bool:
        """Whether the next host may be asked after this failure; if so, the one that failed is put to rest.

        Args:
            at: the position of the host that failed.
            error: what it failed with.
        """
        if len(self._hosts) == 1 or error.reason not in _MOVES_ON:
            return False
        if error.reason == "empty" and not error.retryable:  # max_tokens left no room for a reply, here as anywhere
            return False
        host = self._hosts[at]
        withdrawn_or_spent = error.reason in _HAS_WITHDRAWN_IT or error.reason in ("daily_limit", "payment")
        rest = max(host.rest, error.retry_after or 0.0, _LONG_REST if withdrawn_or_spent else 0.0)
        self._rests_until[at] = self._clock() + (rest if host.rest > 0 else 0.0)
        _log.warning("%s failed (%s): the next host is asked", host.name, error.reason)
        return True

    def all_failed(self, errors: Sequence[tuple[int, ProviderError]]) -> ProviderError:
        """What to say when no host is left: one error of the first one's class, which names each host and its reason.

        Args:
            errors: the positions of those that were asked, and what each failed with.
        """
        if len(self._hosts) == 1:
            return errors[0][1]
        told = "; ".join(f"{self._hosts[at].name}: {error.reason}" for at, error in errors)
        waits = [error.retry_after for _, error in errors if error.retry_after is not None]
        first = errors[0][1]
        return failure(
            reason=first.reason,
            said=f"no host could answer ({told})",
            status=first.status,
            retryable=any(error.retryable for _, error in errors),
            retry_after=min(waits, default=None),
        )


def patience_among_several(connection: Connection) -> RetryPolicy:
    """How often a host is asked again before the next one of a list is: as often as ever, but without long waits."""
    return RetryPolicy(max_retries=connection.max_retries, longest_retry_after=_LONGEST_RETRY_AFTER)
