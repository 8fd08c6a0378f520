"""What a host says a model can do: sizes, prices, parameters. It is asked when somebody wants to know, never before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from functools import lru_cache
from math import inf
from typing import Any
from urllib.parse import quote

from llama_guard_core.errors import ProviderError
from llama_guard_core.provider.chat_clients import AsyncChatClients, ChatClients
from llama_guard_core.provider.endpoints import Endpoint
from llama_guard_core.provider.exchanges import Exchange, acarry_out, carry_out
from llama_guard_core.provider.failures import error_in, failure, failure_from_error
from llama_guard_core.provider.host_messages import scrubbed
from llama_guard_core.provider.hosts import Host
from llama_guard_core.provider.json_text import parse_json
from llama_guard_core.provider.wire import as_dict, dicts_in, text_or_none

_MILLION = 1_000_000

# Where hosts keep a number: OpenRouter, vLLM and SGLang, Groq, Together, DeepInfra, llama.cpp. The first that is set
# holds: OpenRouter's `context_length` is the model's, and `top_provider` has what is served.
_CONTEXT = (
    ("top_provider", "context_length"),
    ("max_model_len",),
    ("context_window",),
    ("context_length",),
    ("metadata", "context_length"),
    ("meta", "n_ctx"),
)
_MAX_OUTPUT = (("top_provider", "max_completion_tokens"), ("max_completion_tokens",), ("metadata", "max_tokens"))
# Where the prices of input and output are, and for how many tokens: OpenRouter's for one, the others' for a million.
_PRICES = (
    ("pricing", "prompt", "completion", 1),
    ("pricing", "input", "output", _MILLION),  # Together
    ("metadata", "input_tokens", "output_tokens", _MILLION),  # DeepInfra
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointCapabilities:
    """What one provider behind OpenRouter offers of a model. `None` is what is not said.

    Attributes:
        provider: its slug, as `ProviderRouting` takes it.
        context_tokens: the longest prompt and reply together, in tokens.
        max_output_tokens: the longest reply, in tokens.
        input_price: US dollars per million tokens read.
        output_price: US dollars per million tokens written.
        parameters: the fields of a request that it honours.
        quantization: the format of its weights, such as `fp8`.
        uptime: percent of the requests of the last half hour that it served.
    """

    provider: str
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    input_price: float | None = None
    output_price: float | None = None
    parameters: frozenset[str] | None = None
    quantization: str | None = None
    uptime: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCapabilities:
    """What a host says of a model. `None` is what it does not say; most hosts say little.

    It is the host's word, not a measurement: `self_test` tries what is promised here.

    Attributes:
        model: its id, as the host lists it.
        context_tokens: the longest prompt and reply together, in tokens; behind OpenRouter that of the provider that it
            prefers, which is often far below what the model was made for.
        max_output_tokens: the longest reply, in tokens.
        input_price: US dollars per million tokens read.
        output_price: US dollars per million tokens written.
        parameters: the fields of a request that are honoured, such as `tools` and `structured_outputs`; behind
            OpenRouter by some provider, not by all.
        input_modalities: what it reads, such as `text` and `image`.
        endpoints: OpenRouter's providers of it.
    """

    model: str
    context_tokens: int | None = None
    max_output_tokens: int | None = None
    input_price: float | None = None
    output_price: float | None = None
    parameters: frozenset[str] | None = None
    input_modalities: frozenset[str] | None = None
    endpoints: tuple[EndpointCapabilities, ...] = ()


def capabilities_of(clients: ChatClients) -> ModelCapabilities:
    """Ask the preferred host what it says of the model: one request, two at OpenRouter.

    Raises:
        RequestRejected: with the reason `not_found`, if the host does not list the model.
        ProviderError: if the host has no list of models, or cannot be asked.
    """
    return carry_out(_asking_about(clients.host, clients.model), clients)


async def acapabilities_of(clients: AsyncChatClients) -> ModelCapabilities:
    """Ask the preferred host what it says of the model; see `capabilities_of`."""
    return await acarry_out(_asking_about(clients.host, clients.model), clients)


def _asking_about(host: Host, model: str) -> Exchange[ModelCapabilities]:
    listed = yield _MODELS
    found = read_capabilities(listed, host, model)
    if not host.is_router:
        return found
    try:
        told = yield _endpoints_of(found.model)
    except ProviderError as error:
        if error.reason != "not_found":
            raise
        return found
    return replace(found, endpoints=read_endpoints(told))


def read_capabilities(listed: object, host: Host, model: str) -> ModelCapabilities:
    """Find a model in a host's list of models.

    Args:
        listed: the JSON of the list, in the shape of OpenRouter, vLLM, SGLang, llama.cpp, Ollama, Groq, Together or
            DeepInfra.
        host: whose it is.
        model: the id that is looked for. OpenRouter's suffixes are no models of their own, unless they are listed.

    Raises:
        RequestRejected: with the reason `not_found`, if it is not among them; the message names those most like it.
        UnexpectedResponse: if this is no list of models.
    """
    entries = _entries_in(listed)
    entry = _entry_for(entries, host, model)
    if entry is None:
        raise _not_listed(entries, host, model)
    input_price, output_price = _prices(entry)
    modalities = as_dict(entry.get("architecture")).get("input_modalities")
    return ModelCapabilities(
        model=text_or_none(entry.get("id")) or model,
        context_tokens=_first_count(entry, _CONTEXT),
        max_output_tokens=_first_count(entry, _MAX_OUTPUT),
        input_price=input_price,
        output_price=output_price,
        parameters=_words(entry.get("supported_parameters")),
        input_modalities=_words(modalities),
    )


def read_endpoints(told: object) -> tuple[EndpointCapabilities, ...]:
    """Read what OpenRouter says of the providers of a model; those without a slug are left out."""
    return tuple(_endpoints_in(as_dict(as_dict(told).get("data")).get("endpoints")))


def _endpoints_in(endpoints: object) -> Iterator[EndpointCapabilities]:
    for endpoint in dicts_in(endpoints):
        slug = text_or_none(endpoint.get("tag"))
        if slug is None:
            continue
        input_price, output_price = _prices(endpoint)
        yield EndpointCapabilities(
            provider=slug,
            context_tokens=_count(endpoint.get("context_length")),
            max_output_tokens=_count(endpoint.get("max_completion_tokens")),
            input_price=input_price,
            output_price=output_price,
            parameters=_words(endpoint.get("supported_parameters")),
            quantization=text_or_none(endpoint.get("quantization")),
            uptime=_number(endpoint.get("uptime_last_30m")),
        )


def _entries_in(listed: object) -> list[dict[str, Any]]:
    """The models of a list that has an id for each. Together sends the bare list."""
    models = listed if isinstance(listed, list) else as_dict(listed).get("data")
    if not isinstance(models, list):
        raise failure(reason="malformed", said="it is no list of models")
    return [model for model in dicts_in(models) if text_or_none(model.get("id"))]


def _entry_for(entries: list[dict[str, Any]], host: Host, model: str) -> dict[str, Any] | None:
    wanted = [model]
    if host.is_router:
        wanted.append(model.partition(":")[0])
    elif ":" not in model:
        wanted.append(f"{model}:latest")  # Ollama
    for name in wanted:
        for entry in entries:
            if name in (entry["id"], entry.get("canonical_slug")):
                return entry
    # llama.cpp answers to any name.
    return entries[0] if len(entries) == 1 and entries[0].get("owned_by") == "llamacpp" else None


def _not_listed(entries: list[dict[str, Any]], host: Host, model: str) -> ProviderError:
    alike = get_close_matches(model, [entry["id"] for entry in entries], n=3)
    hint = f"; most like it: {scrubbed(', '.join(alike))}" if alike else ""
    return failure(
        reason="not_found",
        said=f"{host.name} lists {len(entries)} models, and {model} is not among them{hint}",
        advice="Name a model that it has: models are withdrawn.",
    )


def _first_count(entry: Mapping[str, Any], paths: tuple[tuple[str, ...], ...]) -> int | None:
    return next((count for path in paths if (count := _count(_at(entry, path))) is not None), None)


def _at(entry: Mapping[str, Any], path: tuple[str, ...]) -> object:
    *outer, last = path
    for key in outer:
        entry = as_dict(entry.get(key))
    return entry.get(last)


def _prices(entry: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """The prices of a million tokens read, and written."""
    for place, read, written, tokens in _PRICES:
        told = as_dict(entry.get(place))
        told = as_dict(told.get("pricing")) if place == "metadata" else told
        if read in told or written in told:
            return _price(told.get(read), tokens), _price(told.get(written), tokens)
    return None, None


def _price(value: object, tokens: int) -> float | None:
    """The price of a million tokens. Reckoned in decimals: 0.00000008 times a million is 0.08."""
    number = _number(value)
    return None if number is None else float(Decimal(str(value).strip()) * (_MILLION // tokens))


def _count(value: object) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number >= 1 else None


def _number(value: object) -> float | None:
    """A number, also where it is written as text; a negative one (OpenRouter's -1) stands for none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(Decimal(str(value).strip()))
    except (InvalidOperation, ValueError):
        return None
    return number if 0 <= number < inf else None


def _words(value: object) -> frozenset[str] | None:
    return frozenset(word for word in value if isinstance(word, str)) if isinstance(value, list) else None


def _read_json(body: bytes, *, now: float) -> object:
    found: object = None
    with suppress(ValueError):
        found = parse_json(body.strip())
    if found is None:
        raise failure(reason="malformed", said="it is no JSON")
    if error := error_in(found):
        raise failure_from_error(error, now=now)
    return found


_MODELS: Endpoint[object] = Endpoint("models", _read_json)


@lru_cache(maxsize=64)
def _endpoints_of(model: str) -> Endpoint[object]:
    """A client remembers the address of each endpoint it was asked for: the same model must be the same endpoint."""
    return Endpoint(f"models/{quote(model, safe='/:@.~')}/endpoints", _read_json)
