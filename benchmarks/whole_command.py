"""`llama-guard moderate` over a file, as a user runs it: a process of its own, with its journal and its output."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measuring import Measurement, Sample
from benchmarks.subjects import KEY

COMMAND = "llama-guard moderate"
COMMAND_UNDER_WAY = "llama-guard moderate, start-up apart"


def command_measurement(url: str, texts: Sequence[str], *, at_once: int) -> Measurement:
    """A measurement of what a row takes: of a whole run, and of one beyond what another took for its first rows.

    Args:
        url: the host.
        texts: the rows.
        at_once: how many are judged at any moment; the other run has as many rows.
    """

    async def measure() -> Mapping[str, Sample]:
        whole = _run(url, texts, at_once)
        begun = _run(url, [f"{text} Once." for text in texts[:at_once]], at_once)
        longer = _run(url, [*(f"{text} Twice." for text in texts[:at_once]), *texts], at_once)
        return {
            COMMAND: Sample(whole.cpu / len(texts), whole.wall / len(texts)),
            COMMAND_UNDER_WAY: Sample(
                (longer.cpu - begun.cpu) / len(texts),
                (longer.wall - begun.wall) / len(texts),
            ),
        }

    return measure


def _run(url: str, texts: Sequence[str], at_once: int) -> Sample:
    with TemporaryDirectory() as folder:
        rows, verdicts = Path(folder, "rows.jsonl"), Path(folder, "verdicts.jsonl")
        lines = (json.dumps({"id": number, "prompt": text}) for number, text in enumerate(texts))
        rows.write_text("\n".join(lines) + "\n", encoding="utf-8")
        arguments = ["moderate", rows, "-o", verdicts, "--base-url", url, "--concurrency", str(at_once)]
        environment = {**os.environ, "OPENAI_API_KEY": KEY.get_secret_value()}
        wall = time.perf_counter()
        with Path(folder, "told").open("w+", encoding="utf-8") as told:
            command = [sys.executable, "-m", "llama_guard_core", *arguments]
            process = subprocess.Popen(command, stderr=told, env=environment)  # noqa: S603 (our own program)
            _, status, used = os.wait4(process.pid, 0)
            wall = time.perf_counter() - wall
            process.returncode = os.waitstatus_to_exitcode(status)
            told.seek(0)
            assert process.returncode == 0, told.read()
        judged = [json.loads(line) for line in verdicts.read_text(encoding="utf-8").splitlines()]
        assert [row["safe"] for row in judged] == [True] * len(texts)
    return Sample(used.ru_utime + used.ru_stime, wall)
