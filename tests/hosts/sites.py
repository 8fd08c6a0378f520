"""Where a guard can be, as rows of tables: a fake host, the settings that lead to it, and what it can and cannot do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import pytest
from hosts.fakes import (
    VLLM,
    Cloudflare,
    DeepInfra,
    FakeHost,
    Fireworks,
    Groq,
    LlamaCpp,
    Meta,
    Network,
    Nvidia,
    OfOnesOwn,
    Ollama,
    OpenRouter,
    SGLang,
    Together,
)
from typing_extensions import Self

from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.provider.embedded import Embedded
from llama_guard_core.provider.hosts import Host

G = TypeVar("G", bound=LlamaGuard)

KEYS = {
    "OPENROUTER_API_KEY": "sk-openrouter",
    "GROQ_API_KEY": "sk-groq",
    "TOGETHER_API_KEY": "sk-together",
    "DEEPINFRA_API_TOKEN": "sk-deepinfra",
    "NVIDIA_API_KEY": "sk-nvidia",
    "FIREWORKS_API_KEY": "sk-fireworks",
    "CLOUDFLARE_API_TOKEN": "sk-cloudflare",
    "CLOUDFLARE_ACCOUNT_ID": "a1b2c3",
    "LLAMA_API_KEY": "sk-meta",
}
"""What stands in the environment, for all hosts at once: each must be shown its own key alone."""

TEXT = "a prompt in text carries none"
UNSEEING = "reads none"


class InProcess(Embedded):
    """A model file served in this process, whose server is a fake: `tests/embedded` has the real one."""

    base_url = "http://127.0.0.1:40197/v1"
    api_key = "sk-embedded"
    adds_bos = True
    is_running = True

    def start(self) -> Self:
        return self


class WithoutBos(InProcess):
    """A file that says its model's text does not begin with the token by itself."""

    adds_bos = False


@dataclass(frozen=True)
class Site:
    """One way to a guard.

    Attributes:
        make: the fake host.
        settings: of the guard.
        name: what the host is called in verdicts and errors.
        pictures: why it cannot be asked about pictures; None where it can.
        scores: whether its verdicts have a score.
        excludes: where hazards that are not asked about are left out: of the prompt, or of the codes.
        custom: whether it can be asked about hazards of the application's own; about pictures, too, if `"with pictures"`.
        version: of Llama Guard.
    """

    make: Callable[[], FakeHost]
    settings: Mapping[str, Any]
    name: str
    pictures: str | None = None
    scores: bool = False
    excludes: Literal["prompt", "codes"] = "codes"
    custom: Literal["no", "text", "with pictures"] = "no"
    version: int = 4

    def guard(self, fake: FakeHost, kind: type[G] = LlamaGuard, **settings: Any) -> G:  # type: ignore[assignment]
        """A guard there, of the core or of a framework."""
        return kind(**{"max_retries": 0, **self.settings, **Network(fake).clients(), **settings})


_IN_PROMPT: Mapping[str, Any] = {"excludes": "prompt", "custom": "text"}
_RAW: Mapping[str, Any] = {"pictures": TEXT, "scores": True, **_IN_PROMPT}
_ARGUMENTS: Mapping[str, Any] = {"scores": True, "excludes": "prompt", "custom": "with pictures"}

SITES: Mapping[str, Site] = {
    "openrouter": Site(OpenRouter, {}, "OpenRouter"),
    "vllm": Site(VLLM, {"host": "vllm"}, "vLLM", **_ARGUMENTS),
    "vllm, prompt written here": Site(VLLM, {"host": "vllm", "raw_prompt": True}, "vLLM", **_RAW),
    "vllm with 3 8B": Site(
        lambda: VLLM("meta-llama/Llama-Guard-3-8B", "3-8b"),
        {"host": "vllm", "model": "meta-llama/Llama-Guard-3-8B"},
        "vLLM",
        pictures=UNSEEING,
        scores=True,
        custom="text",
        version=3,
    ),
    "vllm with 3 1B": Site(
        lambda: VLLM("meta-llama/Llama-Guard-3-1B", "3-1b"),
        {"host": "vllm", "model": "meta-llama/Llama-Guard-3-1B"},
        "vLLM",
        pictures=UNSEEING,
        scores=True,
        excludes="prompt",
        custom="text",
        version=3,
    ),
    "vllm with 3 11B-Vision": Site(
        lambda: VLLM("meta-llama/Llama-Guard-3-11B-Vision", "3-11b"),
        {"host": "vllm", "model": "meta-llama/Llama-Guard-3-11B-Vision"},
        "vLLM",
        version=3,
        **_ARGUMENTS,
    ),
    "vllm with 2, prompt written here": Site(
        lambda: VLLM("meta-llama/Meta-Llama-Guard-2-8B", "2-8b"),
        {"host": "vllm", "model": "meta-llama/Meta-Llama-Guard-2-8B", "raw_prompt": True},
        "vLLM",
        version=2,
        **_RAW,
    ),
    "sglang": Site(SGLang, {"host": "sglang"}, "SGLang", **_ARGUMENTS),
    "sglang, prompt written here": Site(SGLang, {"host": "sglang", "raw_prompt": True}, "SGLang", **_RAW),
    "llama.cpp": Site(LlamaCpp, {"host": "llama.cpp"}, "llama.cpp", version=3, **_RAW),
    "ollama": Site(Ollama, {"host": "ollama"}, "Ollama", version=3, **_RAW),
    "ollama with 3 1B": Site(Ollama, {"host": "ollama", "model": "llama-guard3:1b"}, "Ollama", version=3, **_RAW),
    "groq, before March 2026": Site(
        lambda: Groq(with_guard=True), {"host": "groq", "model": "meta-llama/llama-guard-4-12b"}, "Groq"
    ),
    "together": Site(Together, {"host": "together"}, "Together", scores=True, custom="text"),
    "together, prompt written here": Site(Together, {"host": "together", "raw_prompt": True}, "Together", **_RAW),
    "deepinfra": Site(DeepInfra, {"host": "deepinfra"}, "DeepInfra", custom="text"),
    "nvidia": Site(Nvidia, {"host": "nvidia"}, "NVIDIA NIM"),
    "fireworks": Site(Fireworks, {"host": "fireworks"}, "Fireworks", pictures=UNSEEING, custom="text", version=3),
    "cloudflare": Site(Cloudflare, {"host": "cloudflare"}, "Cloudflare", pictures=UNSEEING, version=3),
    "meta": Site(Meta, {"host": "meta"}, "Meta"),
    "an unknown address": Site(OfOnesOwn, {"host": "http://guards.example:9000/v1"}, "guards.example"),
    "an unknown address with 3 8B": Site(
        lambda: OfOnesOwn("llama-guard-3-8b", "3-8b"),
        {"base_url": "http://guards.example:9000/v1", "model": "llama-guard-3-8b"},
        "guards.example",
        pictures=UNSEEING,
        version=3,
    ),
    "an unknown address with 3 1B": Site(
        lambda: OfOnesOwn("llama-guard-3-1b", "3-1b"),
        {"host": Host(name="the cellar", base_url="http://guards.example:9000/v1", guard_model="llama-guard-3-1b")},
        "the cellar",
        pictures=UNSEEING,
        version=3,
    ),
    "embedded": Site(
        lambda: LlamaCpp(InProcess.base_url, key=InProcess.api_key),
        {"host": InProcess("Llama-Guard-3-8B.Q4_K_M.gguf")},
        "llama.cpp (Llama-Guard-3-8B.Q4_K_M.gguf, embedded)",
        version=3,
        **_RAW,
    ),
    "embedded, a file without its beginning": Site(
        lambda: LlamaCpp(InProcess.base_url, key=InProcess.api_key, family="3-1b", adds_bos=False),
        {"host": WithoutBos("Llama-Guard-3-1B.gguf")},
        "llama.cpp (Llama-Guard-3-1B.gguf, embedded)",
        version=3,
        **_RAW,
    ),
}

every_site = pytest.mark.parametrize("site", SITES.values(), ids=SITES)
"""All of them."""
