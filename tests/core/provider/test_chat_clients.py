"""Several hosts behind one chat model: who is asked when one fails, with which id, which fields and whose key."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import httpx
import pytest
from fake_provider import FakeProvider, Fault
from pydantic import SecretStr
from several_hosts import KEYS, SeveralHosts

from llama_guard_core.errors import ConfigurationError, ProviderError, ProviderUnavailable, RequestRejected
from llama_guard_core.provider.chat_clients import AsyncChatClients, ChatClients, ChosenModel, request_for
from llama_guard_core.provider.chunks import CompletionChunk
from llama_guard_core.provider.connection import Connection
from llama_guard_core.provider.hosts import Host
from llama_guard_core.provider.known_hosts import CLOUDFLARE, GROQ, OPENROUTER, TOGETHER, VLLM

REQUEST = {
    "model": "meta-llama/llama-4-scout",
    "messages": [{"role": "user", "content": "Hello, wondrous walnut tree."}],
    "max_tokens": 64,
}
WAYS = ["whole", "streamed", "async whole", "async streamed"]
every_way = pytest.mark.parametrize("way", WAYS)

Down = Fault | None
"""What a host fails with; `None`: it refuses the connection."""

PASSED_ON: list[Down] = [
    None,
    Fault.status(500),
    Fault.status(429, retry_after=30),
    Fault.daily_limit(),
    Fault.status(402),
    Fault.status(404),
    Fault.html(200),
    Fault.error_with_200(502),
    Fault.empty(),
    Fault.stall("before_headers"),
    Fault.cut("before_headers"),
    Fault.cut("in_body", body_bytes=40),
]
RAISED = [Fault.status(400), Fault.status(401), Fault.status(403), Fault.status(413)]


def failing(fault: Down) -> FakeProvider | None:
    return None if fault is None else FakeProvider().fail(fault)


class Asker:
    """A chat model's clients, called in one of the four ways."""

    def __init__(self, hosts: list[Host], clients: dict[str, Any], model: ChosenModel | None = None) -> None:
        connections = [Connection(host=host) for host in hosts]
        self.sync = ChatClients(connections, http_client=clients.get("http_client"), model=model)
        self.asynchronous = AsyncChatClients(connections, http_client=clients.get("http_async_client"), model=model)
        self.shown: list[CompletionChunk] = []

    async def __call__(self, way: str, request: dict[str, Any] | None = None) -> str:
        """Give the whole text; `shown` has the chunks that came, also before a failure."""
        request = request or REQUEST
        if way == "whole":
            return self.sync.complete(request).text
        if way == "async whole":
            return (await self.asynchronous.complete(request)).text
        if way == "streamed":
            for chunk in self.sync.stream(request):
                self.shown.append(chunk)
        else:
            async for chunk in self.asynchronous.stream(request):
                self.shown.append(chunk)
        return "".join(chunk.text for chunk in self.shown)


def asker(several: SeveralHosts, **settings: Any) -> Asker:
    return Asker(several.hosts(**settings), several.clients())


@every_way
@pytest.mark.parametrize("fault", PASSED_ON, ids=lambda fault: str(fault or "connection refused"))
async def test_the_next_host_answers_where_one_cannot(way: str, fault: Down) -> None:
    several = SeveralHosts(failing(fault), FakeProvider(chat=["Good morning."]))
    assert "Good morning." == await asker(several)(way)
    assert ["one", "two"] == several.asked


@every_way
@pytest.mark.parametrize("fault", RAISED, ids=str)
async def test_what_somebody_must_mend_is_raised_with_the_hosts_name(way: str, fault: Fault) -> None:
    several = SeveralHosts(failing(fault), FakeProvider())
    with pytest.raises(ProviderError, match="one: ") as caught:
        await asker(several)(way)
    assert ["one"] == several.asked
    assert "walnut" not in str(caught.value)


@pytest.mark.parametrize("way", ["streamed", "async streamed"])
@pytest.mark.parametrize("fault", [Fault.stream_error(1, after=3), Fault.cut("in_body")], ids=str)
async def test_once_something_was_shown_no_other_host_is_asked(way: str, fault: Fault) -> None:
    several = SeveralHosts(failing(fault), FakeProvider())
    ask = asker(several)
    with pytest.raises(ProviderUnavailable, match="one: "):
        await ask(way)
    assert ["one"] == several.asked
    assert "".join(chunk.text for chunk in ask.shown)


@every_way
async def test_when_all_fail_one_error_names_each_and_why_and_no_key(way: str) -> None:
    echo = {"error": {"message": f"no such key: {KEYS['two']}", "code": 500}}
    angry = FakeProvider(chat=lambda _: Fault.status(500, message=echo["error"]["message"]))
    several = SeveralHosts(failing(Fault.status(404)), angry, None)
    with pytest.raises(RequestRejected, match="one: not_found; two: server; three: connection") as caught:
        await asker(several)(way)
    assert ["one", "two", "three"] == several.asked
    assert (None, None) == (caught.value.__cause__, caught.value.__context__)
    told = f"{caught.value!r}{vars(caught.value)}"
    assert not [text for text in (*KEYS.values(), "walnut") if text in told]


@every_way
async def test_a_refusal_that_quotes_the_key_of_the_environment_is_told_without_it(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", "plainwords")
    provider = FakeProvider(chat=lambda _: Fault.status(403, message="plainwords is not allowed here"))
    clients = {"http_client": provider.client(), "http_async_client": provider.async_client()}
    ask = Asker([Host.named("together", base_url="https://openrouter.ai/api/v1", max_retries=0)], clients)
    with pytest.raises(RequestRejected) as caught:
        await ask(way, {**REQUEST, "model": "meta-llama/llama-4-maverick"})
    assert "is not allowed here" in str(caught.value)
    assert "plainwords" not in str(caught.value)
    assert "Bearer plainwords" == provider.requests[0].headers["authorization"]


@every_way
async def test_a_host_that_failed_rests_and_is_asked_again_where_no_other_can_answer(way: str) -> None:
    several = SeveralHosts(
        FakeProvider().fail(Fault.status(500), first=1), FakeProvider().fail(Fault.status(500), nth=3)
    )
    ask = asker(several)
    for _ in range(3):
        ask.shown.clear()
        await ask(way)
    assert ["one", "two", "two", "two", "one"] == several.asked


@every_way
async def test_a_host_is_asked_as_often_as_its_record_says_before_the_next(way: str) -> None:
    several = SeveralHosts(failing(Fault.status(429, retry_after=0.01)), FakeProvider())
    await asker(several, max_retries=2)(way)
    assert ["one"] * 3 + ["two"] == several.asked


@every_way
async def test_nobody_waits_long_for_one_of_several(way: str) -> None:
    several = SeveralHosts(failing(Fault.status(429, retry_after=30)), FakeProvider())
    await asker(several, max_retries=2)(way)
    assert ["one", "two"] == several.asked


@every_way
async def test_each_host_is_sent_its_own_key_and_no_other(way: str) -> None:
    several = SeveralHosts(None, FakeProvider())
    await asker(several)(way)
    assert {"one": {f"Bearer {KEYS['one']}"}, "two": {f"Bearer {KEYS['two']}"}} == several.keys


@every_way
async def test_a_key_that_the_last_host_lacks_is_told_at_the_first_call(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not on the day when the first one is down."""
    monkeypatch.delenv("TOGETHER_API_KEY", raising=False)
    several = SeveralHosts(FakeProvider())
    with pytest.raises(ConfigurationError, match="TOGETHER_API_KEY"):
        await Asker([*several.hosts(), TOGETHER], several.clients())(way)
    assert [] == several.asked


@every_way
async def test_a_timeout_of_one_host_is_its_own(way: str) -> None:
    """It comes before that of all hosts."""
    seen: list[dict[str, float]] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request.extensions["timeout"])
        return FakeProvider().handle(request)

    transport = httpx.MockTransport(handle)
    hosts = [Host(name="one", base_url="http://one.test/api/v1", api_key="k", timeout=7.0)]
    clients = {
        "http_client": httpx.Client(transport=transport),
        "http_async_client": httpx.AsyncClient(transport=transport),
    }
    await Asker(hosts, clients)(way)
    assert {"connect": 7.0, "read": 7.0, "write": 7.0, "pool": 7.0} == seen[0]


def written(host: Host, model: ChosenModel, is_one_of_several: bool, **fields: Any) -> dict[str, Any]:
    request = {"model": model.requested, **fields}
    return request_for(host, request, model, is_one_of_several=is_one_of_several)


@pytest.mark.parametrize("several", [True, False])
def test_the_default_model_has_each_hosts_own_id(several: bool) -> None:
    ids = [written(host, ChosenModel(), several)["model"] for host in (OPENROUTER, TOGETHER, CLOUDFLARE, GROQ)]
    assert [
        "meta-llama/llama-4-scout",
        "meta-llama/Llama-4-Scout-17B-16E-Instruct",
        "@cf/meta/llama-4-scout-17b-16e-instruct",
        "meta-llama/llama-4-scout",  # Groq has withdrawn it, and says so
    ] == ids


@pytest.mark.parametrize("several", [True, False])
def test_a_model_of_your_own_choice_is_sent_as_you_wrote_it(several: bool) -> None:
    chosen = ChosenModel("my/finetune")
    assert {"my/finetune"} == {written(host, chosen, several)["model"] for host in (OPENROUTER, TOGETHER, VLLM)}


def test_a_model_for_one_call_alone_is_sent_as_it_is() -> None:
    asked = {"model": "meta-llama/llama-4-maverick"}
    assert asked == request_for(TOGETHER, asked, ChosenModel(), is_one_of_several=False)


def test_in_a_list_openrouters_own_fields_and_suffix_go_to_openrouter_alone() -> None:
    own = {"provider": {"only": ["deepinfra"]}, "plugins": [{"id": "web"}], "models": ["a/b"], "route": "fallback"}
    for chosen in (ChosenModel(variant="nitro"), ChosenModel("my/finetune", "nitro")):
        at_router = written(OPENROUTER, chosen, True, **own, max_tokens=5)
        assert {"model": chosen.requested, **own, "max_tokens": 5} == at_router
        assert chosen.requested.endswith(":nitro")
        elsewhere = written(TOGETHER, chosen, True, **own, max_tokens=5)
        assert {"model": chosen.at(TOGETHER, is_one_of_several=True), "max_tokens": 5} == elsewhere
        assert not elsewhere["model"].endswith(":nitro")


def test_a_host_is_not_sent_what_it_rejects() -> None:
    sent = written(GROQ, ChosenModel(), False, logprobs=True, top_logprobs=3, seed=1)
    assert {"seed": 1, "model": "meta-llama/llama-4-scout"} == sent


def test_making_clients_reads_no_key_and_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
    for clients in (ChatClients([Connection()]), ChatClients([Connection(host=TOGETHER), Connection()])):
        clients.close()
        assert "meta-llama/llama-4-scout" in clients.model.lower()
    with pytest.raises(ConfigurationError, match="OPENROUTER_API_KEY"):
        ChatClients([Connection()]).complete(REQUEST)


def test_a_copy_opens_connections_of_its_own_and_takes_no_key_of_the_environment_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", "from-the-environment")
    provider = FakeProvider()
    with provider.serve() as base_url:
        host = Host.named("together", base_url=base_url)
        with ChatClients([Connection(host=host, default_headers={})], model=ChosenModel("my/model")) as clients:
            clients.complete({**REQUEST, "model": "my/model"})
            pickled = pickle.dumps(clients)
        assert b"from-the-environment" not in pickled
        for twin in (pickle.loads(pickled), copy.deepcopy(clients)):  # noqa: S301
            assert twin.complete({**REQUEST, "model": "my/model"}).text
            assert "my/model" == twin.model
            twin.close()


def test_clients_with_an_http_client_of_yours_are_not_copied() -> None:
    with FakeProvider().client() as own:
        clients = ChatClients([Connection(api_key=SecretStr("k"))], http_client=own)
        with pytest.raises(TypeError, match="http client"):
            pickle.dumps(clients)


async def test_each_host_can_be_asked_by_itself() -> None:
    several = SeveralHosts(FakeProvider(chat=["One."]), FakeProvider(chat=["Two."] * 2))
    ask = asker(several)
    assert ["One.", "Two."] == [each.complete(REQUEST).text for each in ask.sync.each()]
    assert ["one", "two"] == [each.host.name for each in ask.asynchronous.each()]
    assert "Two." == (await ask.asynchronous.each()[1].complete(REQUEST)).text
