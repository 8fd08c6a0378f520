"""The measurement, measured: where the guard is well, where the policy lets pass, and where a guard comes too late."""

from __future__ import annotations

from collections.abc import Iterable

from fault_matrix import body_failures
from fault_matrix.marks import OF_A_MODEL
from fault_matrix.points import Point
from fault_matrix.runner import Case
from fault_matrix.stand import PATIENT, Hosts, Stand
from fault_matrix.tally import Tally
from fault_matrix.watch import Watch
from llama_guard_core import Policy

HEALTHY = "the guard is well"
ALLOWING = "the guard fails, and the policy allows"
BEHIND = "the guard fails, and stands behind the model"
KINDS = (HEALTHY, ALLOWING, BEHIND)
_FAILURE = next(failure for failure in body_failures.FAILURES if failure.name == "status 503")
ALWAYS_RAISE = (
    "guard.input() | chain",
    "LlamaGuardDecisionModel",
    "guard as a Runnable",
    "LlamaGuardEvaluator",
    "LlamaGuardTransform",
    "LlamaGuard.check, acheck",
)
"""They have no way to let an unjudged text pass; a policy that says allow is not theirs."""

NEVER_SHOW = ("interrupt() beside a GuardNode, left waiting",)
"""What stands behind the guard does not run: they are there for what they leave behind."""


def control_counts(points: Iterable[Point], hosts: Hosts, watch: Watch, tally: Tally) -> None:
    """Count, by kind of control, the cases and those in which the text under test was seen."""
    for point in points:
        if point.stage in OF_A_MODEL or point.name in NEVER_SHOW:
            continue
        well = Stand(hosts, point.guard, stage=point.stage, timeout=PATIENT)
        allowing = Stand(hosts, point.guard, stage=point.stage, policy=Policy(on_no_verdict="allow"), timeout=PATIENT)
        for way in point.ways:
            _count(HEALTHY, Case(point, way, well, None), watch, tally)
            if point.name not in ALWAYS_RAISE or point.name == "guard.input() | chain":
                _count(ALLOWING, Case(point, way, allowing, _FAILURE), watch, tally)
            if point.name == "chain | guard.output()":
                _count(
                    BEHIND,
                    Case(as_if_inside(point), way, Stand(hosts, point.guard, stage=point.stage), _FAILURE),
                    watch,
                    tally,
                )


def as_if_inside(point: Point) -> Point:
    """The same attach point, held to what only a guard inside the model can keep."""
    return Point(point.name, point.stage, point.guard, point.ways, point.is_refused)


def _count(kind: str, case: Case, watch: Watch, tally: Tally) -> None:
    counts = case.run(watch)
    tally.add(f"{kind}: {case.point.name}", kind, {"cases": 1, "shown": counts["shown"]})
    if not counts["shown"]:
        tally.problems.append(f"control, {kind}: {case.point} [{case.way}] shows nothing; {case.seen.error!r}")
