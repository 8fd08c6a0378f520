"""The hosts that are known by name.

Hosts come and go, and change what they have: each record says what was last known. Sources: the hosts' own
documentation and SDKs, and recorded exchanges with them, read in November 2026. Nothing here was asked of a real host
by this project; `LlamaGuard.self_test` is what tells whether a host still keeps to its record.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from urllib.parse import SplitResult, urlsplit

from llama_guard_core.errors import ConfigurationError
from llama_guard_core.provider.embedded import Embedded
from llama_guard_core.provider.hosts import OPENROUTER, Host, host_for

_GUARD_4 = "meta-llama/Llama-Guard-4-12B"
_SCOUT = "meta-llama/Llama-4-Scout-17B-16E-Instruct"
_OLLAMA_PORT = 11434

VLLM = Host(
    name="vLLM",
    base_url="http://localhost:8000/v1",
    guard_model=_GUARD_4,
    chat_model=_SCOUT,
    content="string",  # it finds out what the template takes, and converts
    raw_endpoint="completions",
    raw_fields={"add_special_tokens": False},
    adds_bos=False,
    logprobs="openai",
    takes_template_arguments=True,
    remarks="applies the sampling defaults of the model's repository to what a request leaves open",
)
SGLANG = Host(
    name="SGLang",
    base_url="http://localhost:30000/v1",
    guard_model=_GUARD_4,
    chat_model=_SCOUT,
    raw_endpoint="completions",
    logprobs="openai",
    takes_template_arguments=True,
)
LLAMA_CPP = Host(
    name="llama.cpp",
    base_url="http://localhost:8080/v1",
    guard_model="Llama-Guard-3-8B",  # it answers to any name, and cannot load Llama Guard 4
    chat_model=_SCOUT,
    guard_endpoint="completions",
    raw_endpoint="completions",
    logprobs="openai",
    remarks=(
        "applies no guard prompt without --jinja, and repeats a reply in place of judging it without "
        "--no-prefill-assistant; so the published prompt is written here. It cannot load Llama Guard 4"
    ),
)
OLLAMA = Host(
    name="Ollama",
    base_url=f"http://localhost:{_OLLAMA_PORT}/v1",
    guard_model="llama-guard3:8b",
    chat_model="llama4:scout",
    guard_endpoint="ollama",
    raw_endpoint="ollama",
    logprobs="openai",
    remarks=(
        "asks about the last user message whoever spoke last, by its template for llama-guard3 (ollama issue 11440); "
        "so the published prompt is written here. It has no Llama Guard 4"
    ),
)
GROQ = Host(
    name="Groq",
    base_url="https://api.groq.com/openai/v1",
    api_key_env="GROQ_API_KEY",
    content="string",
    rejects=frozenset({"logprobs", "top_logprobs", "logit_bias"}),
    remarks="withdrew Llama Guard 4 in March 2026 and Llama 4 Scout in July 2026: name a model that it has",
)
TOGETHER = Host(
    name="Together",
    base_url="https://api.together.xyz/v1",
    api_key_env="TOGETHER_API_KEY",
    guard_model=_GUARD_4,
    chat_model=_SCOUT,
    content="string",
    raw_endpoint="completions",
    logprobs="count",
)
DEEPINFRA = Host(
    name="DeepInfra",
    base_url="https://api.deepinfra.com/v1/openai",
    api_key_env="DEEPINFRA_API_TOKEN",
    guard_model=_GUARD_4,
    chat_model=_SCOUT,
    content="string",
    raw_endpoint="completions",
    remarks="gives no log-probabilities at this address",
)
NVIDIA = Host(
    name="NVIDIA NIM",
    base_url="https://integrate.api.nvidia.com/v1",
    api_key_env="NVIDIA_API_KEY",
    guard_model="meta/llama-guard-4-12b",
    chat_model="meta/llama-4-scout-17b-16e-instruct",
    content="string",
    remarks="limits the rate of requests to its free endpoint",
)
FIREWORKS = Host(
    name="Fireworks",
    base_url="https://api.fireworks.ai/inference/v1",
    api_key_env="FIREWORKS_API_KEY",
    guard_model="accounts/fireworks/models/llama-guard-3-8b",
    chat_model="accounts/fireworks/models/llama4-scout-instruct-basic",
    content="string",
    raw_endpoint="completions",
    remarks="has Llama Guard 3 and older",
)
CLOUDFLARE = Host(
    name="Cloudflare",
    base_url="https://api.cloudflare.com/client/v4/accounts/{CLOUDFLARE_ACCOUNT_ID}/ai/v1",
    api_key_env="CLOUDFLARE_API_TOKEN",
    guard_model="@cf/meta/llama-guard-3-8b",
    chat_model="@cf/meta/llama-4-scout-17b-16e-instruct",
    content="string",
    rejects=frozenset({"seed"}),  # its type of this model's input has none
    remarks="has Llama Guard 3 (8B) only, and gives no log-probabilities",
)
META = Host(
    name="Meta",
    base_url="https://api.llama.com/compat/v1",
    api_key_env="LLAMA_API_KEY",
    guard_model="Llama-Guard-4",
    chat_model="Llama-4-Scout-17B-16E-Instruct-FP8",
    guard_endpoint="moderations",
    content="string",
    remarks="names hazards by slugs, or not at all; whether its API is still open to new users is doubtful",
)

KNOWN_HOSTS: Mapping[str, Host] = MappingProxyType(
    {
        "openrouter": OPENROUTER,
        "vllm": VLLM,
        "sglang": SGLANG,
        "llama.cpp": LLAMA_CPP,
        "ollama": OLLAMA,
        "groq": GROQ,
        "together": TOGETHER,
        "deepinfra": DEEPINFRA,
        "nvidia": NVIDIA,
        "fireworks": FIREWORKS,
        "cloudflare": CLOUDFLARE,
        "meta": META,
    }
)
"""The names that `host=` takes."""

HostLike = str | Host | Embedded
"""A known name, an address, a record, or a model file to be served inside this process."""

_BY_NAME_OF_MACHINE = {
    urlsplit(host.base_url).hostname: host for host in KNOWN_HOSTS.values() if host.base_url.startswith("https://")
} | {"api.together.ai": TOGETHER}


def known_at(parts: SplitResult) -> Host | None:
    """The known host at an address, if there is one: by its domain, or by the port that Ollama alone uses."""
    known = _BY_NAME_OF_MACHINE.get(parts.hostname)
    if known is None and parts.port == _OLLAMA_PORT:
        return OLLAMA
    return known


def chosen_hosts(host: HostLike | Sequence[HostLike] | None, base_url: str | None) -> tuple[Host, ...]:
    """The hosts that somebody chose, in the order they are to be asked.

    Args:
        host: a known name, an address, a record, a model file; or a list of these.
        base_url: an address: alone, or as the place of a `host` that is known by name.

    Raises:
        ConfigurationError: if a name is unknown, an address is none, or there is nothing in the list.
    """
    if host is None:
        return (host_for(base_url),)
    if isinstance(host, str | Host | Embedded):
        one = _host_of(host)
        if base_url is not None and one.server is not None:
            msg = "base_url: a model file that is served inside this process has no address of yours; leave it out"
            raise ConfigurationError(msg)
        return (one if base_url is None else replace(one, base_url=host_for(base_url).base_url),)
    if base_url is not None:
        msg = "base_url is one address: in a list of hosts, give each its own, as Host.named('vllm', base_url=...)"
        raise ConfigurationError(msg)
    several = tuple(map(_host_of, _listed(host)))
    if not several:
        msg = "the list of hosts is empty: name at least one, or leave host out for OpenRouter"
        raise ConfigurationError(msg)
    return several


def _listed(hosts: Iterable[HostLike]) -> list[HostLike]:
    listed = list(hosts)
    if not all(isinstance(host, str | Host | Embedded) for host in listed):
        msg = "a host is a name, an address, a Host or an Embedded"
        raise ConfigurationError(msg)
    return listed


def _host_of(host: HostLike) -> Host:
    if isinstance(host, Embedded):
        return host.host
    if isinstance(host, Host):
        return host
    return host_for(host) if "://" in host else Host.named(host)
