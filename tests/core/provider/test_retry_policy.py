"""Whether to try again, and after how long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_guard_core.errors import ProviderUnavailable, RateLimited, RequestRejected
from llama_guard_core.provider.retry_policy import RetryPolicy

PASSING = ProviderUnavailable("x", reason="server", retryable=True)


def limited(retry_after: float) -> RateLimited:
    return RateLimited("x", reason="rate_limit", retryable=True, retry_after=retry_after)


@given(st.integers(0, 6))
def test_exactly_so_many_retries_are_made(max_retries):
    policy = RetryPolicy(max_retries=max_retries)
    assert [True] * max_retries + [False] == [
        policy.wait_before_retry(attempt, PASSING, 0.5) is not None for attempt in range(1, max_retries + 2)
    ]


def test_what_cannot_pass_is_not_retried():
    assert RetryPolicy().wait_before_retry(1, RequestRejected("x", reason="payment"), 0.5) is None


def test_waits_double_up_to_the_longest():
    assert [0.5, 1.0, 2.0, 4.0, 8.0, 8.0] == [
        RetryPolicy(max_retries=9).wait_before_retry(attempt, PASSING, 1.0) for attempt in range(1, 7)
    ]


@given(st.integers(1, 5000), st.floats(0, 1))
def test_jitter_shortens_a_wait_by_half_at_most(attempt, jitter):
    policy = RetryPolicy(max_retries=5000)
    full = policy.wait_before_retry(attempt, PASSING, 1.0)
    assert full / 2 <= policy.wait_before_retry(attempt, PASSING, jitter) <= full


@pytest.mark.parametrize(("asked", "expected"), [(0.0, 0.0), (7.25, 7.25), (60.0, 60.0), (61.0, None)])
def test_the_host_is_waited_for_as_long_as_it_asks_or_not_at_all(asked, expected):
    assert expected == RetryPolicy().wait_before_retry(1, limited(asked), 0.3)
