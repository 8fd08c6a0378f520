"""The figures as Markdown, for people, and as JSON, for programs."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import distributions

from benchmarks.measuring import Experiment, Spread
from benchmarks.subjects import OPENAI, OPENROUTER
from benchmarks.targets import TARGETS, Target

_PACKAGES = (
    "httpx", "pydantic", "langchain-core", "langchain-openai", "openai", "langchain-openrouter", "openrouter",
    "httpx-aiohttp", "aiohttp", "llama-index-core", "llama-index-llms-openrouter", "rich",
)  # fmt: skip
_NOTHING = "-"
_TENTH = 0.1


def as_markdown(experiments: Sequence[Experiment]) -> str:
    """The ratios, the targets, and what was measured with what."""
    ratios = table(
        ("what", "who", "CPU", "wall", "memory", "ratio to its base (middle half)", f"to {OPENAI}", f"to {OPENROUTER}"),
        [row for experiment in experiments for row in _rows(experiment)],
    )
    targets = table(
        ("target", "who", "compared with", "measured (middle half)", "must", "aim", "met"),
        [_target_row(target, experiments) for target in TARGETS],
    )
    return f"{ratios}\n\n{targets}\n\n{measured_with()}"


def as_json(experiments: Sequence[Experiment]) -> dict[str, object]:
    """Every sample, in seconds, and the versions."""
    return {
        "python": platform.python_version(),
        "versions": _versions(),
        "experiments": [
            {
                "title": experiment.title,
                "base": experiment.base,
                "compares": experiment.compares,
                "samples": {name: [one._asdict() for one in taken] for name, taken in experiment.samples.items()},
                "missing": experiment.missing,
            }
            for experiment in experiments
        ],
    }


def _rows(experiment: Experiment) -> Iterator[tuple[str, ...]]:
    for subject in experiment.samples:
        base = experiment.ratio(subject, experiment.base)
        yield (
            experiment.title,
            subject,
            _time(experiment.cpu(subject)),
            _time(experiment.wall(subject)),
            _memory(experiment.memory(subject)),
            f"{spelt(base, 'x')} {experiment.base}",
            *(_median(experiment.ratio(subject, peer)) for peer in (OPENAI, OPENROUTER)),
        )
    for subject, package in experiment.missing.items():
        yield (experiment.title, subject, f"not installed: {package}", *[_NOTHING] * 5)


def _target_row(target: Target, experiments: Sequence[Experiment]) -> tuple[str, ...]:
    measured = target.measured({experiment.title: experiment for experiment in experiments})
    return (
        target.title,
        target.subject,
        target.over or _NOTHING,
        spelt(measured, target.unit),
        _limit(target, target.must),
        _limit(target, target.aim),
        target.met(measured.median) if measured else "not measured",
    )


def _limit(target: Target, limit: float | None) -> str:
    if limit is None:
        return _NOTHING
    return f"{'≥' if target.at_least else '≤'} {limit:g} {target.unit}"


def _time(seconds: Spread | None) -> str:
    if seconds is None:
        return _NOTHING
    if seconds.median >= _TENTH:
        return f"{seconds.median * 1e3:,.0f} ms"
    return f"{seconds.median * 1e6:,.{0 if seconds.median >= _TENTH / 1000 else 1}f} µs"


def _memory(size: Spread | None) -> str:
    return f"{size.median / 1e6:.0f} MB" if size else _NOTHING


def spelt(spread: Spread | None, unit: str) -> str:
    if spread is None:
        return _NOTHING
    return f"{spread.median:.2f} ({spread.low:.2f} to {spread.high:.2f}) {unit}"


def _median(spread: Spread | None) -> str:
    return f"{spread.median:.2f} x" if spread else _NOTHING


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in (head, *rows)
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join((lines[0], rule, *lines[1:]))


def measured_with() -> str:
    versions = ", ".join(f"{name} {number}" for name, number in _versions().items())
    return f"Python {platform.python_version()}, {platform.machine()}; {versions}."


def _versions() -> dict[str, str]:
    installed = {one.name.lower(): one.version for one in distributions()}
    return {package: installed[package] for package in _PACKAGES if package in installed}
