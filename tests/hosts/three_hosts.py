"""Three hosts in a list, and a guard that asks them in that order."""

from __future__ import annotations

from typing import Any

import pytest
from hosts.fakes import VLLM, FakeHost, Network, OpenRouter, Together

from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.guardrail.verdict import Verdict

both_colours = pytest.mark.parametrize("colour", ["sync", "async"])


class Three:
    """vLLM, then Together, then OpenRouter, and a guard that asks them in this order."""

    def __init__(self) -> None:
        self.first, self.second, self.third = VLLM(), Together(), OpenRouter()
        self.now = 0.0
        self.hosts: list[FakeHost] = [self.first, self.second, self.third]
        self.others: list[FakeHost] = []

    def guard(self, *hosts: Any, **settings: Any) -> LlamaGuard:
        network = Network(*self.hosts, *self.others)
        listed = [*hosts] or ["vllm", "together", "openrouter"]
        guard = LlamaGuard(**{"host": listed, "max_retries": 0, **network.clients(), **settings})
        guard._order._clock = lambda: self.now
        return guard

    @property
    def calls(self) -> list[int]:
        return [host.calls for host in self.hosts]


async def check(guard: LlamaGuard, what: Any, colour: str) -> Verdict:
    return guard.check(what) if colour == "sync" else await guard.acheck(what)
