"""Which failures are run where: all of them at the core's guard, and all at every attach point, each in one way at least."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fault_matrix import body_failures, core_points, keep_alive_points, stream_failures, verdict_failures, wire_failures
from fault_matrix.failures import Failure
from fault_matrix.marks import OF_A_MODEL
from fault_matrix.points import Point
from fault_matrix.stand import Hosts
from llama_guard_core import Policy

REPRESENTATIVES = (
    "status 503",
    "error 502 in the choice",
    "cut in_body",
    "stall before_headers",
    "says 'safe\\nS1'",
    "UTF-16",
)
"""One failure of each kind that an attach point can tell apart; these are run in every way there is."""
RAISING = ("status 429", "reset in_body", "white space", "prose")
RETRYING = ("status 502", "cut before_headers")
MIDDLES = stream_failures.in_the_middle()
"""What befalls a model in the middle of what it says: run in every way wherever a model is under test."""
_THINNED = {"verdict": 5, "JSON": 4, "HTTP": 4, "cut": 4, "status": 2, "error body": 2, "encoding": 2, "trickle": 2}
"""Of these families an attach point gets every second to fifth failure: it is told nothing but the reason."""


@dataclass(frozen=True, slots=True)
class Planned:
    """Failures that are run at one attach point on one guard."""

    point: Point
    failure: Failure
    ways: tuple[str, ...]
    policy: Policy | None = None
    max_retries: int = 0


def failures_of(hosts: Hosts) -> list[Failure]:
    """Every failure of a guard's host."""
    own = [*body_failures.FAILURES, *wire_failures.FAILURES, *verdict_failures.FAILURES]
    return [*own, *wire_failures.redirects(hosts.away)]


def everything(point: Point, failures: Sequence[Failure]) -> Iterator[Planned]:
    """Every failure in every way."""
    for failure in failures:
        yield Planned(point, failure, tuple(point.ways))


def spread(point: Point, failures: Sequence[Failure], turn: int) -> Iterator[Planned]:
    """The representatives in every way, of the others each in one; attach points take turns with ways and failures."""
    for at, failure in enumerate(failures, turn):
        if failure.name in REPRESENTATIVES or (point.stage in OF_A_MODEL and failure in MIDDLES):
            yield Planned(point, failure, tuple(point.ways))
        elif at % _THINNED.get(failure.family, 1) == 0:
            yield Planned(point, failure, (_way(point, at // _THINNED.get(failure.family, 1)),))
    if point.stage not in OF_A_MODEL:
        yield from _under_other_settings(point, failures, turn)


def _under_other_settings(point: Point, failures: Sequence[Failure], turn: int) -> Iterator[Planned]:
    for at, failure in enumerate(failures, turn):
        if failure.name in RAISING:
            yield Planned(point, failure, (_way(point, at),), policy=Policy(on_no_verdict="raise"))
        if failure.name in RETRYING:
            yield Planned(point, failure, (_way(point, at),), max_retries=1)


def _way(point: Point, turn: int) -> str:
    return list(point.ways)[turn % len(point.ways)]


def core_cases(hosts: Hosts) -> Iterator[Planned]:
    """Every failure at the core's guard, and at the call that follows it."""
    failures = failures_of(hosts)
    for turn, point in enumerate(core_points.POINTS):
        yield from everything(point, failures) if turn < 2 else spread(point, failures, turn)
    alive = [failure for failure in failures if failure.dead_host is None and not failure.is_heavy]
    yield from everything(core_points.NEXT_CALL, alive)


def keep_alive_cases() -> Iterator[Planned]:
    """Kept connections that are closed as they are used again, with and without another attempt."""
    point = keep_alive_points.POINT
    for max_retries in (0, 1):
        for failure in keep_alive_points.FAILURES:
            yield Planned(point, failure, tuple(point.ways), max_retries=max_retries)


def every_byte_cases(longest: int) -> Iterator[Planned]:
    """A cut at every byte of an answer to the core's guard."""
    for framing in ("chunked", "length", "until close"):
        yield from everything(core_points.POINTS[0], wire_failures.at_any_byte(longest, framing))


def failures_at(point: Point, hosts: Hosts) -> list[Failure]:
    """Every failure of the host that an attach point depends on at its stage."""
    return stream_failures.failures() if point.stage in OF_A_MODEL else failures_of(hosts)


def point_cases(hosts: Hosts, points: Sequence[Point]) -> Iterator[Planned]:
    """The failures at attach points."""
    for turn, point in enumerate(points):
        yield from spread(point, failures_at(point, hosts), turn)
