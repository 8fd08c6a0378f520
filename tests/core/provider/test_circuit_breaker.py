"""A circuit breaker of a library stops what would be sent to a host that is down, and nothing else."""

from __future__ import annotations

import pytest
from circuitbreaker import CircuitBreaker
from fake_provider import FakeProvider, Fault

from llama_guard_core import GuardUnavailable, Host, LlamaGuard
from llama_guard_core.errors import ProviderUnavailable
from llama_guard_core.provider.client import AsyncChatClient, ChatClient
from llama_guard_core.provider.connection import Connection

GUARD = "meta-llama/llama-guard-4-12b"
COLOURS = pytest.mark.parametrize("colour", ["sync", "async"])


def _host(breaker: CircuitBreaker, name: str = "h") -> Host:
    address = f"http://{name}.test/api/v1"
    return Host(name=name, base_url=address, api_key="k", guard_model=GUARD, circuit_breaker=breaker)


def _guard(provider: FakeProvider, *hosts: Host) -> LlamaGuard:
    clients = {"http_client": provider.client(), "http_async_client": provider.async_client()}
    return LlamaGuard(host=hosts, max_retries=0, cache=False, **clients)


async def _check(guard: LlamaGuard, colour: str, text: str = "rain") -> bool | str:
    try:
        return (guard.check(text) if colour == "sync" else await guard.acheck(text)).safe
    except GuardUnavailable as error:
        return error.reason


@COLOURS
async def test_after_so_many_failures_nothing_is_sent_for_a_while(colour: str) -> None:
    provider = FakeProvider().fail(Fault.status(503), first=2)
    breaker = CircuitBreaker(failure_threshold=2, recovery_timeout=60)
    guard = _guard(provider, _host(breaker))
    assert ["server"] * 4 == [await _check(guard, colour) for _ in range(4)]
    assert 2 == len(provider.requests)
    with pytest.raises(GuardUnavailable, match="circuit breaker is open"):
        guard.check("rain")
    breaker.reset()
    assert await _check(guard, colour) is True


@COLOURS
async def test_one_success_begins_the_count_anew(colour: str) -> None:
    provider = FakeProvider().fail(Fault.status(503), nth=1).fail(Fault.status(503), nth=3)
    guard = _guard(provider, _host(CircuitBreaker(failure_threshold=2, recovery_timeout=60)))
    assert ["server", True, "server", True] == [await _check(guard, colour) for _ in range(4)]


@COLOURS
@pytest.mark.parametrize("status", [400, 401, 403, 413])
async def test_that_a_request_is_refused_does_not_open_it(colour: str, status: int) -> None:
    provider = FakeProvider().fail(Fault.status(status), first=5)
    guard = _guard(provider, _host(CircuitBreaker(failure_threshold=2, recovery_timeout=60)))
    for _ in range(5):
        await _check(guard, colour)
    assert await _check(guard, colour) is True


@COLOURS
async def test_in_a_list_the_next_host_is_asked_while_one_is_open(colour: str) -> None:
    provider = FakeProvider().fail(Fault.status(503), first=1)
    guard = _guard(provider, _host(CircuitBreaker(failure_threshold=1, recovery_timeout=60), "one"), _host(None, "two"))
    assert [True, True] == [await _check(guard, colour) for _ in range(2)]


@COLOURS
async def test_a_stream_counts_like_a_whole_reply(colour: str) -> None:
    provider = FakeProvider().fail(Fault.cut("in_body"), first=1)
    connection = Connection(host=_host(CircuitBreaker(failure_threshold=1, recovery_timeout=60)), max_retries=0)
    request = {"model": "meta-llama/llama-4-scout", "messages": [{"role": "user", "content": "Hello."}]}

    async def stream() -> None:
        if colour == "sync":
            list(ChatClient(connection, http_client=provider.client()).stream(request))
        else:
            [_ async for _ in AsyncChatClient(connection, http_client=provider.async_client()).stream(request)]

    for _ in range(2):
        with pytest.raises(ProviderUnavailable):
            await stream()
    assert 1 == len(provider.requests)


def test_a_breaker_keeps_nothing_of_what_was_asked(provider: FakeProvider) -> None:
    provider.fail(Fault.status(503))
    breaker = CircuitBreaker(failure_threshold=1, recovery_timeout=60)
    guard = _guard(provider, _host(breaker))
    with pytest.raises(GuardUnavailable):
        guard.check("the darling of the KNIFE")
    assert breaker.last_failure is not None
    assert breaker.last_failure.__traceback__ is None
