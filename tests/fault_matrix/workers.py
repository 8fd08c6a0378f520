"""The parts of the matrix, each run by a process of its own: their waiting overlaps, and what leaks is theirs alone."""

from __future__ import annotations

import gc
import importlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from fault_matrix import plan
from fault_matrix.cancellation import leaving_counts
from fault_matrix.controls import control_counts
from fault_matrix.plan import Planned
from fault_matrix.points import Point
from fault_matrix.runner import Case, warm_up
from fault_matrix.stand import PATIENT, TIMEOUT, Hosts, Stand
from fault_matrix.tally import Tally
from fault_matrix.watch import Watch

LONGEST_ANSWER = 900
"""Bytes; the guard's answer takes some 850 with its head."""
_SELDOM = 64
MODULES = (
    "langchain_points",
    "langchain_agent_points",
    "langchain_interrupt_points",
    "llamaindex_points",
    "llamaindex_more_points",
)
Cases = Callable[[Hosts], Iterable[Planned]]


def points_in(*modules: str) -> list[Point]:
    """The attach points of some modules."""
    return [point for name in modules for point in importlib.import_module(f"fault_matrix.{name}").POINTS]


def _of(module: str, first: int, step: int) -> Cases:
    def cases(hosts: Hosts) -> Iterator[Planned]:
        yield from plan.point_cases(hosts, points_in(module)[first::step])

    return cases


PARTS: dict[str, Cases] = {
    "core": plan.core_cases,
    "kept connections": lambda _: plan.keep_alive_cases(),
    "every byte": lambda _: plan.every_byte_cases(LONGEST_ANSWER),
    **{f"{module} {at}": _of(module, at, 2) for module in MODULES for at in (0, 1)},
}
BESIDES = {"controls": control_counts, "leaving": leaving_counts}
NAMES = (*PARTS, *(f"{name} {module}" for name in BESIDES for module in ("core_points", *MODULES)))


@contextmanager
def ready() -> Iterator[tuple[Hosts, Watch]]:
    """Hosts, and somebody who watches; what was loaded so far is no matter of the garbage collector's any more."""
    gc.collect()
    gc.freeze()
    with Hosts.open() as hosts, Watch().open() as watch:
        yield hosts, watch


def run_cases(cases: Iterable[Planned], hosts: Hosts, watch: Watch, tally: Tally) -> None:
    """Run cases one after the other. Those of one attach point under the same settings share a guard."""
    stands: dict[object, Stand] = {}
    last: Point | None = None
    for number, planned in enumerate(cases):
        if planned.point is not last:
            stands.clear()
            last = planned.point
            warm_up(planned.point, hosts, watch)
        counted_by = planned.failure.family if planned.failure.family.startswith("cut at any") else planned.failure.name
        for way in _ways(planned):
            case = _case(planned, way, hosts, stands)
            counts = case.run(watch)
            tally.add(str(planned.point), counted_by, counts)
            tally.problems += filter(None, [case.problem(counts)])
        if not planned.failure.family.startswith("cut at any") or number % _SELDOM == 0:
            complaints = watch.collected()
            tally.add(str(planned.point), counted_by, {"warnings": len(complaints)})
            tally.problems += [f"{planned.point} {planned.failure}: {each}" for each in complaints]


def _ways(planned: Planned) -> tuple[str, ...]:
    """One way will do for what takes many bytes, and one that asks the guard once."""
    if not planned.failure.is_heavy or len(planned.ways) > 1:
        return planned.ways
    return (next(way for way in planned.point.ways if way.endswith("plain")),)


def _case(planned: Planned, way: str, hosts: Hosts, stands: dict[object, Stand]) -> Case:
    failure = planned.failure
    settings = (
        planned.policy and planned.policy.on_no_verdict,
        planned.max_retries,
        failure.dead_host,
        failure.is_heavy,
    )
    if settings not in stands:
        stands[settings] = Stand(
            hosts,
            planned.point.guard,
            stage=planned.point.stage,
            policy=planned.policy,
            dead_host=failure.dead_host,
            timeout=PATIENT if failure.is_heavy else TIMEOUT,
            max_retries=planned.max_retries,
        )
    return Case(planned.point, way, stands[settings], failure, must_raise=planned.policy is not None)


def work(name: str) -> Tally:
    """Run a part."""
    tally = Tally()
    first, _, second = name.partition(" ")
    points = points_in(*{first, second}.intersection((*MODULES, "core_points")))
    with ready() as (hosts, watch):
        if first in BESIDES:
            BESIDES[first](points, hosts, watch, tally)
        else:
            run_cases(PARTS[name](hosts), hosts, watch, tally)
    return tally


if __name__ == "__main__":
    json.dump(work(sys.argv[1]).as_json(), sys.stdout)
