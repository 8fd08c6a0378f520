"""What a library's circuit breaker has to be like to be used here."""

from __future__ import annotations

import copy
from types import TracebackType
from typing import Protocol, runtime_checkable

from llama_guard_core.errors import ProviderError
from llama_guard_core.provider.failover import is_down
from llama_guard_core.provider.failures import failure


@runtime_checkable
class CircuitBreaker(Protocol):
    """Counts failures, and says when there were too many: `circuitbreaker.CircuitBreaker`, or one with its attributes.

    It is entered and left around each attempt in sync and async code, and never waited for.
    """

    @property
    def opened(self) -> bool:
        """Whether nothing is to be sent."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Count how an attempt ended; no error, no failure."""


def check_closed(breaker: CircuitBreaker | None, host_name: str) -> None:
    """Refuse to send anything while a breaker is open.

    Raises:
        ProviderUnavailable: if it is.
    """
    if breaker is not None and breaker.opened:
        raise failure(reason="server", said=f"{host_name}: its circuit breaker is open", retryable=False)


def count_attempt(breaker: CircuitBreaker | None, error: ProviderError | None) -> None:
    """Tell a breaker how an attempt ended. That a host refuses a request or a key does not say that it is down."""
    if breaker is None:
        return
    if error is None or not is_down(error):
        breaker.__exit__(None, None, None)
    else:
        # A copy: breakers keep the last failure, and its traceback would keep what was asked.
        breaker.__exit__(type(error), copy.copy(error), None)
