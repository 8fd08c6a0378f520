"""Runs of `llama-guard moderate` in processes of their own, which are killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
DONE = (0, 1)  # all rows are done; some of them without a verdict


def write_rows(path: Path, count: int) -> None:
    """Write an input of so many rows, one in seven of them unsafe."""
    rows = ({"id": f"r{row}", "prompt": f"row {row}" + (" BOMB" if row % 7 == 0 else "")} for row in range(count))
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def started(source: Path, output: Path, base_url: str, **settings: str) -> subprocess.Popen[str]:
    """A run that has begun."""
    environment: Mapping[str, str] = {**os.environ, "OPENROUTER_API_KEY": "k", **settings}
    words = ["moderate", source, "-o", output, "--host", "openrouter", "--base-url", base_url, "--concurrency", "16"]
    return subprocess.Popen(
        [sys.executable, "-m", "llama_guard_core", *words, "--progress", "none"],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_to_its_end(source: Path, output: Path, base_url: str) -> tuple[int, str]:
    """Run it and leave it alone; gives its exit code and what it said."""
    process = started(source, output, base_url)
    _, said = process.communicate()
    return process.returncode, said


@dataclass(slots=True)
class Killed:
    """What became of runs that were killed.

    Attributes:
        kills: how often a process was killed while it was at work.
        outputs: the whole outputs, of as many runs as it took.
        half: outputs that were found with half a line or not all rows while a run was not at its end.
    """

    kills: int = 0
    outputs: list[bytes] = field(default_factory=list)
    half: int = 0


def killed_at_random(
    source: Path, folder: Path, base_url: str, *, kills: int, longest: float, seed: int, rows: int
) -> Killed:
    """Kill runs at random moments and start them again, until there were so many kills; then let the last one end.

    Args:
        source: the input.
        folder: where outputs are put.
        base_url: the host.
        kills: how often.
        longest: seconds until a kill at most.
        seed: of the moments.
        rows: of the input.
    """
    chance, killed = random.Random(seed), Killed()  # noqa: S311 - of moments
    while killed.kills < kills or not killed.outputs:
        output = folder / f"out-{len(killed.outputs)}.jsonl"
        process = started(source, output, base_url)
        try:
            if killed.kills < kills:
                process.communicate(timeout=chance.uniform(0, longest))
            else:
                process.communicate()
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            killed.kills += 1
            killed.half += output.exists() and output.read_bytes().count(b"\n") != rows
        if process.returncode in DONE:
            killed.outputs.append(output.read_bytes())
        elif process.returncode != -signal.SIGKILL:
            msg = f"a run ended by itself with {process.returncode}"
            raise AssertionError(msg)
    return killed
