"""The clients against a fake host: what is sent, what is repeated, what a failure becomes."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
from contextlib import aclosing, closing
from typing import Any

import httpx
import pytest
from fake_provider import FAILURES, FakeProvider, Fault
from pydantic import SecretStr

from llama_guard_core.errors import (
    AuthenticationFailed,
    ConfigurationError,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    RequestRejected,
    UnexpectedResponse,
)
from llama_guard_core.provider.chunks import collected
from llama_guard_core.provider.client import AsyncChatClient, ChatClient
from llama_guard_core.provider.connection import Connection, Timeouts
from llama_guard_core.provider.hosts import host_for
from llama_guard_core.provider.retry_policy import RetryPolicy
from llama_guard_core.provider.wire import Completion

KEY = SecretStr("sk-or-v1-0123456789abcdef")
REQUEST = {
    "model": "meta-llama/llama-4-scout",
    "messages": [{"role": "user", "content": "Hello, wondrous walnut tree."}],
    "max_tokens": 64,
}
AT_ONCE = RetryPolicy(max_retries=2, first_wait=0.0)
IMPATIENT = Timeouts(connect=2.0, read=0.2, total=0.4)
COLOURS = ["sync", "async"]
MANNERS = ["whole", "streamed"]


class Caller:
    """One way of calling, so that a test can be written once for the four of them."""

    def __init__(self, colour: str, manner: str) -> None:
        self.colour, self.manner = colour, manner

    async def __call__(
        self, provider, *, request=REQUEST, retry_policy=AT_ONCE, http_client=None, **settings
    ) -> Completion:
        settings["host"] = host_for(settings.pop("base_url", None))
        connection = Connection(**{"api_key": KEY, **settings})
        if self.colour == "sync":
            own = http_client or (None if provider is None else provider.client())
            with ChatClient(connection, http_client=own, retry_policy=retry_policy) as client:
                return client.complete(request) if self.manner == "whole" else collected(client.stream(request))
        own = http_client or (None if provider is None else provider.async_client())
        async with AsyncChatClient(connection, http_client=own, retry_policy=retry_policy) as client:
            if self.manner == "whole":
                return await client.complete(request)
            return collected([chunk async for chunk in client.stream(request)])


@pytest.fixture(params=[(colour, manner) for colour in COLOURS for manner in MANNERS], ids="-".join)
def call(request):
    return Caller(*request.param)


async def test_all_four_ways_give_the_same_reply(call):
    provider = FakeProvider(chat=["Good morning."])
    completion = await call(provider)
    assert ("Good morning.", "stop") == (completion.text, completion.finish_reason)
    assert completion.usage.output_tokens > 0
    assert [] == provider.violations
    assert 0 == provider.responses_open


async def test_the_request_is_sent_as_it_was_given(call):
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"choices": [{"message": {"content": "x"}}]})

    transport = httpx.MockTransport(handle)
    own = httpx.Client(transport=transport) if call.colour == "sync" else httpx.AsyncClient(transport=transport)
    request = {"model": "m", "messages": [{"role": "user", "content": "ä\ud83d"}]}
    await call(None, http_client=own, request=request, base_url="http://host/v1/", default_headers={"X-A": "b"})
    sent = json.loads(seen[0].content)
    assert {**request, "messages": [{"role": "user", "content": "ä?"}]} | (
        {"stream": True} if call.manner == "streamed" else {}
    ) == sent
    assert ("POST", "http://host/v1/chat/completions") == (seen[0].method, str(seen[0].url))
    headers = seen[0].headers
    assert ("Bearer sk-or-v1-0123456789abcdef", "application/json", "b") == (
        headers["authorization"],
        headers["content-type"],
        headers["x-a"],
    )
    assert headers["user-agent"].startswith("llama-guardrails")
    assert not own.is_closed


@pytest.mark.parametrize("fault", FAILURES, ids=str)
async def test_every_failure_is_one_typed_error_without_the_request_in_it(call, fault):
    provider = FakeProvider().fail(fault)
    if call.manner == "whole" and "stream" in str(fault):
        provider = FakeProvider().fail(Fault.error_with_200())
    with pytest.raises(ProviderError) as caught:
        await call(provider, retry_policy=RetryPolicy(max_retries=0), timeout=IMPATIENT)
    error = caught.value
    assert "walnut" not in f"{error!r}{error}{vars(error)}"
    assert "0123456789" not in f"{error!r}{error}{vars(error)}"
    assert (None, None) == (error.__cause__, error.__context__)
    assert 0 == provider.responses_open


@pytest.mark.parametrize("retries", [0, 1, 3])
async def test_a_passing_failure_is_repeated_exactly_so_often(call, retries):
    provider = FakeProvider().fail(Fault.status(503))
    with pytest.raises(ProviderUnavailable):
        await call(provider, retry_policy=RetryPolicy(max_retries=retries, first_wait=0.0))
    assert retries + 1 == provider_calls(provider)


async def test_the_connection_says_how_often(call):
    provider = FakeProvider().fail(Fault.status(500))
    with pytest.raises(ProviderUnavailable):
        await call(provider, retry_policy=None, max_retries=0)
    assert 1 == provider_calls(provider)


def provider_calls(provider: FakeProvider) -> int:
    return len(provider.requests)


RETRIED = [
    *(Fault.status(status) for status in (408, 429, 500, 502, 503, 504, 529)),
    Fault.error_with_200(),
    Fault.choice_error(),
    Fault.all_null(),
    Fault.empty(),
    Fault.blank_body(),
    Fault.truncated_json(),
    Fault.cut("before_headers"),
    Fault.cut("in_body", body_bytes=1),
    Fault.stall("before_headers"),
]
FINAL = [*(Fault.status(status) for status in (400, 401, 402, 403, 404, 413)), Fault.daily_limit(), Fault.html(200)]


@pytest.mark.parametrize("fault", RETRIED, ids=str)
async def test_what_may_pass_is_tried_again(call, fault):
    provider = FakeProvider(chat=["At last."] * 3).fail(fault, first=1)
    try:
        completion = await call(provider)
    except ProviderError:
        # Text that was handed out already is never asked for again.
        assert ("streamed", 1) == (call.manner, provider_calls(provider))
        assert str(fault) in {str(Fault.choice_error()), str(Fault.truncated_json())}
    else:
        assert "At last." == completion.text
        assert 2 == provider_calls(provider)


@pytest.mark.parametrize("fault", FINAL, ids=str)
async def test_what_cannot_pass_is_not(call, fault):
    provider = FakeProvider().fail(fault, first=1)
    with pytest.raises((RequestRejected, AuthenticationFailed, RateLimited, UnexpectedResponse)):
        await call(provider)
    assert 1 == provider_calls(provider)


@pytest.mark.parametrize("colour", COLOURS)
async def test_nothing_is_repeated_once_text_was_handed_out(colour):
    provider = FakeProvider(chat=["One two three four five six."]).fail(Fault.stream_error(1, after=4))
    seen: list[str] = []

    async def take_all() -> None:
        connection = Connection(api_key=KEY)
        if colour == "sync":
            chunks = ChatClient(connection, http_client=provider.client(), retry_policy=AT_ONCE).stream(REQUEST)
            seen.extend(chunk.text for chunk in chunks)
        else:
            client = AsyncChatClient(connection, http_client=provider.async_client(), retry_policy=AT_ONCE)
            async for chunk in client.stream(REQUEST):
                seen.append(chunk.text)  # noqa: PERF401 (what came before the error counts)

    with pytest.raises(ProviderUnavailable):
        await take_all()
    assert 1 == provider_calls(provider)
    assert "One two three four five six.".startswith("".join(seen))
    assert "" != "".join(seen)


async def test_a_host_that_answers_a_stream_with_a_whole_reply_is_read(call):
    handle = httpx.MockTransport(
        lambda _: httpx.Response(
            200,
            content=b'\n  \n{"choices":[{"message":{"content":"whole","tool_calls":[{"id":"1","function":{"name":"f"}}]},"finish_reason":"stop"}]}',
        )
    )
    own = httpx.Client(transport=handle) if call.colour == "sync" else httpx.AsyncClient(transport=handle)
    completion = await call(None, http_client=own)
    assert ("whole", "stop", "{}") == (completion.text, completion.finish_reason, completion.tool_calls[0].arguments)


async def test_a_redirect_is_not_followed(call):
    handle = httpx.MockTransport(lambda _: httpx.Response(308, headers={"location": "http://elsewhere/v1"}))
    own = (
        httpx.Client(transport=handle, follow_redirects=True)
        if call.colour == "sync"
        else httpx.AsyncClient(transport=handle, follow_redirects=True)
    )
    with pytest.raises(RequestRejected, match="set base_url to the final address"):
        await call(None, http_client=own)


async def test_a_closed_client_of_the_users_is_said_to_be_closed(call):
    own = httpx.Client() if call.colour == "sync" else httpx.AsyncClient()
    own.close() if call.colour == "sync" else await own.aclose()
    with pytest.raises(ConfigurationError, match="closed"):
        await call(None, http_client=own)


async def test_without_a_key_the_first_call_says_which_variable_to_set(call, monkeypatch):
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="OPENROUTER_API_KEY"):
        await call(FakeProvider(), api_key=None)


@pytest.mark.parametrize("value", [{1, 2}, float("nan")])
async def test_a_request_that_is_no_json_is_refused(call, value):
    with pytest.raises(ConfigurationError, match="JSON"):
        await call(FakeProvider(), request={**REQUEST, "seed": value})


async def test_the_users_own_timeouts_hold_unless_others_are_set(call):
    seen: list[Any] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request.extensions["timeout"]["read"])
        return httpx.Response(200, json={"choices": [{"message": {"content": "x"}}]})

    for settings in (
        {},
        {"timeout": 7.0},
        {"timeout": Timeouts(1.0, None, 3.0)},
        {"timeout": httpx.Timeout(2.0)},
        {"timeout": None},
    ):
        transport = httpx.MockTransport(handle)
        own = (
            httpx.Client(transport=transport, timeout=99.0)
            if call.colour == "sync"
            else httpx.AsyncClient(transport=transport, timeout=99.0)
        )
        await call(None, http_client=own, **settings)
    assert [99.0, 7.0, 3.0, 2.0, None] == seen


async def test_nothing_that_was_said_is_logged(call, caplog):
    caplog.set_level(logging.DEBUG, logger="llama_guard_core")
    await call(FakeProvider(chat=["A walnut is a nut."]))
    assert [] == [record for record in caplog.records if record.name.startswith("llama_guard_core")]


def test_a_client_shows_its_host_and_nothing_else():
    assert "ChatClient('OpenRouter')" == repr(ChatClient(Connection(api_key=KEY, default_headers={"X-A": "secret"})))


# What follows needs a real connection.


@pytest.mark.parametrize(
    "fault",
    [
        Fault.endless(),
        Fault.stall("before_headers"),
        Fault.stall("in_headers"),
        Fault.stall("in_body"),
        Fault.endless(body_bytes=400),
    ],
    ids=str,
)
async def test_a_host_that_never_ends_is_given_up(call, fault):
    provider = FakeProvider().fail(fault)
    with provider.serve() as base_url, pytest.raises(ProviderUnavailable) as caught:
        await call(None, base_url=base_url, timeout=IMPATIENT, retry_policy=RetryPolicy(max_retries=0))
    assert ("timeout", True) == (caught.value.reason, caught.value.retryable)


@pytest.mark.parametrize("where", ["before_headers", "in_headers", "in_body"])
async def test_a_connection_that_is_cut_is_a_typed_error(call, where):
    provider = FakeProvider().fail(Fault.cut(where))
    with provider.serve() as base_url, pytest.raises(ProviderUnavailable) as caught:
        await call(None, base_url=base_url, retry_policy=RetryPolicy(max_retries=0))
    assert ("cut", True) == (caught.value.reason, caught.value.retryable)


async def test_nobody_at_the_address_is_a_typed_error(call, unused_tcp_port):
    with pytest.raises(ProviderUnavailable) as caught:
        await call(None, base_url=f"http://127.0.0.1:{unused_tcp_port}/v1")
    assert ("connection", True) == (caught.value.reason, caught.value.retryable)


async def test_calls_one_after_another_share_a_connection_streamed_ones_too():
    provider = FakeProvider(chat=["x"] * 8)
    with provider.serve() as base_url:
        connection = Connection(api_key=KEY, host=host_for(base_url))
        with ChatClient(connection) as client:
            for _ in range(2):
                client.complete(REQUEST)
                list(client.stream(REQUEST))
        made_by_sync = provider.connections_made
        async with AsyncChatClient(connection) as client:
            for _ in range(2):
                await client.complete(REQUEST)
                [chunk async for chunk in client.stream(REQUEST)]
        assert (1, 2) == (made_by_sync, provider.connections_made)


@pytest.mark.parametrize("colour", COLOURS)
async def test_closing_a_stream_early_closes_the_connection(colour):
    provider = FakeProvider(chat=["A long story about nuts. " * 40]).fail(Fault.endless(body_bytes=4000))
    with provider.serve() as base_url:
        connection = Connection(api_key=KEY, host=host_for(base_url), timeout=IMPATIENT)
        if colour == "sync":
            with ChatClient(connection) as client, closing(client.stream(REQUEST)) as chunks:
                assert next(chunks).text
        else:
            async with AsyncChatClient(connection) as client, aclosing(client.stream(REQUEST)) as chunks:
                assert (await anext(chunks)).text
        assert provider.wait_for_connections(0, within=5.0)


async def test_a_cancelled_call_leaves_nothing_half_read_behind():
    provider = FakeProvider(chat=["fine"] * 3).fail(Fault.stall("in_body"), first=1)
    with provider.serve() as base_url:
        async with AsyncChatClient(Connection(api_key=KEY, host=host_for(base_url))) as client:
            task = asyncio.ensure_future(client.complete(REQUEST))
            while not provider.requests:  # noqa: ASYNC110 (it is filled by a thread)
                await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert "fine" == (await client.complete(REQUEST)).text


def test_one_client_serves_several_event_loops_one_after_another():
    provider = FakeProvider(chat=["x"] * 3)
    with provider.serve() as base_url:
        client = AsyncChatClient(Connection(api_key=KEY, host=host_for(base_url)))
        texts = [asyncio.run(client.complete(REQUEST)).text for _ in range(3)]
        assert ["x"] * 3 == texts
        assert provider.wait_for_connections(0, within=5.0)


def test_a_loop_that_was_closed_carelessly_does_no_harm():
    provider = FakeProvider(chat=["x"] * 3)
    with provider.serve() as base_url:
        client = AsyncChatClient(Connection(api_key=KEY, host=host_for(base_url)))
        careless = asyncio.new_event_loop()
        careless.run_until_complete(client.complete(REQUEST))
        careless.run_until_complete(client.aclose())
        careless.close()
        assert "x" == asyncio.run(client.complete(REQUEST)).text


async def test_a_forgotten_client_closes_its_connections():
    provider = FakeProvider(chat=["x"] * 2)
    with provider.serve() as base_url:
        await AsyncChatClient(Connection(api_key=KEY, host=host_for(base_url))).complete(REQUEST)
        ChatClient(Connection(api_key=KEY, host=host_for(base_url))).complete(REQUEST)
        gc.collect()
        for _ in range(500):
            if provider.connections_open == 0:
                break
            await asyncio.sleep(0.01)
        assert 0 == provider.connections_open


async def test_many_calls_at_once_are_answered_each_with_its_own():
    provider = FakeProvider(chat=lambda received: received.body["messages"][-1]["content"])
    with provider.serve() as base_url:
        async with AsyncChatClient(Connection(api_key=KEY, host=host_for(base_url))) as client:
            requests = [{**REQUEST, "messages": [{"role": "user", "content": f"number {n}"}]} for n in range(40)]
            replies = await asyncio.gather(*map(client.complete, requests))
    assert [f"number {n}" for n in range(40)] == [reply.text for reply in replies]


def test_a_client_may_be_used_again_after_it_was_closed():
    provider = FakeProvider(chat=["x"] * 2)
    with provider.serve() as base_url:
        client = ChatClient(Connection(api_key=KEY, host=host_for(base_url)))
        client.complete(REQUEST)
        client.close()
        assert "x" == client.complete(REQUEST).text
        client.close()


def test_making_clients_opens_nothing(monkeypatch):
    monkeypatch.setattr("ssl.create_default_context", lambda *_, **__: pytest.fail("a TLS context was made"))
    ChatClient(Connection()).close()
    AsyncChatClient(Connection())


@pytest.mark.parametrize("colour", COLOURS)
async def test_who_mocks_the_transports_of_httpx_finds_requests_as_httpx_makes_them(
    colour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[httpx.Request] = []
    provider = FakeProvider()

    def handle(_: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return provider.handle(request)

    async def ahandle(_: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        return handle(_, request)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", handle)
    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", ahandle)
    connection = Connection(host=host_for("https://somewhere.test:8443/api/v1"), api_key=KEY)
    if colour == "sync":
        with ChatClient(connection) as client:
            client.complete(REQUEST)
    else:
        async with AsyncChatClient(connection) as client:
            await client.complete(REQUEST)
    assert REQUEST == json.loads(seen[0].content)
    headers = {name: seen[0].headers.get(name) for name in ("host", "content-length", "authorization")}
    expected = {"host": "somewhere.test:8443", "content-length": str(len(seen[0].content))}
    assert {**expected, "authorization": f"Bearer {KEY.get_secret_value()}"} == headers
