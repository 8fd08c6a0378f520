"""Many texts at once, on a host that takes its time: how near each client comes to what the host could serve."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig

from benchmarks.local_host import Behaviour, LocalHost
from benchmarks.measuring import Experiment, Measurement, Sample, measurement
from benchmarks.subjects import (
    ACALL,
    BARE,
    KEY,
    OPENAI,
    OPENROUTER,
    TEXT,
    bare_httpx,
    chat_openai,
    chat_openrouter,
    installed,
)
from langchain_llama_guard import LlamaGuard

MANY_AT_ONCE = "many texts, guard 50 ms, 64 at once"
LIMIT = "the host's limit"
GUARD = "LlamaGuard.acheck"
GUARD_BATCH = "LlamaGuard.abatch"

_TEXTS = 2_000
_AT_ONCE = 64
_LATENCY_MS = 50


async def bulk_experiment(host: LocalHost, rounds: int) -> Experiment:
    """How fast everybody has all texts judged or answered."""
    url = host.base_url(Behaviour("verdict", latency_ms=_LATENCY_MS))
    experiment = Experiment(MANY_AT_ONCE, base=LIMIT, compares="rate")
    async with AsyncExitStack() as closing:
        guard = await closing.enter_async_context(LlamaGuard(base_url=url, api_key=KEY, cache=False))
        measurements = [
            _limit,
            measurement(GUARD, lambda: guard.acheck(TEXT), times=_TEXTS, at_once=_AT_ONCE),
            _batch(GUARD_BATCH, guard),
            measurement(BARE, bare_httpx(url, closing)[ACALL], times=_TEXTS, at_once=_AT_ONCE),
        ]
        peers, experiment.missing = installed(
            {OPENAI: lambda: chat_openai(url), OPENROUTER: lambda: chat_openrouter(url)}
        )
        measurements += [_batch(name, peer) for name, peer in peers.items()]
        await experiment.run(measurements, rounds)
    return experiment


def _batch(name: str, runnable: Runnable[Any, Any]) -> Measurement:
    texts, config = [TEXT] * _TEXTS, RunnableConfig(max_concurrency=_AT_ONCE)
    return measurement(name, lambda: runnable.abatch(texts, config), pieces=_TEXTS)


async def _limit() -> Mapping[str, Sample]:
    """What a client that cost nothing would take."""
    return {LIMIT: Sample(cpu=0, wall=_LATENCY_MS / 1000 / _AT_ONCE)}
