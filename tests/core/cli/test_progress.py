"""How far a run is: a bar on a terminal, lines elsewhere, or nothing; and beside the records always."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from core.cli.commands import Command, right, rows, write_json_lines

from llama_guard_core.bulk.tally import Tally
from llama_guard_core.cli import progress
from llama_guard_core.cli.progress import described, progress_of


def _tally(rows: int, *, unsafe: int = 0, unjudged: int = 0, cost: float | None = None) -> Tally:
    outcomes = Counter(judged=rows - unjudged, unavailable=unjudged)
    return Tally(rows=rows, unsafe=unsafe, outcomes=outcomes, cost=cost or 0.0, priced=0 if cost is None else rows)


@pytest.mark.parametrize(
    ("tally", "total", "rate", "begun_at", "told"),
    [
        (
            _tally(1500, unsafe=7, unjudged=3, cost=1.23456),
            4500,
            12.34,
            0,
            "1,500 of 4,500 rows, 12.3/s, $1.2346, 0:04:03 left, 7 unsafe, 3 without a verdict",
        ),
        (_tally(10), None, 2.0, 0, "10 rows, 2.0/s, 0 unsafe"),
        (_tally(10), 20, 2.0, 10, "10 of 20 rows, 0 unsafe"),
        (_tally(10), 20, 0.0, 9, "10 of 20 rows, 0.0/s, 0 unsafe"),
        (_tally(20), 20, 5.0, 0, "20 of 20 rows, 5.0/s, 0:00:00 left, 0 unsafe"),
        (_tally(30), 20, 5.0, 0, "30 of 20 rows, 5.0/s, 0:00:00 left, 0 unsafe"),
        (_tally(1), 1_000_001, 10.0, 0, "1 of 1,000,001 rows, 10.0/s, 27:46:40 left, 0 unsafe"),
        (_tally(1, cost=0.0), 2, 1.0, 0, "1 of 2 rows, 1.0/s, $0.0000, 0:00:01 left, 0 unsafe"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_it_is_described_in_words(tally: Tally, total: int | None, rate: float, begun_at: int, told: str):
    assert told == described(tally, total, rate, begun_at)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("columns", [80, 200])
def test_a_terminal_is_shown_a_bar_with_rows_rate_cost_and_time_left(columns: int, command: Command, tmp_path: Path):
    pytest.importorskip("rich")
    source = write_json_lines(tmp_path / "in.jsonl", rows(60))
    ours, its = os.openpty()
    sized = f"import termios\ntermios.tcsetwinsize(2, (24, {columns}))"
    if sys.version_info < (3, 11):
        sized = f"import os\nos.environ['COLUMNS'] = '{columns}'"
    process = command.alone(
        source, "-o", tmp_path / "out.jsonl", "--rate", "60/s", stdin=subprocess.DEVNULL, stderr=its, before=sized
    )
    os.close(its)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", _all_of(ours).decode())
    assert 0 == process.wait(60)
    assert process.stdout
    assert b"" == process.stdout.read()
    process.stdout.close()

    *_, last, end = [line for line in re.split(r"[\r\n]+", shown) if line.strip()]
    assert re.fullmatch(r"[━╸╺ ]+ 60 of 60 rows, [\d.]+/s, \$0\.\d{4}, 0:00:00 left, 20 unsafe *", last)
    assert re.fullmatch(r"60 rows: 20 unsafe, 0 without a verdict, \$0\.\d{4}", end)
    assert re.search(r"[1-9]\d? of 60 rows, [\d.]+/s, \$0\.\d{4}, 0:00:0\d left", shown)


def _all_of(terminal: int) -> bytes:
    """What was shown until nobody had the other side open, which Linux tells by an error."""
    shown = b""
    try:
        while part := os.read(terminal, 65536):
            shown += part
    except OSError:
        pass
    finally:
        os.close(terminal)
    return shown


def test_elsewhere_there_are_lines_now_and_then(command: Command, source: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(progress, "_BETWEEN_LINES", 0.0)

    said = command(source, "--concurrency", 1)
    *lines, end = said.err.splitlines()
    assert 10 == len(lines) == len(said.records)
    assert lines[3].startswith("4 of 10 rows, ")
    assert all(re.search(r"/s, \$0\.\d{4}, 0:00:0\d left, ", line) for line in lines)
    assert end.startswith("10 rows: ")


def test_of_a_stream_it_is_not_known_how_long_it_takes(command: Command, source: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(progress, "_BETWEEN_LINES", 0.0)
    with source.open() as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        lines = command("-", "--concurrency", 1).err.splitlines()

    assert "left" not in "".join(lines)
    assert lines[3].startswith("4 rows, ")


def test_a_run_that_is_short_says_its_end_alone(command: Command, source: Path):
    assert 1 == command(source).err.count("\n")


def test_it_can_be_left_out(command: Command, source: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(progress, "_BETWEEN_LINES", 0.0)

    assert 1 == command(source, "--progress", "none").err.count("\n")


def test_a_run_that_goes_on_does_not_count_what_was_done_before_as_its_own_speed(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(progress, "_BETWEEN_LINES", 0.0)
    now = iter(range(1000))
    monkeypatch.setattr(progress, "monotonic", lambda: float(next(now)))
    shown = progress_of("lines", lambda: 2000)

    told: list[str] = []
    monkeypatch.setattr(progress, "tell", told.append)
    with shown:
        for rows_done in (1001, 1002, 1003):
            shown.advance(_tally(rows_done))
    assert ["1.0/s"] * 3 == [line.split(", ")[1] for line in told]


@pytest.mark.parametrize("how", ["bar", "auto"])
def test_without_the_library_for_bars_there_are_lines(
    how: str, command: Command, source: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(progress, "_BETWEEN_LINES", 0.0)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.setattr(type(sys.stderr), "isatty", lambda _: True)

    said = command(source, "--progress", how)
    lines = said.err.splitlines()
    assert (how == "bar") == ('pip install "llama-guardrails[bulk]"' in lines[0])
    assert lines[-2].startswith("10 of 10 rows, ")
    assert right(10) == [(record["row"], record["safe"]) for record in said.records]
