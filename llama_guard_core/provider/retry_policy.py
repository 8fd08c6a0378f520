"""Whether to try again, and after how long."""

from __future__ import annotations

from dataclasses import dataclass

from llama_guard_core.errors import ProviderError


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently a failed call is repeated.

    A router has already tried its other providers, so two repetitions are plenty. What is worth repeating is the
    error's own word (`ProviderError.retryable`): 408, 429, 5xx, connection failures, errors inside a 200 body, empty
    replies; not a spent credit, a daily limit or a withdrawn model.

    Attributes:
        max_retries: repetitions after the first attempt; 0 means none.
        first_wait: seconds before the first repetition; each further wait is twice as long.
        longest_wait: seconds no wait of ours exceeds.
        longest_retry_after: seconds; a host that asks for more is not waited for.
    """

    max_retries: int = 2
    first_wait: float = 0.5
    longest_wait: float = 8.0
    longest_retry_after: float = 60.0

    def wait_before_retry(self, attempt: int, error: ProviderError, jitter: float) -> float | None:
        """Seconds to wait before the next attempt, or None to stop.

        Args:
            attempt: how many attempts have failed so far, this one included.
            error: what the last one failed with.
            jitter: a random number from 0 to 1, so that many callers do not return at once. A wait the host asked
                for is kept exactly.
        """
        if attempt > self.max_retries or not error.retryable:
            return None
        if error.retry_after is not None:
            return error.retry_after if error.retry_after <= self.longest_retry_after else None
        longest = min(self.longest_wait, self.first_wait * 2.0 ** min(attempt - 1, 30))
        return longest * (0.5 + jitter / 2)
