"""Print the fault matrix: what is shown, hangs or leaks at every attach point when a host fails in every way."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from typing import IO

from fault_matrix.controls import KINDS
from fault_matrix.tally import COUNTS, Tally, table
from fault_matrix.workers import NAMES

AT_ONCE = 4
"""Processes; most of what they do is to wait for a host that does not answer."""
_MOST_PROBLEMS = 60


def run_parts() -> dict[str, Tally]:
    """Run every part in a process of its own."""
    waiting = list(NAMES)
    running: list[tuple[str, subprocess.Popen[str], IO[str]]] = []
    done: dict[str, Tally] = {}
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            running.append(_started(waiting.pop(0)))
        for each in [each for each in running if each[1].poll() is not None]:
            running.remove(each)
            done[each[0]] = _told(*each)
        time.sleep(0.05)
    return done


def _started(name: str) -> tuple[str, subprocess.Popen[str], IO[str]]:
    told = tempfile.TemporaryFile("w+")  # noqa: SIM115 - read and closed when the process has ended
    command = [sys.executable, "-W", "ignore", "-m", "fault_matrix.workers", name]
    return name, subprocess.Popen(command, stdout=told, stderr=subprocess.DEVNULL, text=True), told


def _told(name: str, process: subprocess.Popen[str], told: IO[str]) -> Tally:
    tally = Tally()
    with told:
        told.seek(0)
        text = told.read()
    try:
        tally.merge(json.loads(text))
    except ValueError:
        tally.add(f"part {name!r} broke off", name, {"cases": 0, "untyped": 1})
        tally.problems.append(f"part {name!r} ended with status {process.returncode} and told nothing")
    return tally


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def main() -> int:
    """Print all tables; 1 if anything but 0 is in them."""
    begun = time.monotonic()
    parts = run_parts()
    matrix, controls, leaving = Tally(), Tally(), Tally()
    for name, tally in parts.items():
        {"controls": controls, "leaving": leaving}.get(name.split()[0], matrix).merge(tally.as_json())
    _say("What every attach point shows, and leaves behind, when a host fails. Every number but `cases` has to be 0.\n")
    _say(table("attach point, stage", matrix.points))
    _say("\n" + table("failure", matrix.failures))
    _say("\nCallers that leave while the guard stalls; what they ask next has to get its own verdict.\n")
    _say(table("attach point, stage", leaving.points))
    _say("\n" + table("how they leave", leaving.failures))
    _say("\nControls: here the text has to be seen in every case, so the measurement is known to see it.\n")
    _say(table("control", {kind: controls.failures.get(kind, Counter()) for kind in KINDS}, COUNTS[:2]))
    problems = [*matrix.problems, *leaving.problems, *controls.problems]
    _say("".join(f"\n- {problem}" for problem in problems[:_MOST_PROBLEMS]))
    told = ", ".join(f"{matrix.total[name] + leaving.total[name]} {name}" for name in COUNTS)
    seconds = time.monotonic() - begun
    _say(f"\nIn all: {told}; {seconds:.0f} seconds, {dt.datetime.now(dt.timezone.utc):%Y-%m-%d}.")
    return 0 if matrix.is_clean and leaving.is_clean and not controls.problems else 1


if __name__ == "__main__":
    sys.exit(main())
