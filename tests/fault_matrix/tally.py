"""The counts of all cases, by attach point and by failure, as Markdown tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

COUNTS = ("cases", "shown", "hangs", "untyped", "connections", "tasks", "threads", "warnings")


@dataclass
class Tally:
    """Counts by attach point and by failure, and a line for each problem."""

    points: dict[str, Counter[str]] = field(default_factory=dict)
    failures: dict[str, Counter[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add(self, point: str, failure: str, counts: Mapping[str, int]) -> None:
        """Count a case."""
        for table, name in ((self.points, point), (self.failures, failure)):
            table.setdefault(name, Counter()).update(counts)

    def merge(self, told: Mapping[str, Any]) -> None:
        """Add what a worker has counted."""
        for table, others in ((self.points, told["points"]), (self.failures, told["failures"])):
            for name, counts in others.items():
                table.setdefault(name, Counter()).update(counts)
        self.problems += told["problems"]

    def as_json(self) -> dict[str, Any]:
        """All of it, to be told to another process."""
        return {"points": self.points, "failures": self.failures, "problems": self.problems}

    @property
    def total(self) -> Counter[str]:
        """The sum of all cases."""
        return sum(self.points.values(), Counter())

    @property
    def is_clean(self) -> bool:
        """Whether nothing but cases was counted."""
        return not any(self.total[name] for name in COUNTS[1:])


def table(title: str, rows: Mapping[str, Mapping[str, int]], columns: Iterable[str] = COUNTS) -> str:
    """One Markdown table."""
    columns = list(columns)
    shown = {name.replace("|", "\\|"): row for name, row in rows.items()}
    width = max(map(len, (title, *shown)))
    lines = [
        f"| {title:{width}} | {' | '.join(columns)} |",
        f"|{'-' * (width + 2)}|{'|'.join('-' * (len(column) + 1) + ':' for column in columns)}|",
    ]
    for name, row in shown.items():
        cells = (str(row.get(column, 0)).rjust(len(column)) for column in columns)
        lines.append(f"| {name:{width}} | {' | '.join(cells)} |")
    return "\n".join(lines)
