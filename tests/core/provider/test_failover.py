"""Which host is asked first, which failures pass a request on, and for how long a host rests."""

from __future__ import annotations

import pickle
from dataclasses import replace

import pytest

from llama_guard_core.errors import ProviderError, RateLimited, RequestRejected
from llama_guard_core.provider.connection import Connection
from llama_guard_core.provider.failover import HostOrder, patience_among_several
from llama_guard_core.provider.failures import failure
from llama_guard_core.provider.hosts import Host
from llama_guard_core.provider.known_hosts import OPENROUTER, TOGETHER

HOSTS = [Host(name=name, base_url=f"http://{name}/v1") for name in ("one", "two", "three")]
MOVES_ON = (
    "server", "connection", "timeout", "cut", "empty", "malformed", "rate_limit", "daily_limit", "payment", "not_found",
)  # fmt: skip
STAYS = ("authentication", "permission", "invalid_request", "context_length", "too_large")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def failed(reason: str, **facts: object) -> ProviderError:
    return failure(reason=reason, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize("reason", MOVES_ON)
def test_the_next_host_is_asked_where_one_is_down_or_at_a_limit_or_has_not_the_model(reason: str, clock: Clock) -> None:
    order = HostOrder(HOSTS, clock)
    assert order.moves_on(0, failed(reason))
    assert [1, 2, 0] == order.candidates()


@pytest.mark.parametrize("reason", STAYS)
def test_what_somebody_must_mend_is_not_hidden_by_another_host(reason: str, clock: Clock) -> None:
    order = HostOrder(HOSTS, clock)
    assert not order.moves_on(0, failed(reason))
    assert [0, 1, 2] == order.candidates()


def test_a_limit_on_tokens_that_leaves_no_room_for_a_reply_is_not_the_hosts_failure(clock: Clock) -> None:
    order = HostOrder(HOSTS, clock)
    assert not order.moves_on(0, failed("empty", retryable=False))
    assert [0, 1, 2] == order.candidates()


def test_a_host_alone_never_moves_on(clock: Clock) -> None:
    order = HostOrder(HOSTS[:1], clock)
    assert not order.moves_on(0, failed("server"))
    assert [0] == order.candidates()


def test_a_host_that_was_down_is_the_first_again_after_its_rest(clock: Clock) -> None:
    order = HostOrder(HOSTS, clock)
    order.moves_on(0, failed("server"))
    clock.now += 29.9
    assert [1, 2, 0] == order.candidates()
    clock.now += 0.1
    assert [0, 1, 2] == order.candidates()


@pytest.mark.parametrize(
    ("reason", "facts", "rest"),
    [
        ("rate_limit", {"retry_after": 90.0}, 90.0),
        ("rate_limit", {"retry_after": 3.0}, 30.0),
        ("rate_limit", {}, 30.0),
        ("not_found", {}, 600.0),
        ("payment", {}, 600.0),
        ("daily_limit", {}, 600.0),
        ("daily_limit", {"retry_after": 7200.0}, 7200.0),
    ],
)
def test_a_rest_is_as_long_as_the_host_asks_or_as_what_it_lacks_takes(
    reason: str, facts: dict[str, float], rest: float, clock: Clock
) -> None:
    order = HostOrder(HOSTS, clock)
    order.moves_on(0, failed(reason, **facts))
    clock.now += rest - 0.1
    assert 0 == order.candidates()[-1]
    clock.now += 0.1
    assert 0 == order.candidates()[0]


def test_each_host_rests_as_long_as_its_record_says(clock: Clock) -> None:
    order = HostOrder([replace(HOSTS[0], rest=5.0), replace(HOSTS[1], rest=0.0), HOSTS[2]], clock)
    order.moves_on(0, failed("server"))
    order.moves_on(1, failed("not_found", retry_after=60.0))
    assert [1, 2, 0] == order.candidates()
    clock.now += 5
    assert [0, 1, 2] == order.candidates()


def test_where_all_are_at_rest_the_one_whose_rest_ends_first_is_asked_first(clock: Clock) -> None:
    order = HostOrder(HOSTS, clock)
    order.moves_on(0, failed("not_found"))
    clock.now += 1
    order.moves_on(2, failed("server"))
    clock.now += 1
    order.moves_on(1, failed("server"))
    assert [2, 1, 0] == order.candidates()


def test_when_all_have_failed_one_error_names_each_host_and_its_reason() -> None:
    order = HostOrder([OPENROUTER, TOGETHER])
    errors = [(0, failed("not_found", status=404)), (1, failed("rate_limit", status=429, retry_after=20.0))]
    error = order.all_failed(errors)
    assert isinstance(error, RequestRejected)
    assert "OpenRouter: not_found; Together: rate_limit" in str(error)
    assert ("not_found", 404, True, 20.0) == (error.reason, error.status, error.retryable, error.retry_after)
    assert isinstance(order.all_failed(errors[::-1]), RateLimited)


def test_the_error_of_a_host_alone_is_its_own() -> None:
    error = failed("server")
    assert error is HostOrder([OPENROUTER]).all_failed([(0, error)])


def test_a_copy_knows_the_hosts_and_nothing_of_their_rests() -> None:
    order = HostOrder(HOSTS)
    order.moves_on(0, failed("server"))
    assert [0, 1, 2] == pickle.loads(pickle.dumps(order)).candidates()  # noqa: S301


def test_who_has_another_host_to_ask_does_not_wait_long_for_one() -> None:
    patience = patience_among_several(Connection(max_retries=3))
    assert 0.5 == patience.wait_before_retry(3, failed("rate_limit", retry_after=0.5), 0.0)
    assert patience.wait_before_retry(4, failed("rate_limit", retry_after=0.5), 0.0) is None
    assert patience.wait_before_retry(1, failed("rate_limit", retry_after=20.0), 0.0) is None
