"""When a host fails, nothing unjudged is shown, nothing hangs, nothing is left behind: a sample of the whole table.

Every failure is run at the guard of the core; at every attach point one in every way to ask it, and some others.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("langgraph", reason="LangGraph is not installed")
pytest.importorskip("langchain.agents", reason="langchain, which has create_agent, is not installed")
pytest.importorskip("langchain_core.decisions", reason="decision models came with langchain-core 1.8")
pytest.importorskip("llama_index.core", reason="LlamaIndex is not installed")

from fault_matrix import core_points, keep_alive_points, plan
from fault_matrix.cancellation import leaving_counts
from fault_matrix.controls import BEHIND, HEALTHY, control_counts
from fault_matrix.plan import Planned
from fault_matrix.points import Point
from fault_matrix.runner import Case
from fault_matrix.stand import Hosts, Stand
from fault_matrix.tally import Tally
from fault_matrix.watch import Watch
from fault_matrix.workers import MODULES, points_in, run_cases
from llama_guard_core.classifier import LlamaGuard

POINTS = points_in(*MODULES)
IN_EVERY_WAY = ("status 503",)
IN_ONE_WAY = ("says 'safe\\nS1'", "cut in_body", "stall before_headers", "connection refused", "every chunk twice")
every_point = pytest.mark.parametrize("point", POINTS, ids=str)


@pytest.fixture(scope="module", autouse=True)
def _nothing_old_to_collect() -> Iterator[None]:
    """What the other tests hold would make each look for garbage slow."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def hosts() -> Iterator[Hosts]:
    with Hosts.open() as hosts:
        yield hosts


@pytest.fixture
def watch() -> Iterator[Watch]:
    with Watch().open() as watch:
        yield watch


def _problems(cases: Any, hosts: Hosts, watch: Watch) -> list[str]:
    tally = Tally()
    run_cases(cases, hosts, watch, tally)
    assert tally.total["cases"]
    return tally.problems


@pytest.mark.parametrize("way", ["sync plain", "async plain"])
def test_no_failure_of_its_host_gets_a_text_past_the_guard(hosts: Hosts, watch: Watch, way: str) -> None:
    first = 0 if way == "sync plain" else 1
    failures = [each for each in plan.failures_of(hosts) if not each.is_heavy][first::2]
    point = core_points.POINTS[first]
    assert [] == _problems((Planned(point, failure, (way,)) for failure in failures), hosts, watch)


@pytest.mark.parametrize("framing", ["chunked", "length", "until close"])
def test_no_cut_gets_a_text_past_the_guard(hosts: Hosts, watch: Watch, framing: str) -> None:
    cuts = [each for each in plan.every_byte_cases(900) if framing in each.failure.family]
    assert [] == _problems(cuts[::17], hosts, watch)


@pytest.mark.parametrize("family", ["status", "encoding", "JSON", "stall"])
def test_the_call_after_a_failure_gets_its_own_verdict(hosts: Hosts, watch: Watch, family: str) -> None:
    failures = [each for each in plan.failures_of(hosts) if each.family == family][::3]
    assert [] == _problems(plan.everything(core_points.NEXT_CALL, failures), hosts, watch)


@every_point
def test_no_attach_point_shows_or_leaves_behind_anything(hosts: Hosts, watch: Watch, point: Point) -> None:
    failures = plan.failures_at(point, hosts)
    ways = tuple(point.ways)
    cases = [Planned(point, each, ways) for each in failures if each.name in IN_EVERY_WAY]
    in_one_way = [each for each in failures if each.name in IN_ONE_WAY]
    turn = POINTS.index(point)
    cases += [Planned(point, each, (ways[turn % len(ways)],)) for each in in_one_way[turn % 2 :: 2]]
    assert [] == _problems(cases, hosts, watch)


@pytest.mark.parametrize("point", [each for each in POINTS if each.stage == "calling model"], ids=str)
def test_no_tool_runs_on_what_a_failing_model_has_said_of_its_call(hosts: Hosts, watch: Watch, point: Point) -> None:
    ways = list(point.ways)
    cases = [Planned(point, each, (ways[at % len(ways)],)) for at, each in enumerate(plan.MIDDLES[::3])]
    assert [] == _problems(cases, hosts, watch)


def test_a_call_on_a_connection_that_is_closed_under_it_has_its_own_verdict_or_none(hosts: Hosts, watch: Watch) -> None:
    assert [] == _problems([each for each in plan.keep_alive_cases() if each.max_retries == 0][::3], hosts, watch)


def test_such_a_connection_is_used_again(hosts: Hosts, watch: Watch) -> None:
    failure = next(each for each in keep_alive_points.FAILURES if each.name == "closed behind the next request")
    stand = Stand(hosts, LlamaGuard, stage="prompt", dead_host=failure.dead_host)
    case = Case(keep_alive_points.POINT, "sync plain", stand, failure)
    case.run(watch)
    assert case.seen.said.endswith("3 had none")


LEFT = [*POINTS[::20], *(each for each in POINTS if each.name == "interrupt() beside a guarded model, resumed")]


@pytest.mark.parametrize("point", LEFT, ids=str)
def test_a_caller_that_leaves_takes_everything_along(hosts: Hosts, watch: Watch, point: Point) -> None:
    tally = Tally()
    leaving_counts([replace(point, ways=dict(list(point.ways.items())[-1:]))], hosts, watch, tally)
    assert [] == tally.problems


def test_where_the_guard_is_well_or_comes_too_late_the_text_is_seen(hosts: Hosts, watch: Watch) -> None:
    tally = Tally()
    behind = [point for point in POINTS if point.name == "chain | guard.output()"]
    control_counts([*POINTS[::16], *behind], hosts, watch, tally)
    assert [] == tally.problems
    assert {HEALTHY, BEHIND} <= set(tally.failures)
    assert all(counts["cases"] == counts["shown"] for counts in tally.failures.values())
