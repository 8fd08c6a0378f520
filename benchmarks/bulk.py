"""Many texts at once, on a host that takes its time: how near each client comes to what the host could serve."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import count, islice
from typing import Any

import httpx
from langchain_core.runnables import Runnable, RunnableConfig

from benchmarks.bare_sockets import answered
from benchmarks.local_host import Behaviour, LocalHost
from benchmarks.measuring import Experiment, Measurement, Sample, measurement
from benchmarks.subjects import (
    ACALL,
    BARE,
    KEY,
    OPENAI,
    OPENROUTER,
    bare_httpx,
    chat_openai,
    chat_openrouter,
    installed,
    require,
)
from benchmarks.undisturbed import undisturbed
from benchmarks.whole_command import command_measurement
from langchain_llama_guard import LlamaGuard

LIMIT = "the host's limit"
SOCKETS = "bare sockets"
MANY = "LlamaGuard.acheck_many"
MANY_AS_COMPLETED = "LlamaGuard.acheck_many, as completed"
MANY_AIOHTTP = "LlamaGuard.acheck_many over aiohttp"
MANY_THREADS = "LlamaGuard.check_many"
BARE_AIOHTTP = "bare httpx over aiohttp"
EIGHT_POOLS = "bare httpx, eight pools"
GUARD = "LlamaGuard.acheck"
GUARD_BATCH = "LlamaGuard.abatch"

_TEXTS = 1_024  # a multiple of what is under way at once: the last wave is a whole one
_TEXTS_OF_PEERS = 256  # which take up to twenty times as long
_ROWS_OF_COMMAND = 2_048
_LATENCY_MS = 50
_AT_ONCE = 64
_ALSO_AT_ONCE = (16, 256)
_texts = (f"Name the river that is number {number} in Switzerland." for number in count())

Work = Callable[[], Coroutine[Any, Any, object]]


def title_of(at_once: int) -> str:
    """What an experiment with so many at once is called."""
    return f"many texts, guard {_LATENCY_MS} ms, {at_once} at once"


MANY_AT_ONCE = title_of(_AT_ONCE)


async def bulk_experiments(host: LocalHost, rounds: int, *, alone: bool = False) -> list[Experiment]:
    """How fast everybody has all texts judged or answered; no text is ever asked about twice.

    Args:
        host: who is asked.
        rounds: how often everybody is measured.
        alone: take a sample again where others used the machine meanwhile.
    """
    url = host.base_url(Behaviour("verdict", latency_ms=_LATENCY_MS))
    return [await _experiment(url, at_once, rounds, alone=alone) for at_once in (_AT_ONCE, *_ALSO_AT_ONCE)]


async def _experiment(url: str, at_once: int, rounds: int, *, alone: bool = False) -> Experiment:
    experiment = Experiment(title_of(at_once), base=LIMIT, compares="rate")
    async with AsyncExitStack() as closing:
        guard = await _opened(closing, url)
        over_aiohttp, lacking = installed({MANY_AIOHTTP: lambda: _client_over_aiohttp(at_once)})
        measurements = [
            _limit(at_once),
            _of_all(SOCKETS, lambda: _answered_on_sockets(url, at_once)),
            _of_all(MANY, lambda: _judged(guard, at_once)),
            _of_all(MANY_AS_COMPLETED, lambda: _judged(guard, at_once, as_completed=True)),
            _of_all(MANY_THREADS, lambda: _judged_in_threads(guard, at_once)),
            command_measurement(url, _fresh_texts(_ROWS_OF_COMMAND), at_once=at_once),
            *(
                measurement(name, bare_httpx(url, closing, clients)[ACALL], times=_TEXTS, at_once=at_once)
                for name, clients in {BARE: None, EIGHT_POOLS: _small_pools(at_once // 8)}.items()
            ),
        ]
        for name, client in over_aiohttp.items():
            closing.push_async_callback(client.aclose)
            faster = await _opened(closing, url, http_async_client=client)
            measurements.append(_of_all(name, lambda faster=faster: _judged(faster, at_once)))  # type: ignore[misc]
            bare = bare_httpx(url, closing, [_client_over_aiohttp(at_once)])[ACALL]
            measurements.append(measurement(BARE_AIOHTTP, bare, times=_TEXTS, at_once=at_once))
        if at_once == _AT_ONCE:
            others, missing = _one_by_one_and_peers(url, guard)
            measurements += others
            lacking.update(missing)
        experiment.missing = lacking
        await experiment.run([undisturbed(each) for each in measurements] if alone else measurements, rounds)
    return experiment


def _one_by_one_and_peers(url: str, guard: LlamaGuard) -> tuple[list[Measurement], dict[str, str]]:
    """What else there is to have many texts judged or answered."""
    peers, missing = installed({OPENAI: lambda: chat_openai(url), OPENROUTER: lambda: chat_openrouter(url)})
    return [
        measurement(GUARD, lambda: guard.acheck(next(_texts)), times=_TEXTS, at_once=_AT_ONCE),
        _batch(GUARD_BATCH, guard, _TEXTS),
        *(_batch(name, peer, _TEXTS_OF_PEERS) for name, peer in peers.items()),
    ], missing


async def _opened(closing: AsyncExitStack, url: str, **settings: Any) -> LlamaGuard:
    guard = closing.enter_context(LlamaGuard(base_url=url, api_key=KEY, **settings))
    return await closing.enter_async_context(guard)


def _client_over_aiohttp(at_once: int) -> httpx.AsyncClient:
    require("httpx_aiohttp")
    from httpx_aiohttp import HttpxAiohttpClient  # noqa: PLC0415 (it may be missing)

    return HttpxAiohttpClient(limits=httpx.Limits(max_connections=at_once))


def _small_pools(connections: int) -> list[httpx.AsyncClient]:
    return [httpx.AsyncClient(limits=httpx.Limits(max_connections=connections)) for _ in range(8)]


def _fresh_texts(many: int) -> Sequence[str]:
    return [*islice(_texts, many)]


def _of_all(name: str, work: Work) -> Measurement:
    return measurement(name, work, pieces=_TEXTS)


async def _judged(guard: LlamaGuard, at_once: int, *, as_completed: bool = False) -> None:
    texts, asked = _fresh_texts(_TEXTS), 0
    async for checked in guard.acheck_many(texts, concurrency=at_once, as_completed=as_completed):
        asked += not checked.verdict.cached
    assert asked == _TEXTS


async def _judged_in_threads(guard: LlamaGuard, at_once: int) -> None:
    texts = _fresh_texts(_TEXTS)
    assert sum(not checked.verdict.cached for checked in guard.check_many(texts, concurrency=at_once)) == _TEXTS


async def _answered_on_sockets(url: str, at_once: int) -> None:
    assert await answered(url, _fresh_texts(_TEXTS), at_once=at_once) == _TEXTS


def _batch(name: str, runnable: Runnable[Any, Any], many: int) -> Measurement:
    config = RunnableConfig(max_concurrency=_AT_ONCE)
    return measurement(name, lambda: runnable.abatch([*_fresh_texts(many)], config), pieces=many)


def _limit(at_once: int) -> Measurement:
    """What a client that cost nothing would take."""

    async def measure() -> Mapping[str, Sample]:
        return {LIMIT: Sample(cpu=0, wall=_LATENCY_MS / 1000 / at_once)}

    return measure
