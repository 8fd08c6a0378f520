"""How far a run is, on standard error: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from time import monotonic
from types import TracebackType
from typing import Any, Literal, Protocol

from typing_extensions import Self

from llama_guard_core.bulk.tally import Tally
from llama_guard_core.cli.printing import tell

_BETWEEN_LINES = 10.0  # seconds
_SECONDS_A_MINUTE = 60


class Progress(AbstractContextManager["Progress"], Protocol):
    """Is told of each row that is done."""

    def advance(self, tally: Tally) -> None:
        """Show how far it is."""
        ...


def progress_of(how: Literal["auto", "bar", "lines", "none"], total: Callable[[], int | None]) -> Progress:
    """What shows the progress of a run.

    Args:
        how: `auto` is a bar where standard error is a terminal and `rich` is installed, and lines elsewhere.
        total: tells how many rows there are, where that can be known.
    """
    if how == "none":
        return _Nothing()
    if how == "bar" or (how == "auto" and sys.stderr.isatty()):
        try:
            return _Bar(total())
        except ImportError:
            if how == "bar":
                tell('a bar needs the library rich: pip install "llama-guardrails[bulk]"')
    return _Lines(total())


def described(tally: Tally, total: int | None, rate: float, begun_at: int) -> str:
    """How far a run is, in words.

    Args:
        tally: what is done.
        total: rows there are.
        rate: rows a second.
        begun_at: rows that were done before.
    """
    parts = [f"{tally.rows:,} of {total:,} rows" if total else f"{tally.rows:,} rows"]
    if tally.rows > begun_at:
        parts.append(f"{rate:,.1f}/s")
    if tally.priced:
        parts.append(f"${tally.cost:,.4f}")
    if total and rate and tally.rows > begun_at:
        parts.append(f"{_duration((total - tally.rows) / rate)} left")
    parts.append(f"{tally.unsafe:,} unsafe")
    if tally.unjudged:
        parts.append(f"{tally.unjudged:,} without a verdict")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    minutes, left = divmod(round(max(0.0, seconds)), _SECONDS_A_MINUTE)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}"


class _Nothing:
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def advance(self, tally: Tally) -> None:
        pass


class _Lines:
    def __init__(self, total: int | None) -> None:
        self._total = total
        self._begun = self._told = monotonic()
        self._before: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def advance(self, tally: Tally) -> None:
        now = monotonic()
        if self._before is None:
            self._before = tally.rows - 1
        if now - self._told >= _BETWEEN_LINES:
            self._told = now
            rate = (tally.rows - self._before) / (now - self._begun)
            tell(described(tally, self._total, rate, self._before))


class _Bar:
    def __init__(self, total: int | None) -> None:
        from rich.console import Console  # noqa: PLC0415 (an extra)
        from rich.progress import BarColumn, TextColumn  # noqa: PLC0415 (as above)
        from rich.progress import Progress as RichProgress  # noqa: PLC0415 (as above)

        shown = (BarColumn(), TextColumn("{task.fields[told]}"))
        self._bar = RichProgress(*shown, console=Console(stderr=True), refresh_per_second=5)
        self._task: Any = self._bar.add_task("", total=total, told="")
        self._total = total
        self._begun = monotonic()
        self._before: int | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self, tally: Tally) -> None:
        if self._before is None:
            self._before = tally.rows - 1
        rate = (tally.rows - self._before) / max(monotonic() - self._begun, 1e-9)
        told = described(tally, self._total, rate, self._before)
        self._bar.update(self._task, completed=tally.rows, told=told)
