"""The figures of guarded streams as Markdown, for people, and as JSON, for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from benchmarks.measuring import Spread
from benchmarks.report import measured_with, spelt, table
from benchmarks.streaming_cases import MARKER, Case
from benchmarks.streaming_runs import (
    Measured,
    first_visible,
    leaked,
    model_calls,
    paid,
    paid_after_halt,
    prompt_checks,
    reply_checks,
    shown,
    total,
    until_refusal,
)
from benchmarks.streaming_targets import PROMISES, Promise

_HEAD = (
    "case", "who", "first visible", "until refused", "… from the marker", "total",
    "checks: prompt + reply", "model calls", "tokens shown", "characters leaked, at most",
    "tokens paid", "after the halt, at most",
)  # fmt: skip
_NOTHING = "-"


@dataclass(slots=True)
class Results:
    """All of one run of the benchmark.

    Attributes:
        measured: each case.
        peers: the versions of the peers, by package.
        missing: why some were not measured; empty if all were.
    """

    measured: list[Measured] = field(default_factory=list)
    peers: Mapping[str, str] = field(default_factory=dict)
    missing: str = ""


def as_markdown(results: Results) -> str:
    """The figures, the targets, and what was measured with what."""
    cases = "\n".join(_case(one.case) for one in results.measured)
    figures = table(_HEAD, [row for one in results.measured for row in _rows(one)])
    by_name = {one.case.name: one for one in results.measured}
    promises = table(
        ("target", "case", "who", "compared with", "measured (middle half)", "must", "aim", "met"),
        [row for promise in PROMISES for row in _promise_rows(promise, by_name)],
    )
    peers = ", ".join(f"{name} {number}" for name, number in results.peers.items())
    with_whom = results.missing or f"The peers, in an environment of their own: {peers}."
    return f"{cases}\n\n{figures}\n\n{promises}\n\n{measured_with()}\n{with_whom}"


def as_json(results: Results) -> dict[str, object]:
    """Every run, in seconds of the monotonic clock."""
    return {
        "peers": dict(results.peers),
        "missing": results.missing,
        "cases": [
            {
                "case": one.case.as_dict(),
                "runs": {
                    subject: [{"seen": run.seen._asdict(), "host": asdict(run.counts)} for run in runs]
                    for subject, runs in one.runs.items()
                },
            }
            for one in results.measured
        ],
    }


def _case(case: Case) -> str:
    where = "in the prompt" if MARKER in case.prompt else "nowhere"
    return (
        f"- {case.name}: guard {case.guard_ms:g} ms, first token {case.first_token_ms:g} ms, {case.tokens} tokens of "
        f"4 characters, {case.per_second:g} a second, what is unsafe stands "
        f"{where if case.marker is None else f'after {case.marker} tokens'}"
    )


def _rows(one: Measured) -> Iterator[Sequence[str]]:
    for subject in one.runs:
        yield (
            one.case.name,
            subject,
            _number(one.spread(subject, first_visible), " ms"),
            _number(one.spread(subject, until_refusal), " ms"),
            _number(one.spread(subject, one.cut_after_marker), " ms"),
            _number(one.spread(subject, total), " ms"),
            f"{_number(one.spread(subject, prompt_checks))} + {_number(one.spread(subject, reply_checks))}",
            _number(one.spread(subject, model_calls)),
            _number(one.spread(subject, shown)),
            _number(one.most(subject, leaked)),
            _number(one.spread(subject, paid)),
            _number(one.most(subject, paid_after_halt)),
        )


def _promise_rows(promise: Promise, measured: Mapping[str, Measured]) -> Iterator[Sequence[str]]:
    for subject, figure, limit, met in promise.results(measured):
        aim = _NOTHING if promise.aim is None else f"≤ {promise.aim:g} {promise.unit}"
        yield (
            promise.what,
            promise.case,
            subject,
            promise.base,
            spelt(figure, promise.unit) if promise.unit == "x" else _number(figure, f" {promise.unit}"),
            f"≤ {limit:.3g} {promise.unit}",
            aim,
            met,
        )


def _number(spread: Spread | None, unit: str = "") -> str:
    return f"{spread.median:.0f}{unit}" if spread else _NOTHING
