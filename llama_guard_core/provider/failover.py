"""Which of several hosts is asked, and whether the next one is when it fails."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from llama_guard_core.errors import FailureReason, ProviderError
from llama_guard_core.provider.failures import failure
from llama_guard_core.provider.hosts import Host

_IS_DOWN: frozenset[FailureReason] = frozenset({"server", "connection", "timeout", "cut", "empty", "malformed"})
_IS_AT_ITS_LIMIT: frozenset[FailureReason] = frozenset({"rate_limit", "daily_limit", "payment"})
_HAS_WITHDRAWN_IT: frozenset[FailureReason] = frozenset({"not_found"})
_LONG_REST = 600.0  # seconds: what was withdrawn or spent does not come back soon
_MOVES_ON = _IS_DOWN | _IS_AT_ITS_LIMIT | _HAS_WITHDRAWN_IT
_log = logging.getLogger(__name__)


class HostOrder:
    """The hosts in the order they are asked; those that failed lately are passed over while another is left.

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
        """Positions of the hosts to ask, in order: all but those at rest, or all where all are."""
        now = self._clock()
        awake = [at for at, until in enumerate(self._rests_until) if until <= now]
        return awake or [*range(len(self._hosts))]

    def moves_on(self, at: int, error: ProviderError) -> bool:
        """Whether the next host may be asked after this failure; if so, the one that failed is put to rest.

        Args:
            at: the position of the host that failed.
            error: what it failed with.
        """
        if len(self._hosts) == 1 or error.reason not in _MOVES_ON:
            return False
        host = self._hosts[at]
        withdrawn_or_spent = error.reason in _HAS_WITHDRAWN_IT or error.reason in ("daily_limit", "payment")
        rest = max(host.rest, error.retry_after or 0.0, _LONG_REST if withdrawn_or_spent else 0.0)
        self._rests_until[at] = self._clock() + (rest if host.rest > 0 else 0.0)
        _log.warning("%s failed (%s): the next host is asked", host.name, error.reason)
        return True

    def all_failed(self, errors: Sequence[tuple[int, ProviderError]]) -> ProviderError:
        """What to say when no host is left.

        Args:
            errors: the positions of those that were asked, and what each failed with.
        """
        if len(self._hosts) == 1:
            return errors[0][1]
        told = "; ".join(f"{self._hosts[at].name}: {error.reason}" for at, error in errors)
        first = errors[0][1]
        return failure(
            reason=first.reason,
            said=f"so with each of the hosts that were asked ({told})",
            status=first.status,
            retryable=any(error.retryable for _, error in errors),
        )
