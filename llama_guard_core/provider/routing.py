"""OpenRouter's own options: which provider serves a call, whose application it is for, and the model suffixes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from llama_guard_core.errors import ConfigurationError
from llama_guard_core.provider.hosts import Host

ModelVariant = Annotated[
    Literal["balanced", "nitro", "floor", "exacto", "free"],
    BeforeValidator(lambda name: name.lower() if isinstance(name, str) else name),
]
"""How a model's providers are chosen, by the names of OpenRouter's site, in any case.

`balanced`: the default; cheap providers that are up share the calls. The others are a suffix of the id. `nitro`:
fastest first, dearer priority tiers included. `floor`: cheapest first, slower flex tiers included. `exacto`: best at
tool calls first. `free`: the free endpoints alone, with their daily limits; few models have any.
"""

Quantization = Literal[
    "int4", "int8", "fp4", "mxfp4", "nvfp4", "fp6", "fp8", "mxfp8", "fp16", "bf16", "fp32", "unknown"
]
SortCriterion = Literal["price", "throughput", "latency", "exacto"]

_Category = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=30)]


class _Options(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Percentiles(_Options):
    """A bound for each percentile of the last five minutes' calls."""

    p50: float | None = Field(default=None, gt=0)
    """For half of the calls."""
    p75: float | None = Field(default=None, gt=0)
    """For three of four."""
    p90: float | None = Field(default=None, gt=0)
    """For nine of ten."""
    p99: float | None = Field(default=None, gt=0)
    """For 99 of 100."""


class MaxPrice(_Options):
    """The highest price to pay. Providers that ask more are left out, even if none remains."""

    prompt: float | str | None = None
    """US dollars per million input tokens."""
    completion: float | str | None = None
    """US dollars per million output tokens."""
    request: float | str | None = None
    """US dollars per request."""
    image: float | str | None = None
    """US dollars per image."""
    audio: float | str | None = None
    """US dollars per unit of audio."""


class SortOrder(_Options):
    """An order of preference among providers, with or without regard to the model."""

    by: SortCriterion
    """What is preferred."""
    partition: Literal["model", "none"] | None = None
    """`model`: all providers of the first model before those of a fallback model. `none`: all endpoints in one list."""


class ProviderRouting(_Options):
    """Which providers behind OpenRouter may serve a call, and in which order.

    Providers are named by slug (`deepinfra`, `deepinfra/turbo`), not by the display name that replies carry. Llama
    Guard has few
    providers: a narrow choice easily leaves none, which is answered with 404.
    """

    order: tuple[str, ...] | None = None
    """Slugs to try in this order. Switches load balancing and sticky caching off."""
    only: tuple[str, ...] | None = None
    """Slugs that alone may serve the call; the account's own list narrows it further."""
    ignore: tuple[str, ...] | None = None
    """Slugs that may not, besides those the account ignores."""
    allow_fallbacks: bool | None = None
    """Whether others are tried when the preferred ones fail (the host's default: yes)."""
    require_parameters: bool | None = None
    """Whether to leave out providers that would ignore a parameter of the request (default: no)."""
    data_collection: Literal["allow", "deny"] | None = None
    """`deny` leaves out providers that store prompts or train on them."""
    zdr: bool | None = None
    """Whether to use only endpoints that retain no data. An account setting can demand it too."""
    enforce_distillable_text: bool | None = None
    """Whether to use only models whose text may be used for distillation."""
    quantizations: tuple[Quantization, ...] | None = None
    """The weight formats that are acceptable."""
    sort: SortCriterion | SortOrder | None = None
    """What to prefer. Switches load balancing off."""
    max_price: MaxPrice | None = None
    """The highest price to pay, a hard limit."""
    preferred_min_throughput: float | Percentiles | None = None
    """Tokens per second; slower endpoints are tried last, not left out."""
    preferred_max_latency: float | Percentiles | None = None
    """Seconds to the first token; slower endpoints are tried last, not left out."""

    def as_request(self) -> dict[str, object]:
        """The value of the request's `provider` field: what was set, and nothing else."""
        return self.model_dump(mode="json", exclude_none=True)


class Attribution(_Options):
    """Whose application makes the calls, for OpenRouter's rankings. Nothing is sent unless it is set."""

    url: str | None = None
    """The application's address. Without it the host attributes nothing."""
    title: str | None = None
    """The name to show; an address on localhost needs one."""
    categories: tuple[_Category, ...] = Field(default=(), max_length=2)
    """At most two, in lower case with hyphens; the host drops those it does not know."""

    def headers(self) -> dict[str, str]:
        """The headers that say so."""
        named = {
            "HTTP-Referer": self.url,
            "X-OpenRouter-Title": self.title,
            "X-OpenRouter-Categories": ",".join(self.categories),
        }
        return {name: value for name, value in named.items() if value}


def with_variant(model: str, variant: ModelVariant | None) -> str:
    """The model id with its suffix; None leaves it as it is, and so does `balanced`.

    Raises:
        ConfigurationError: if the id bears another suffix already.
    """
    variant = cast("ModelVariant | None", variant and variant.lower())
    if variant in (None, "balanced") or model.endswith(f":{variant}"):
        return model
    if ":" in model.rpartition("/")[2]:
        msg = f"The model id {model!r} has a suffix already: leave out either that or variant={variant!r}."
        raise ConfigurationError(msg)
    return f"{model}:{variant}"


def routers_fields(host: Host, models: Sequence[str], routing: ProviderRouting | None) -> dict[str, Any]:
    """What a request holds for OpenRouter alone.

    Args:
        host: the host; an address that nothing is known of may be a proxy of OpenRouter, and is told its routing.
        models: the guard's id, and those of its stand-ins.
        routing: which of OpenRouter's providers may judge.
    """
    fields: dict[str, Any] = {}
    if host.is_router:
        # Endpoints with a short context leave out the middle of a long chat unless told not to.
        fields["plugins"] = [{"id": "context-compression", "enabled": False}]
    if len(models) > 1:
        fields["models"] = list(models)
    may_be_proxy = host.guard_model is None and host.api_key_env is None
    if routing is not None and (host.is_router or may_be_proxy):
        fields["provider"] = routing.as_request()
    return fields
