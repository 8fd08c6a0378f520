"""LlamaScout at one host or another, or at several: who is asked, what it writes of itself, how it is copied."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fake_provider import SMALL_TALK, FakeProvider, Fault
from pydantic import ValidationError
from several_hosts import KEYS, SeveralHosts
from with_llamaindex.scouts import ENDPOINTS, ask, guard_of, text_of

from llama_guard_core.errors import ConfigurationError, ProviderError, RequestRejected
from llama_guard_core.provider.embedded import Embedded
from llama_guard_core.provider.hosts import Host
from llamaindex_llama_guard.llms import LlamaScout

OWN_KEY = "key-of-my-own-0123456789"
WRITTEN: list[Any] = ["together", "http://localhost:8000/v1", ["openrouter", "together"], ["vllm", "http://gpu/v1"]]
OBJECTS: list[Any] = [
    Host.named("together", api_key=OWN_KEY),
    Embedded("model.gguf"),
    ["openrouter", Host.named("deepinfra", api_key=OWN_KEY)],
    [Embedded("model.gguf"), "openrouter"],
]
every_form = pytest.mark.parametrize("host", [*WRITTEN, *OBJECTS], ids=repr)
every_endpoint = pytest.mark.parametrize("endpoint", ENDPOINTS)


def scout_at(several: SeveralHosts, **settings: Any) -> LlamaScout:
    return LlamaScout(host=several.hosts(), **several.clients(), **settings)


def chosen(llm: LlamaScout) -> list[tuple[str, str]]:
    return [(host.name, host.base_url) for host in llm._hosts]


@every_endpoint
@pytest.mark.parametrize(
    "fault", [Fault.status(500), Fault.status(404), Fault.status(429, retry_after=30), None], ids=str
)
async def test_the_next_host_answers_where_one_cannot(endpoint: str, fault: Fault | None) -> None:
    """At all eight endpoints, guarded or not."""
    for guard in (None, guard_of(FakeProvider())):
        several = SeveralHosts(fault and FakeProvider().fail(fault), FakeProvider())
        assert SMALL_TALK == text_of((await ask(scout_at(several, guard=guard), endpoint, "Hello"))[-1])
        assert ["one", "two"] == several.asked


@every_endpoint
async def test_when_all_fail_one_error_names_each_host(endpoint: str) -> None:
    several = SeveralHosts(FakeProvider().fail(Fault.status(404)), None)
    with pytest.raises(RequestRejected, match="one: not_found; two: connection") as caught:
        await ask(scout_at(several), endpoint, "Hello")
    assert not [key for key in KEYS.values() if key in f"{caught.value!r}{vars(caught.value)}"]


@pytest.mark.parametrize("endpoint", [name for name in ENDPOINTS if "stream" in name])
async def test_once_something_was_shown_no_other_host_is_asked(endpoint: str) -> None:
    several = SeveralHosts(FakeProvider().fail(Fault.stream_error(1, after=3)), FakeProvider())
    with pytest.raises(ProviderError):
        await ask(scout_at(several), endpoint, "Hello")
    assert ["one"] == several.asked


@every_endpoint
async def test_each_host_is_sent_what_it_takes(endpoint: str) -> None:
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
    llm = LlamaScout(host=hosts, variant="nitro", routing={"only": ["deepinfra"]}, **clients)
    response = (await ask(llm, endpoint, "Hello"))[-1]
    assert response.additional_kwargs["prompt_tokens"] > 0
    first, second = openrouter.requests[0].body, other.requests[0].body
    assert ("meta-llama/llama-4-scout:nitro", True) == (first["model"], "provider" in first)
    assert ("other/scout", False) == (second["model"], "provider" in second)
    assert second.get("stream", False) == ("stream_options" in second)


@every_form
@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize(
    "copied",
    [
        lambda llm: pickle.loads(pickle.dumps(llm)),  # noqa: S301
        copy.copy,
        copy.deepcopy,
        lambda llm: llm.model_copy(update={"temperature": 0.5}),
        lambda llm: llm._twin(temperature=0.5),
    ],
    ids=["pickle", "copy", "deepcopy", "model_copy", "twin"],
)
def test_a_copy_is_at_the_same_hosts(host: Any, used: bool, copied: Callable[[LlamaScout], LlamaScout]) -> None:
    llm = LlamaScout(host=host)
    if used:
        llm._sync(), llm._async()
    assert chosen(llm) == chosen(copied(llm))


def test_a_copy_for_other_hosts_asks_those_with_their_own_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of the environment stays behind; one that was passed is refused for several."""
    monkeypatch.setenv("OPENROUTER_API_KEY", "key-of-openrouter")
    several = SeveralHosts(None, FakeProvider())
    llm = LlamaScout(**several.clients())
    assert SMALL_TALK == llm.model_copy(update={"host": several.hosts()}).complete("Hello").text
    assert {"one": {f"Bearer {KEYS['one']}"}, "two": {f"Bearer {KEYS['two']}"}} == several.keys
    passed = LlamaScout(api_key="passed", **several.clients()).model_copy(update={"host": several.hosts()})
    with pytest.raises(ConfigurationError, match="one host's key"):
        passed.complete("Hello")


def test_a_pickle_takes_no_key_of_the_environment_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", "key-of-this-machine")
    provider = FakeProvider()
    with provider.serve() as base_url, LlamaScout(host="together", base_url=base_url, model="my/model") as llm:
        assert SMALL_TALK == llm.complete("Hello").text
        assert b"key-of-this-machine" not in pickle.dumps(llm)


@pytest.mark.parametrize(
    "given", [{"api_key": OWN_KEY}, {"default_headers": {"Authorization": f"Bearer {OWN_KEY}"}}], ids=["key", "header"]
)
def test_a_pickle_takes_no_key_along(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A host without a variable of its own is not asked; copies in this process keep the key."""
    provider = FakeProvider()
    with provider.serve() as base_url, LlamaScout(base_url=base_url, **given) as llm:
        for changed in (llm, LlamaScout(base_url=base_url).model_copy(update=given)):
            sent = pickle.dumps(changed)
            assert OWN_KEY.encode() not in sent
            with pytest.raises(ConfigurationError, match="a copy made by pickle holds no key"):
                pickle.loads(sent).complete("Hello")  # noqa: S301
            with changed.model_copy() as twin, copy.deepcopy(changed) as deep:
                assert [SMALL_TALK, SMALL_TALK] == [each.complete("Hello").text for each in (twin, deep)]
        known = pickle.loads(pickle.dumps(LlamaScout(host="openrouter", base_url=base_url, **given)))  # noqa: S301
        monkeypatch.setenv("OPENROUTER_API_KEY", "key-of-that-process")
        assert SMALL_TALK == known.complete("Hello").text
        known.close()
    assert "Bearer key-of-that-process" == provider.requests[-1].headers["authorization"]


@every_form
def test_one_key_for_several_hosts_is_refused(host: Any) -> None:
    if isinstance(host, list):
        with pytest.raises(ValidationError, match="give each its own") as caught:
            LlamaScout(host=host, api_key=OWN_KEY)
        assert OWN_KEY not in str(caught.value)
    else:
        assert LlamaScout(host=host, api_key="k").api_key is not None


@pytest.mark.parametrize(
    "host", ["nowhere", "ftp://x", [], [3], 3, {"name": "together"}, ["openrouter", None]], ids=repr
)
def test_what_is_no_host_is_refused_when_the_llm_is_made(host: Any) -> None:
    """And what is said of it does not quote the key beside it."""
    with pytest.raises(ValidationError, match=r"host|https?://") as caught:
        LlamaScout(host=host, api_key=OWN_KEY)
    assert OWN_KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "variable"),
    [("openrouter", "OPENROUTER_API_KEY"), ("together", "TOGETHER_API_KEY"), ("deepinfra", "DEEPINFRA_API_TOKEN")],
)
async def test_each_hosts_key_is_read_from_its_own_variable(
    name: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenRouter's goes to OpenRouter, alone or in a list."""
    for other in ("OPENROUTER_API_KEY", "TOGETHER_API_KEY", "DEEPINFRA_API_TOKEN"):
        monkeypatch.setenv(other, f"secret-{other}")
    seen: dict[str, str | None] = {}

    def handle(request: httpx.Request) -> httpx.Response:
        seen[request.url.host] = request.headers.get("authorization")
        return httpx.Response(500)

    for host in (name, ["http://elsewhere.test/v1", Host.named(name, max_retries=0)]):
        llm = LlamaScout(host=host, max_retries=0, http_client=httpx.Client(transport=httpx.MockTransport(handle)))
        with pytest.raises(ProviderError):
            llm.complete("Hello")
    assert None is seen.pop("elsewhere.test")
    assert [f"Bearer secret-{variable}"] == list(seen.values())


@pytest.mark.parametrize("host", WRITTEN, ids=repr)
def test_hosts_that_are_names_and_addresses_come_back_from_a_dict(host: Any) -> None:
    """And the LLM is again each host's own Scout."""
    llm = LlamaScout(host=host)
    for again in (LlamaScout.from_dict(llm.to_dict()), LlamaScout.from_json(llm.to_json())):
        assert (host, chosen(llm)) == (again.host, chosen(again))
        assert llm._sync().model == again._sync().model


@pytest.mark.parametrize("host", OBJECTS, ids=repr)
def test_a_host_of_ones_own_is_written_as_a_note_and_asked_for_again(host: Any) -> None:
    written = json.loads(LlamaScout(host=host).to_json())
    with pytest.raises(ValidationError, match="pass the object itself"):
        LlamaScout.from_dict(dict(written))
    assert chosen(LlamaScout(host=host)) == chosen(LlamaScout.from_dict(dict(written), host=host))


@every_form
def test_no_key_of_a_host_is_to_be_seen(host: Any) -> None:
    llm = LlamaScout(host=host)
    shown = [repr(llm), str(llm.to_dict()), llm.to_json(), str(llm.to_payload()), str(llm.model_dump())]
    assert not [text for text in shown if OWN_KEY in text]


async def test_what_a_host_says_of_the_model_is_asked_for_on_request() -> None:
    """Never when an LLM is made or called."""
    asked: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(200, json={"data": [{"id": "m", "max_model_len": 8192}]})

    transport = httpx.MockTransport(handle)
    host = Host(name="v", base_url="http://v.test/v1", chat_model="m")
    clients = {
        "http_client": httpx.Client(transport=transport),
        "http_async_client": httpx.AsyncClient(transport=transport),
    }
    llm = LlamaScout(host=host, **clients)
    assert [] == asked
    for found in (llm.capabilities(), await llm.acapabilities()):
        assert ("m", 8192, None) == (found.model, found.context_tokens, found.input_price)
    assert ["/v1/models"] * 2 == asked
    with pytest.raises(RequestRejected, match="v lists 1 models, and my/finetune is not among them"):
        LlamaScout(host=host, model="my/finetune", **clients).capabilities()


async def test_a_test_of_the_llm_goes_its_own_way_without_its_guard() -> None:
    """Its settings, its headers, its hosts; the guard is not asked."""
    provider, guards = FakeProvider(), FakeProvider()
    clients = {"http_client": provider.client(), "http_async_client": provider.async_client()}
    settings: dict[str, Any] = {"default_headers": {"X-Who": "me"}, "additional_kwargs": {"top_p": 0.5, "stop": ["o"]}}
    llm = LlamaScout(api_key="k", guard=guard_of(guards), variant="nitro", **settings, **clients)
    for report in (llm.self_test(), await llm.aself_test()):
        assert ("OpenRouter", "meta-llama/llama-4-scout:nitro") == (report.host, report.model)
        assert "ok" == report.findings[0].status
    assert {("me", "meta-llama/llama-4-scout:nitro", 0.5)} == {
        (received.headers["x-who"], received.model, received.body["top_p"]) for received in provider.requests
    }
    assert (16, []) == (len(provider.requests), guards.requests)
