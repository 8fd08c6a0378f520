"""ChatLlamaScout at one host or at several: who is asked when one fails, with what, and how many at once."""

from __future__ import annotations

import threading
from typing import Any

import httpx
import pytest
from fake_provider import SMALL_TALK, FakeProvider, Fault, Received, Reply
from langchain_core.caches import InMemoryCache
from langchain_core.exceptions import ModelNotFoundError
from several_hosts import KEYS, SeveralHosts
from with_langchain.four_ways import Ask, every_way, pieces, streamed_ways

from langchain_llama_guard import ChatLlamaScout, LlamaGuard, Policy
from llama_guard_core.errors import ProviderError
from llama_guard_core.provider.hosts import Host


def scout_at(several: SeveralHosts, **settings: Any) -> ChatLlamaScout:
    return ChatLlamaScout(host=several.hosts(), **several.clients(), **settings)


@every_way
@pytest.mark.parametrize(
    "fault", [Fault.status(500), Fault.status(404), Fault.status(429, retry_after=30), None], ids=str
)
async def test_the_next_host_answers_where_one_cannot(ask: Ask, fault: Fault | None) -> None:
    """In all four ways, guarded or not."""
    for guard in (
        None,
        LlamaGuard(api_key="k", http_client=FakeProvider().client(), http_async_client=FakeProvider().async_client()),
    ):
        several = SeveralHosts(fault and FakeProvider().fail(fault), FakeProvider())
        assert SMALL_TALK == (await ask(scout_at(several, guard=guard), "Hello")).text
        assert ["one", "two"] == several.asked


@every_way
async def test_when_all_fail_langchains_error_names_each_host(ask: Ask) -> None:
    several = SeveralHosts(FakeProvider().fail(Fault.status(404)), None)
    with pytest.raises(ModelNotFoundError, match="one: not_found; two: connection") as caught:
        await ask(scout_at(several), "Hello")
    assert not [key for key in KEYS.values() if key in f"{caught.value!r}{vars(caught.value)}"]


@streamed_ways
async def test_once_something_was_shown_no_other_host_is_asked(ask: Ask) -> None:
    several = SeveralHosts(FakeProvider().fail(Fault.stream_error(1, after=3)), FakeProvider())
    shown: list[Any] = []
    with pytest.raises(ProviderError):
        await pieces(ask, scout_at(several), "Hello", shown)
    assert ["one"] == several.asked
    assert SMALL_TALK.startswith("".join(chunk.text for chunk in shown))


@every_way
async def test_each_host_is_sent_what_it_takes(ask: Ask) -> None:
    """OpenRouter its fields and its id, the other its own id, and usage is asked for in its streams."""
    openrouter, other = FakeProvider().fail(Fault.status(500)), FakeProvider()
    hosts = [
        Host.named("openrouter", api_key="k1", max_retries=0),
        Host(name="o", base_url="http://o.test/api/v1", api_key="k2", chat_model="other/scout"),
    ]

    def handle(request: httpx.Request) -> httpx.Response:
        return (openrouter if request.url.host == "openrouter.ai" else other).handle(request)

    transport = httpx.MockTransport(handle)
    clients = {
        "http_client": httpx.Client(transport=transport),
        "http_async_client": httpx.AsyncClient(transport=transport),
    }
    model = ChatLlamaScout(host=hosts, variant="nitro", routing={"only": ["deepinfra"]}, **clients)
    message = await ask(model, "Hello")
    assert message.usage_metadata["input_tokens"] > 0
    first, second = openrouter.requests[0].body, other.requests[0].body
    assert ("meta-llama/llama-4-scout:nitro", "provider" in first) == (first["model"], True)
    assert ("other/scout", False) == (second["model"], "provider" in second)
    assert second.get("stream", False) == ("stream_options" in second)


@every_way
async def test_a_model_of_ones_own_choice_is_no_hosts_scout(ask: Ask) -> None:
    """What the settings or a call name is sent as it is."""
    provider = FakeProvider()
    clients = {"http_client": provider.client(), "http_async_client": provider.async_client()}
    host = Host(name="o", base_url="http://o.test/api/v1", api_key="k", chat_model="other/scout")
    await ask(ChatLlamaScout(host=host, model="my/finetune", **clients), "Hello")
    await ask(ChatLlamaScout(host=host, **clients), "Hello", model="my/other")
    await ask(ChatLlamaScout(host=host, **clients), "Hello")
    assert ["my/finetune", "my/other", "other/scout"] == [received.model for received in provider.requests]


async def test_an_answer_is_kept_for_its_host_and_model_alone() -> None:
    """Another host, another order of hosts or another id of the model is another answer."""
    providers = FakeProvider(), FakeProvider()
    several = SeveralHosts(*providers)
    one, two = several.hosts()
    others = [one, two, [one, two], [two, one], Host(name="one", base_url=one.base_url, api_key="k", chat_model="x/y")]
    cache = InMemoryCache()
    for host in [*others, *others]:
        await ChatLlamaScout(host=host, cache=cache, **several.clients()).ainvoke("Hello")
    assert len(others) == len(several.asked)


@pytest.mark.parametrize("colour", ["sync", "async"])
async def test_a_batch_never_has_more_requests_at_a_host_than_its_limit(colour: str) -> None:
    """Counted at the host's own socket, from the first call on."""
    barrier, lock, inside = threading.Barrier(2, timeout=10), threading.Lock(), []
    most: list[int] = []

    def answer(_: Received) -> Reply:
        with lock:
            inside.append(1)
            most.append(len(inside))
        barrier.wait()
        with lock:
            inside.pop()
        return Reply("Hello.")

    provider = FakeProvider(chat=answer)
    with provider.serve() as base_url:
        model = ChatLlamaScout(host=Host(name="h", base_url=base_url, api_key="k", max_connections=2))
        if colour == "sync":
            model.batch(["Hello"] * 8)
            model.close()
        else:
            await model.abatch(["Hello"] * 8)
            await model.aclose()
    assert (2, 2) == (max(most), provider.connections_made)


async def test_what_a_host_says_of_the_model_is_asked_for_on_request() -> None:
    """Never when a model is made or called."""
    asked: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(200, json=[{"id": "m", "context_length": 8192, "pricing": {"input": 0.5, "output": 1}}])

    transport = httpx.MockTransport(handle)
    host = Host(name="t", base_url="http://t.test/v1", chat_model="m")
    clients = {
        "http_client": httpx.Client(transport=transport),
        "http_async_client": httpx.AsyncClient(transport=transport),
    }
    model = ChatLlamaScout(host=host, **clients)
    assert [] == asked
    for found in (model.capabilities(), await model.acapabilities()):
        assert ("m", 8192, 0.5, 1.0) == (found.model, found.context_tokens, found.input_price, found.output_price)
    assert ["/v1/models"] * 2 == asked
    with pytest.raises(ModelNotFoundError, match="t lists 1 models, and my/finetune is not among them"):
        ChatLlamaScout(host=host, model="my/finetune", **clients).capabilities()


async def test_a_test_of_the_model_goes_its_own_way_without_its_guard() -> None:
    """Its settings, its headers, its hosts; the guard is not asked."""
    provider, guards = FakeProvider(), FakeProvider()
    guard = LlamaGuard(api_key="k", http_client=guards.client(), policy=Policy())
    clients = {"http_client": provider.client(), "http_async_client": provider.async_client()}
    model = ChatLlamaScout(
        api_key="k", guard=guard, default_headers={"X-Who": "me"}, variant="nitro", top_p=0.5, **clients
    )
    for report in (model.self_test(), await model.aself_test()):
        assert ("OpenRouter", "meta-llama/llama-4-scout:nitro") == (report.host, report.model)
        assert "ok" == report.findings[0].status
    assert {("me", "meta-llama/llama-4-scout:nitro", 0.5)} == {
        (received.headers["x-who"], received.model, received.body["top_p"]) for received in provider.requests
    }
    assert (16, []) == (len(provider.requests), guards.requests)
