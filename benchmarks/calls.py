"""Calls on a host that answers at once: plain ones, alone and many together, streamed ones, and constructors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from benchmarks.local_host import REPLIES
from benchmarks.measuring import Experiment, Measurement, Sample, atimed, timed
from benchmarks.subjects import BARE, CHUNKS, NotInstalled, Subject

PLAIN_SYNC = "plain call, sync"
PLAIN_ASYNC = "plain call, async"
PLAIN_AT_ONCE = "plain call, async, 64 at once"
CHUNK_SYNC = "streamed chunk, sync"
CHUNK_ASYNC = "streamed chunk, async"

_CALLS = 100
_AT_ONCE = 64
_CALLS_AT_ONCE = 4 * _AT_ONCE


async def call_experiments(subjects: Mapping[str, Subject | NotInstalled], rounds: int) -> list[Experiment]:
    """Every kind of call, by everybody who has it."""
    experiments = []
    for title, measurement_of in _KINDS.items():
        experiment = Experiment(title, base=BARE)
        measurements = []
        for name, subject in subjects.items():
            if isinstance(subject, NotInstalled):
                experiment.missing[name] = subject.package
            elif measurement := measurement_of(name, subject):
                await measurement()  # the first opens connections
                measurements.append(measurement)
        await experiment.run(measurements, rounds)
        experiments.append(experiment)
    return experiments
