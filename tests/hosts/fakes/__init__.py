"""Fakes of the hosts that are known by name: each as strict, and as wrong, as the real one is known to be.

They stand on the hosts' documentation, on what was recorded of them, and on Meta's published prompts; and on nothing of
the code under test, so that the two cannot share a mistake. A guard in them judges by marker words (`BOMB` is S9, `KNIFE`
S1, `FRAUD` S2, `DIAGNOSIS` S6), and reads nothing but the prompt that its host's template made, or that it was sent.
"""

from .cast import (
    VLLM,
    Cloudflare,
    DeepInfra,
    Fireworks,
    Groq,
    LlamaCpp,
    Meta,
    Nvidia,
    OfOnesOwn,
    OpenRouter,
    SGLang,
    Together,
)
from .fake_host import FakeHost
from .network import Network
from .ollama import Ollama
from .spoken import SCORE_OF_SAFE, SCORE_OF_UNSAFE

__all__ = [
    "SCORE_OF_SAFE",
    "SCORE_OF_UNSAFE",
    "VLLM",
    "Cloudflare",
    "DeepInfra",
    "FakeHost",
    "Fireworks",
    "Groq",
    "LlamaCpp",
    "Meta",
    "Network",
    "Nvidia",
    "OfOnesOwn",
    "Ollama",
    "OpenRouter",
    "SGLang",
    "Together",
]
