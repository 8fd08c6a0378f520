"""What is set on a model or a call, where it goes, and where a secret must not go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fake_provider import FakeProvider
from langchain_core.caches import InMemoryCache
from langchain_core.load import dumps
from langchain_core.messages import HumanMessage
from langchain_core.runnables import ConfigurableField
from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.schemas import Run
from pydantic import ValidationError
from with_langchain.four_ways import Ask, every_way

from langchain_llama_guard import (
    Attribution,
    ChatLlamaScout,
    ConfigurationError,
    LlamaGuard,
    Policy,
    ProviderRouting,
    Timeouts,
)

Scout = Callable[..., ChatLlamaScout]

SETTINGS: dict[str, Any] = {
    "temperature": 0.5,
    "max_tokens": 77,
    "top_p": 0.9,
    "top_k": 40,
    "min_p": 0.1,
    "frequency_penalty": 0.2,
    "presence_penalty": 0.3,
    "repetition_penalty": 1.1,
    "seed": 7,
    "stop": ["END"],
}


def sent(provider: FakeProvider) -> dict[str, Any]:
    body = dict(provider.requests[-1].body)
    del body["messages"]
    body.pop("stream", None)
    return body


@every_way
async def test_every_setting_is_sent_as_it_is_called(scout: Scout, provider: FakeProvider, ask: Ask) -> None:
    """What is set goes out under its own name, what is not set does not go out."""
    await ask(scout(), "Hello")
    assert {"model": "meta-llama/llama-4-scout", "max_tokens": 4096} == sent(provider)
    model = scout(**SETTINGS, model="meta-llama/llama-4-maverick", model_kwargs={"user": "u-1"})
    await ask(model, "Hello")
    assert {**SETTINGS, "model": "meta-llama/llama-4-maverick", "user": "u-1"} == sent(provider)


@every_way
async def test_a_call_has_the_last_word(scout: Scout, provider: FakeProvider, ask: Ask) -> None:
    """Settings of a call win over those of the model, `stop` included, and leave the model as it was."""
    model = scout(**SETTINGS)
    for_this_call: dict[str, Any] = {"model": "meta-llama/llama-4-maverick", "temperature": 0.0, "max_tokens": 5}
    message = await ask(model, "Hello", **for_this_call, stop=["can"])
    assert {**SETTINGS, **for_this_call, "stop": ["can"]} == sent(provider)
    assert "Hello there. How " == message.text
    await ask(model, "Hello")
    assert SETTINGS["temperature"] == sent(provider)["temperature"]


def test_traces_name_the_settings_of_the_call(scout: Scout) -> None:
    """Model, temperature, max_tokens and stop are those of the call where it has any."""
    model = scout(**SETTINGS)
    own = model._get_ls_params()
    assert ("meta-llama/llama-4-scout", 0.5, 77, ["END"]) == tuple(
        own[key] for key in ("ls_model_name", "ls_temperature", "ls_max_tokens", "ls_stop")
    )
    calls = model._get_ls_params(stop=["now"], model="other/model", temperature=1, max_tokens=5)
    assert ("other/model", 1, 5, ["now"]) == tuple(
        calls[key] for key in ("ls_model_name", "ls_temperature", "ls_max_tokens", "ls_stop")
    )
    assert ("llama-guardrails", "chat") == (calls["ls_provider"], calls["ls_model_type"])


@every_way
async def test_empty_lists_are_not_sent(scout: Scout, provider: FakeProvider, ask: Ask) -> None:
    """Hosts refuse `"tools": []`, which agents without tools bind, and `"stop": []`."""
    await ask(scout(stop=[]).bind_tools([]), "Hello")
    await ask(scout().bind(tools=[], stop=[]), "Hello")
    assert not {"tools", "tool_choice", "stop"} & sent(provider).keys()


@every_way
async def test_several_replies_to_one_request_are_not_offered(scout: Scout, provider: FakeProvider, ask: Ask) -> None:
    """Asking for `n` raises before anything is sent: the others would be paid for and lost."""
    with pytest.raises(ValueError, match="batch"):
        await ask(scout(), "Hello", n=2)
    assert [] == provider.requests


def test_wrong_settings_are_refused_when_the_model_is_made() -> None:
    """What no call could use never reaches one, and what is said of it does not quote the key."""
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("max_retries", {"max_retries": -1}),
        ("base_url", {"base_url": "m"}),
        ("gaurd", {"gaurd": LlamaGuard()}),
        ("n\n", {"n": 2}),
        ("variant", {"model": "meta-llama/llama-4-scout:free", "variant": "nitro"}),
    ]
    for named, settings in wrong:
        with pytest.raises(ValidationError, match=named) as caught:
            ChatLlamaScout(api_key="sk-secret", **settings)
        assert "sk-secret" not in str(caught.value)


DIFFERENT: list[dict[str, Any]] = [
    {},
    {"model": "meta-llama/llama-4-maverick"},
    {"variant": "nitro"},
    {"base_url": "https://models.example.com/v1"},
    {"output_version": "v1"},
    {"routing": ProviderRouting(only=("deepinfra",))},
    {"routing": ProviderRouting(only=("groq",))},
    {"model_kwargs": {"user": "u-1"}},
    *({name: value} for name, value in SETTINGS.items()),
    {"guard": LlamaGuard()},
    {"guard": LlamaGuard(), "temperature": 0.5},
    {"guard": LlamaGuard(model="meta-llama/llama-guard-3-8b")},
    {"guard": LlamaGuard(policy=Policy(hazards={"S6": "flag"}))},
    {"guard": LlamaGuard(policy=Policy(refusal="No."))},
]


def test_models_that_may_answer_differently_are_identified_differently() -> None:
    """Every setting that bears on the answer, guard and policy included, tells two models apart in a cache."""
    keys = [ChatLlamaScout(**settings)._get_llm_string() for settings in DIFFERENT]
    assert len(DIFFERENT) == len(set(keys))
    assert keys == [ChatLlamaScout(**settings)._get_llm_string() for settings in DIFFERENT]
    model = ChatLlamaScout()
    assert model._get_llm_string() != model._get_llm_string(stop=["END"]) != model._get_llm_string(temperature=1)


@pytest.mark.parametrize("is_guarded", [False, True], ids=["alone", "guarded"])
async def test_a_cache_serves_each_model_its_own_answers(
    scout: Scout, provider: FakeProvider, is_guarded: bool
) -> None:
    """The second call of a model is served from the cache, the first of another model is not."""
    cache = InMemoryCache()
    host = {"api_key": "sk-or-v1-test", "http_client": provider.client(), "http_async_client": provider.async_client()}
    guard = {"guard": LlamaGuard(**host)} if is_guarded else {}
    for temperature in (0.0, 0.0, 1.0):
        scout(cache=cache, temperature=temperature, **guard).invoke("Hello")
        await scout(cache=cache, temperature=temperature, **guard).ainvoke("Hello")
    assert [0.0, 1.0] == [received.body["temperature"] for received in provider.requests_of("chat")]


@every_way
async def test_routing_attribution_and_variant_are_sent(scout: Scout, provider: FakeProvider, ask: Ask) -> None:
    """OpenRouter's own settings go where it reads them: body, headers and model id."""
    routing = ProviderRouting(order=("deepinfra", "groq"), allow_fallbacks=False, zdr=True, sort="price")
    attribution = Attribution(url="https://example.com", title="Example", categories=("chat",))
    await ask(scout(routing=routing, attribution=attribution, variant="nitro"), "Hello")
    wanted = {"order": ["deepinfra", "groq"], "allow_fallbacks": False, "zdr": True, "sort": "price"}
    assert wanted == sent(provider)["provider"]
    assert "meta-llama/llama-4-scout:nitro" == sent(provider)["model"]
    headers = provider.requests[-1].headers
    assert ("https://example.com", "Example", "chat") == tuple(
        headers[name] for name in ("http-referer", "x-openrouter-title", "x-openrouter-categories")
    )


@every_way
async def test_default_headers_win_whatever_their_case(scout: Scout, provider: FakeProvider, ask: Ask) -> None:
    """A header of the user's replaces ours of the same name and is sent once."""
    own = {"AUTHORIZATION": "Bearer of-mine", "User-agent": "mine/1", "http-REFERER": "https://mine.example.com"}
    await ask(scout(default_headers=own, attribution=Attribution(url="https://example.com")), "Hello")
    headers = provider.requests[-1].headers
    for name, value in own.items():
        assert [value] == headers.get_list(name)


async def test_the_key_of_the_environment_goes_to_openrouter_alone(
    monkeypatch: pytest.MonkeyPatch, provider: FakeProvider
) -> None:
    """However a model for another host comes about, it is not given OpenRouter's key."""
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-or-v1-environment")
    seen: list[str | None] = []

    def look(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("authorization"))
        return provider.handle(request)

    there = {"base_url": "https://models.example.com/api/v1"}
    client = httpx.Client(transport=httpx.MockTransport(look))
    model = ChatLlamaScout(http_client=client, max_retries=0)
    model.invoke("Hello")
    assert ["Bearer sk-or-v1-environment"] == seen
    configurable = model.configurable_fields(base_url=ConfigurableField(id="base_url"))
    for elsewhere in (
        ChatLlamaScout(http_client=client, max_retries=0, **there),
        model.model_copy(update=there),
        configurable.with_config(configurable=there),
    ):
        with pytest.raises(Exception, match="key"):
            elsewhere.invoke("Hello")
    assert [None, None, None] == seen[1:]
    assert ["no bearer key"] * 3 == provider.violations
    provider.violations.clear()


def test_without_a_key_the_first_call_says_what_to_set() -> None:
    """Making a model without a key is allowed; calling OpenRouter with it names the variable."""
    with pytest.raises(ConfigurationError, match="OPENROUTER_API_KEY"):
        ChatLlamaScout().invoke("Hello")


class Recorder(BaseTracer):
    """Keeps everything a tracer is given."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[Run] = []

    def _persist_run(self, run: Run) -> None:
        self.runs.append(run)


async def test_secrets_are_nowhere_to_be_seen(scout: Scout) -> None:
    """Neither the key nor a header is in any text, dump, parameter or trace of a model."""
    headers = {"X-Secret": "header-secret", "Authorization": "Bearer header-key"}
    model = scout(api_key="sk-or-v1-secret", default_headers=headers)
    tracer = Recorder()
    message = await model.ainvoke("Hello", config={"callbacks": [tracer]})
    shown = [
        repr(model),
        str(model),
        dumps(model),
        str(model.model_dump()),
        str(model.asdict() if hasattr(model, "asdict") else model.dict()),
        str(model._identifying_params),
        str(model._get_ls_params()),
        model._get_llm_string(),
        repr(message),
        *(run.model_dump_json(exclude={"parent_run"}) for run in tracer.runs),
    ]
    assert 10 == len(shown)
    for secret in ("sk-or-v1-secret", "header-secret", "header-key"):
        assert not [text for text in shown if secret in text]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, (1.5, 1.5)),
        ({"timeout": 7}, (7.0, 7.0)),
        ({"timeout": 30}, (10.0, 30.0)),
        ({"timeout": Timeouts(connect=1, read=2, total=3)}, (1, 2)),
        ({"timeout": None}, (None, None)),
    ],
    ids=["the client's own", "short", "long", "each", "none"],
)
async def test_timeouts_are_seconds(
    provider: FakeProvider, settings: dict[str, Any], expected: tuple[float | None, float | None]
) -> None:
    """`timeout` is in seconds; left out beside a client of the user's, that client's own timeouts hold."""
    seen: list[tuple[float | None, float | None]] = []

    def look(request: httpx.Request) -> httpx.Response:
        told = request.extensions["timeout"]
        seen.append((told["connect"], told["read"]))
        return provider.handle(request)

    client = httpx.Client(transport=httpx.MockTransport(look), timeout=1.5)
    async_client = httpx.AsyncClient(transport=httpx.MockTransport(look), timeout=1.5)
    model = ChatLlamaScout(api_key="k", http_client=client, http_async_client=async_client, **settings)
    model.invoke([HumanMessage("Hello")])
    await model.ainvoke("Hello")
    list(model.stream("Hello"))
    assert [expected] * 3 == seen
