"""What was counted under load, as Markdown, and what of it is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.load_callers import CALLS, LOOPS, TASKS_OF_A_LOOP, THREADS
from benchmarks.load_cases import Case, RecordedPace, Round, beyond_rate, most_within
from benchmarks.report import measured_with, table

_NOTHING = "-"
_MAY_GROW = 0.01  # of what is there, from the first round that counts to the last
_MS = 1000
_EXACT = 1e-3  # turns: what floating point adds


def as_markdown(cases: Sequence[Case]) -> str:
    """All tables."""
    people = f"{THREADS} threads and {TASKS_OF_A_LOOP} tasks on each of {len(LOOPS)} event loops"
    return "\n\n".join(
        (
            f"Each round is {CALLS} calls through one guard object, from {people}.",
            table(
                ("case", "calls", "under way at once", "requests", "at the host at once", "wrong", "failed",
                 "cancelled", "CPU a call", "wall a round"),
                [_calls_row(case) for case in cases],
            ),
            table(
                ("case", "connections at most", "left open", "threads left", "tasks left"),
                [_left_row(case) for case in cases],
            ),
            *_limits(cases),
            *_memory(cases[0]),
            measured_with(),
        )
    )  # fmt: skip


def what_is_wrong(cases: Sequence[Case]) -> list[str]:
    """What should not be, one line each."""
    return [f"{case.name}: {each}" for case in cases for each in _wrong_with(case)] + [*_growth(cases[0])]


def _wrong_with(case: Case) -> Iterator[str]:
    for each in case.rounds:
        yield from _wrong_calls(each)
        if each.counts.requests.most < case.held:
            yield f"no more than {each.counts.requests.most} requests were at the host at once"
        if case.most is not None and not case.cancels:
            yield from _beyond_the_limit(each, case.most)
    left = {"connections": case.connections_left, "threads": case.threads_left, "tasks": case.tasks_left}
    yield from (f"{count} {what} are left" for what, count in left.items() if count)
    if case.pace is not None:
        yield from _out_of_pace(case, case.pace)


def _wrong_calls(each: Round) -> Iterator[str]:
    if each.tally.calls != CALLS:
        yield f"{each.tally.calls} calls were made"
    if each.tally.wrong:
        yield f"{each.tally.wrong} verdicts or answers were not their caller's"
    yield from (f"{times} times {what}" for what, times in each.tally.failed.items())


def _out_of_pace(case: Case, pace: RecordedPace) -> Iterator[str]:
    arrived = [at for each in case.rounds for at in each.counts.arrived]
    if beyond_rate(pace.turns, pace.rate) > pace.burst + _EXACT:
        yield "it gave more turns than its rate and its burst"
    if len(arrived) != len(pace.turns) or min(_late(arrived, pace.turns)) < 0:
        yield "a request came without a turn, or before it"


def _beyond_the_limit(each: Round, most: int) -> Iterator[str]:
    counts = each.counts
    for what, clients in (("requests", counts.by_client), ("connections", counts.connections_by_client)):
        for client, seen in clients.items():
            if seen.most > most:
                yield f"{client}: {seen.most} {what} at once"


def _growth(case: Case) -> Iterator[str]:
    first, last = case.rounds[0], case.rounds[-1]
    if last.blocks > first.blocks * (1 + _MAY_GROW):
        yield f"{last.blocks - first.blocks:,} more pieces of memory after {len(case.rounds)} rounds"
    if last.memory > first.memory * (1 + 5 * _MAY_GROW):
        yield f"{(last.memory - first.memory) / 1e6:.1f} MB more after {len(case.rounds)} rounds"


def _late(arrived: Sequence[float], turns: Sequence[float]) -> list[float]:
    """Seconds from each turn to a request: the first to come cannot have had a later turn than the first, and so on."""
    return [came - turn for came, turn in zip(sorted(arrived), sorted(turns), strict=False)]


def _calls_row(case: Case) -> tuple[str, ...]:
    rounds = case.rounds
    return (
        case.name,
        f"{sum(each.tally.calls for each in rounds):,}",
        _range([each.tally.under_way.most for each in rounds]),
        f"{sum(len(each.counts.arrived) for each in rounds):,}",
        _range([each.counts.requests.most for each in rounds]),
        str(sum(each.tally.wrong for each in rounds)),
        str(sum(sum(each.tally.failed.values()) for each in rounds)),
        str(sum(each.tally.cancelled for each in rounds)),
        f"{sum(each.cpu for each in rounds) / len(rounds) / CALLS * _MS:.1f} ms",
        f"{sum(each.wall for each in rounds) / len(rounds):.1f} s",
    )


def _left_row(case: Case) -> tuple[str, ...]:
    return (
        case.name,
        _range([each.counts.connections.most for each in case.rounds]),
        str(case.connections_left),
        str(case.threads_left),
        str(case.tasks_left),
    )


def _limits(cases: Sequence[Case]) -> Iterator[str]:
    """Who was at the host at once, client by client; and when requests came, where there is a pace."""
    limited = [case for case in cases if case.most is not None and not case.cancels]
    clients = sorted({client for case in limited for each in case.rounds for client in each.counts.by_client})
    yield table(
        ("case", "client", "requests at once", "connections at once"),
        [
            (case.name, client, str(each.counts.by_client[client].most), _most(each, client))
            for case in limited
            for each in case.rounds
            for client in clients
        ],
    )
    yield table(
        ("case", "requests", "in", "turns beyond the rate (at most the burst)", "requests before their turn",
         "longest after it", "most in a second"),
        [_pace_row(case) for case in cases if case.pace is not None],
    )  # fmt: skip


def _most(each: Round, client: str) -> str:
    seen = each.counts.connections_by_client.get(client)
    return str(seen.most) if seen else _NOTHING


def _pace_row(case: Case) -> tuple[str, ...]:
    assert case.pace is not None
    arrived = [at for each in case.rounds for at in each.counts.arrived]
    late = _late(arrived, case.pace.turns)
    return (
        case.name,
        f"{len(arrived):,}",
        f"{max(arrived) - min(arrived):.2f} s",
        f"{beyond_rate(case.pace.turns, case.pace.rate):.1f}",
        str(sum(each < 0 for each in late)),
        f"{max(late) * _MS:.0f} ms",
        str(most_within(arrived, 1.0)),
    )


def _memory(case: Case) -> Iterator[str]:
    yield f"Memory after each round without limits, {case.warm_up} rounds before them not counted:"
    yield table(
        ("round", "resident", "pieces of memory held by Python"),
        [
            (str(number), f"{each.memory / 1e6:.1f} MB", f"{each.blocks:,}")
            for number, each in enumerate(case.rounds, case.warm_up + 1)
        ],
    )


def _range(figures: Sequence[int]) -> str:
    low, high = min(figures), max(figures)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
