"""What hosts say of their models, read from each one's own shape. The bodies follow the hosts' documentation."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from llama_guard_core.errors import AuthenticationFailed, ProviderError, RequestRejected, UnexpectedResponse
from llama_guard_core.provider.capabilities import (
    EndpointCapabilities,
    ModelCapabilities,
    acapabilities_of,
    capabilities_of,
    read_capabilities,
    read_endpoints,
)
from llama_guard_core.provider.chat_clients import AsyncChatClients, ChatClients, ChosenModel
from llama_guard_core.provider.connection import Connection
from llama_guard_core.provider.hosts import Host
from llama_guard_core.provider.known_hosts import DEEPINFRA, GROQ, LLAMA_CPP, OLLAMA, OPENROUTER, TOGETHER, VLLM

SCOUT = "meta-llama/llama-4-scout"
OPENROUTERS = {
    "data": [
        {"id": "meta-llama/llama-3.3-70b-instruct"},
        {
            "id": SCOUT,
            "canonical_slug": "meta-llama/llama-4-scout-17b-16e-instruct",
            "context_length": 1310720,
            "architecture": {"modality": "text+image->text", "input_modalities": ["text", "image"]},
            "pricing": {"prompt": "0.00000008", "completion": "0.0000003"},
            "top_provider": {"context_length": 327680, "max_completion_tokens": 16384, "is_moderated": False},
            "supported_parameters": ["max_tokens", "structured_outputs", "tool_choice", "tools"],
        },
    ],
    "total_count": 2,
}
ENDPOINTS = {
    "data": {
        "id": SCOUT,
        "endpoints": [
            {
                "provider_name": "DeepInfra",
                "tag": "deepinfra/fp8",
                "quantization": "fp8",
                "context_length": 327680,
                "max_completion_tokens": 16384,
                "pricing": {"prompt": "0.00000008", "completion": "0.0000003"},
                "supported_parameters": ["tools"],
                "status": 0,
                "uptime_last_30m": 99.5,
            },
            {"provider_name": "Nobody", "tag": "nobody", "pricing": {"prompt": "-1"}, "uptime_last_30m": None},
            {"provider_name": "Without a slug"},
        ],
    }
}
DEEPINFRAS_ENDPOINT = EndpointCapabilities(
    provider="deepinfra/fp8",
    context_tokens=327_680,
    max_output_tokens=16_384,
    input_price=0.08,
    output_price=0.3,
    parameters=frozenset({"tools"}),
    quantization="fp8",
    uptime=99.5,
)

LISTS: list[tuple[Host, Any, str, ModelCapabilities]] = [
    (
        OPENROUTER,
        OPENROUTERS,
        SCOUT,
        ModelCapabilities(
            model=SCOUT,
            context_tokens=327_680,
            max_output_tokens=16_384,
            input_price=0.08,
            output_price=0.3,
            parameters=frozenset({"max_tokens", "structured_outputs", "tool_choice", "tools"}),
            input_modalities=frozenset({"text", "image"}),
        ),
    ),
    (
        VLLM,
        {"object": "list", "data": [{"id": "m", "owned_by": "vllm", "root": "/models/m", "max_model_len": 8192}]},
        "m",
        ModelCapabilities(model="m", context_tokens=8192),
    ),
    (
        GROQ,
        {"data": [{"id": "m", "active": True, "context_window": 131072, "max_completion_tokens": 8192}]},
        "m",
        ModelCapabilities(model="m", context_tokens=131_072, max_output_tokens=8192),
    ),
    (
        TOGETHER,
        [
            {
                "id": "m",
                "type": "chat",
                "context_length": 1048576,
                "pricing": {"hourly": 0, "input": 0.18, "output": 0.59},
            }
        ],
        "m",
        ModelCapabilities(model="m", context_tokens=1_048_576, input_price=0.18, output_price=0.59),
    ),
    (
        DEEPINFRA,
        {
            "data": [
                {
                    "id": "m",
                    "metadata": {
                        "context_length": 327680,
                        "max_tokens": 16384,
                        "pricing": {"input_tokens": 0.08, "output_tokens": 0.3},
                    },
                },
                {"id": "embedding", "metadata": None},
            ]
        },
        "m",
        ModelCapabilities(
            model="m", context_tokens=327_680, max_output_tokens=16_384, input_price=0.08, output_price=0.3
        ),
    ),
    (
        LLAMA_CPP,
        {
            "models": [{"name": "file.gguf"}],
            "data": [
                {
                    "id": "file.gguf",
                    "owned_by": "llamacpp",
                    "architecture": {"input_modalities": ["text"]},
                    "meta": {"n_ctx": 2048, "n_ctx_train": 8192},
                }
            ],
        },
        "any name",
        ModelCapabilities(model="file.gguf", context_tokens=2048, input_modalities=frozenset({"text"})),
    ),
    (
        OLLAMA,
        {"object": "list", "data": [{"id": "llama4:latest", "object": "model", "owned_by": "library"}]},
        "llama4",
        ModelCapabilities(model="llama4:latest"),
    ),
]


@pytest.mark.parametrize(("host", "listed", "model", "expected"), LISTS, ids=[row[0].name for row in LISTS])
def test_each_hosts_list_is_read(host: Host, listed: Any, model: str, expected: ModelCapabilities) -> None:
    assert expected == read_capabilities(listed, host, model)


@pytest.mark.parametrize("model", [f"{SCOUT}:nitro", "meta-llama/llama-4-scout-17b-16e-instruct"])
def test_openrouters_suffixes_and_long_slugs_mean_the_same_model(model: str) -> None:
    assert SCOUT == read_capabilities(OPENROUTERS, OPENROUTER, model).model


def test_a_suffix_that_is_listed_is_a_model_of_its_own() -> None:
    listed = {"data": [*OPENROUTERS["data"], {"id": f"{SCOUT}:free", "context_length": 64000}]}  # type: ignore[misc]
    assert 64_000 == read_capabilities(listed, OPENROUTER, f"{SCOUT}:free").context_tokens


def test_the_providers_of_openrouter_are_read_by_their_slugs() -> None:
    first, second = read_endpoints(ENDPOINTS)
    assert DEEPINFRAS_ENDPOINT == first
    assert EndpointCapabilities(provider="nobody") == second


@pytest.mark.parametrize("odd", [None, [], {}, "x", 7, True, {"data": 3}, {"data": {"endpoints": [None, {"tag": 3}]}}])
def test_providers_in_no_known_shape_are_none(odd: Any) -> None:
    assert () == read_endpoints(odd)


@pytest.mark.parametrize("odd", [None, -1, 0, "many", True, [], {}, float("nan"), "1e999", "inf"])
def test_a_number_that_is_none_is_not_known(odd: Any) -> None:
    entry = {
        "id": "m",
        "max_model_len": odd,
        "pricing": {"prompt": {} if odd == 0 else odd},
        "supported_parameters": odd,
    }
    found = read_capabilities({"data": [entry]}, VLLM, "m")
    expected = frozenset() if odd == [] else None
    assert (None, None, None, expected) == (
        found.context_tokens, found.input_price, found.output_price, found.parameters,
    )  # fmt: skip


def test_numbers_may_be_written_as_texts_and_prices_may_be_nothing() -> None:
    entry = {"id": "m", "context_length": "8192", "pricing": {"prompt": "0", "completion": 0.000001}}
    found = read_capabilities({"data": [entry]}, VLLM, "m")
    assert (8192, 0.0, 1.0) == (found.context_tokens, found.input_price, found.output_price)


def test_a_model_that_is_not_listed_is_told_with_those_most_like_it() -> None:
    with pytest.raises(
        RequestRejected, match="OpenRouter lists 2 models, and meta-llama/llama-4-scaut is not"
    ) as caught:
        read_capabilities(OPENROUTERS, OPENROUTER, "meta-llama/llama-4-scaut")
    assert "not_found" == caught.value.reason
    assert "most like it: meta-llama/llama-4-scout" in str(caught.value)


def test_where_nothing_is_listed_nothing_is_like_it() -> None:
    with pytest.raises(RequestRejected, match=r"lists 0 models, and x is not among them\. Name"):
        read_capabilities({"data": []}, VLLM, "x")


@pytest.mark.parametrize("odd", [None, 7, "text", {}, {"data": None}, {"data": {"id": "m"}}])
def test_what_is_no_list_of_models_is_a_reply_of_another_kind(odd: Any) -> None:
    with pytest.raises(UnexpectedResponse, match="no list of models"):
        read_capabilities(odd, VLLM, "m")


class Catalogue:
    """A host that lists models; `answers` by path, all else is 404."""

    def __init__(self, **answers: Any) -> None:
        self._answers = {name.replace("_", "/"): answer for name, answer in answers.items()}
        self.asked: list[tuple[str, str, str | None]] = []

    def handle(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api/v1/")
        self.asked.append((request.method, path, request.headers.get("authorization")))
        kind = "endpoints" if path.endswith("/endpoints") else path
        status, body = self._answers.get(kind, (404, {"error": {"message": "Not found", "code": 404}}))
        return httpx.Response(status, content=body if isinstance(body, bytes) else json.dumps(body))


async def asked_of(catalogue: Catalogue, colour: str, host: Host = OPENROUTER, model: str = SCOUT) -> ModelCapabilities:
    transport = httpx.MockTransport(catalogue.handle)
    connections = [Connection(host=each, max_retries=0) for each in (host, Host(name="other", base_url="http://x/v1"))]
    if colour == "sync":
        with httpx.Client(transport=transport) as own:
            return capabilities_of(ChatClients(connections, http_client=own, model=ChosenModel(model)))
    async with httpx.AsyncClient(transport=transport) as own_async:
        clients = AsyncChatClients(connections, http_client=own_async, model=ChosenModel(model))
        return await acapabilities_of(clients)


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-or-v1-test")
    monkeypatch.setenv("TOGETHER_API_KEY", "key-of-together")


every_colour = pytest.mark.parametrize("colour", ["sync", "async"])


@every_colour
async def test_the_first_host_is_asked_for_its_list_and_openrouter_for_its_providers(colour: str) -> None:
    catalogue = Catalogue(models=(200, OPENROUTERS), endpoints=(200, ENDPOINTS))
    found = await asked_of(catalogue, colour)
    assert (SCOUT, 327_680, DEEPINFRAS_ENDPOINT) == (found.model, found.context_tokens, found.endpoints[0])
    assert [
        ("GET", "models", "Bearer sk-or-v1-test"),
        ("GET", "models/meta-llama/llama-4-scout/endpoints", "Bearer sk-or-v1-test"),
    ] == catalogue.asked


@every_colour
async def test_another_host_is_asked_once_by_its_own_id(colour: str) -> None:
    body = [{"id": "meta-llama/Llama-4-Scout-17B-16E-Instruct", "context_length": 1048576}]
    catalogue = Catalogue()
    catalogue._answers["/v1/models"] = (200, body)
    found = await asked_of(catalogue, colour, TOGETHER)
    assert ("meta-llama/Llama-4-Scout-17B-16E-Instruct", 1_048_576) == (found.model, found.context_tokens)
    assert [("GET", "/v1/models", "Bearer key-of-together")] == catalogue.asked


@every_colour
async def test_a_model_without_providers_is_told_without_them(colour: str) -> None:
    assert () == (await asked_of(Catalogue(models=(200, OPENROUTERS)), colour)).endpoints


@every_colour
@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ({}, RequestRejected),
        ({"models": (401, {"error": {"message": "No auth", "code": 401}})}, AuthenticationFailed),
        ({"models": (200, {"error": {"message": "Overloaded", "code": 502}})}, ProviderError),
        ({"models": (200, b"<html>")}, UnexpectedResponse),
        ({"models": (200, b"")}, UnexpectedResponse),
        ({"models": (200, OPENROUTERS), "endpoints": (500, {})}, ProviderError),
        ({"models": (200, {"data": []})}, RequestRejected),
    ],
)
async def test_a_host_that_cannot_be_asked_is_a_typed_error(colour: str, answers: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        await asked_of(Catalogue(**answers), colour)
