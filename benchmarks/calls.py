"""Calls on a host that answers at once: plain ones, alone and many together, and streamed ones."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import NamedTuple

from benchmarks.local_host import REPLIES, LocalHost
from benchmarks.measuring import Experiment, measurement
from benchmarks.subjects import ACALL, ASTREAM, BARE, CALL, CHUNKS, STREAM, Subject, installed, subjects


class _Kind(NamedTuple):
    """One kind of call: how often it is made in a round, how often at any moment, and what each time counts for."""

    title: str
    work: str
    times: int
    at_once: int = 1
    pieces: int = 1


PLAIN_SYNC = "plain call, sync"
PLAIN_ASYNC = "plain call, async"
PLAIN_AT_ONCE = "plain call, async, 64 at once"
CHUNK_SYNC = "streamed chunk, sync"
CHUNK_ASYNC = "streamed chunk, async"

_KINDS = (
    _Kind(PLAIN_SYNC, CALL, times=100),
    _Kind(PLAIN_ASYNC, ACALL, times=100),
    _Kind(PLAIN_AT_ONCE, ACALL, times=256, at_once=64),
    _Kind(CHUNK_SYNC, STREAM, times=1, pieces=CHUNKS),
    _Kind(CHUNK_ASYNC, ASTREAM, times=1, pieces=CHUNKS),
)


async def call_experiments(host: LocalHost, rounds: int) -> list[Experiment]:
    """Every kind of call, made by everybody who can."""
    async with AsyncExitStack() as closing:
        present, missing = installed(subjects(host, closing))
        for name, subject in present.items():
            await _check(name, subject)
        return [await _experiment(kind, present, missing, rounds) for kind in _KINDS]


async def _check(name: str, subject: Subject) -> None:
    """A client that fails fast must not look fast."""
    for work in (CALL, ACALL):
        if work in subject:
            said = await subject[work]()
            assert said == REPLIES["reply"], f"{name} answered {said!r}"
    for work in (STREAM, ASTREAM):
        if work in subject:
            pieces = await subject[work]()
            assert pieces == CHUNKS, f"{name} streamed {pieces} pieces"


async def _experiment(kind: _Kind, present: dict[str, Subject], missing: dict[str, str], rounds: int) -> Experiment:
    experiment = Experiment(kind.title, base=BARE, missing=missing)
    measurements = [
        measurement(name, subject[kind.work], times=kind.times, at_once=kind.at_once, pieces=kind.pieces)
        for name, subject in present.items()
        if kind.work in subject
    ]
    await experiment.run(measurements, rounds)
    return experiment
