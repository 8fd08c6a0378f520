"""Print the table of hostile text: what was fuzzed by what went wrong; the exit code is 1 where anything did."""

# ruff: noqa: T201 - to print is what this is for

from __future__ import annotations

import datetime as dt
import sys
import time
import warnings

from hostile_text.counting import CASES, FAULTS, SEED, Row
from hostile_text.fuzzers import FUZZERS


def main() -> int:
    """Fuzz everything and print what came of it."""
    print(f"Hostile text, {dt.datetime.now(tz=dt.timezone.utc).date()}")
    print(f"HOSTILE_SEED={SEED} HOSTILE_CASES={CASES}\n")
    rows: list[Row] = []
    for name, fuzzer in FUZZERS.items():
        begun = time.monotonic()
        rows += fuzzer(SEED, CASES)
        print(f"{name}: {time.monotonic() - begun:.0f} s", file=sys.stderr)
    _print_table(rows)
    wrong = sum(sum(row.faults.values()) for row in rows)
    print(f"\nIn all {sum(row.cases for row in rows):,} cases, {wrong} of them wrong.")
    for row in rows:
        print("\n".join(row.examples), end="\n" if row.examples else "")
    return 1 if wrong else 0


def _print_table(rows: list[Row]) -> None:
    cells = [["what was fuzzed", "cases", *FAULTS, "what came of them"]]
    for row in rows:
        came = ", ".join(f"{number:,} {outcome}" for outcome, number in row.outcomes.most_common(4))
        cells.append([row.name, f"{row.cases:,}", *(str(row.faults[fault]) for fault in FAULTS), came])
    widths = [max(len(line[at]) for line in cells) for at in range(len(cells[0]))]
    for number, line in enumerate(cells):
        first, *counts, came = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print(f"| {first} | {' | '.join(cell.strip().rjust(len(cell)) for cell in counts)} | {came} |")
        if not number:
            rules = (
                f"{'-' * (width + 1)}{':' if 0 < at < len(widths) - 1 else '-'}" for at, width in enumerate(widths)
            )
            print(f"|{'|'.join(rules)}|")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(main())
