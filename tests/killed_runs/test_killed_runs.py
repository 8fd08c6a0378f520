"""A run that is killed at any moment and started again ends with the output of one that was left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from killed_runs.faulty_host import FaultyHost
from killed_runs.runs import DONE, ROOT, killed_at_random, run_to_its_end, started, write_rows

ROWS = 400


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("killed") / "in.jsonl"
    write_rows(path, ROWS)
    return path


@pytest.fixture(scope="module")
def right(source: Path) -> bytes:
    """The output of a run that nobody disturbed."""
    output = source.with_name("undisturbed.jsonl")
    with FaultyHost().serve() as base_url:
        code, said = run_to_its_end(source, output, base_url)
    assert (1, ROWS) == (code, output.read_bytes().count(b"\n"))
    assert "without a verdict" in said
    return output.read_bytes()


def test_killed_at_random_moments_nothing_is_lost_and_nothing_is_twice(source: Path, right: bytes, tmp_path: Path):
    host = FaultyHost(0.1)
    with host.serve() as base_url:
        killed = killed_at_random(source, tmp_path, base_url, kills=8, longest=1.5, seed=8, rows=ROWS)

    assert (8, 0) == (killed.kills, killed.half)
    assert {right} == set(killed.outputs)
    # What was under way when a process was killed is asked about again, and nothing else.
    assert sum(host.answered.values()) <= ROWS * len(killed.outputs) + 16 * killed.kills


_KILLED_AT = """
import os, sys
left = int(sys.argv.pop(1))
def count(event, args):
    global left
    if event in ("open", "os.rename", "os.remove", "os.truncate") and any("out.csv" in str(each) for each in args):
        left -= 1
        if left == 0:
            os._exit(9)
sys.addaudithook(count)
from llama_guard_core.cli import main
sys.exit(main())
"""


def test_killed_at_each_of_its_steps_with_files_it_ends_the_same(tmp_path: Path):
    source, output = tmp_path / "in.jsonl", tmp_path / "out.csv"
    write_rows(source, 5)
    codes, outputs = [], set()
    with FaultyHost().serve() as base_url:
        words = ["moderate", source, "-o", output, "--host", "openrouter", "--base-url", base_url]
        while 9 in codes[-1:] or not codes:
            killed_before = [sys.executable, "-c", _KILLED_AT, str(len(codes) + 1), *words]
            environment = {**os.environ, "OPENROUTER_API_KEY": "k"}
            killed = subprocess.run(killed_before, cwd=ROOT, env=environment, capture_output=True, check=False)
            codes.append(killed.returncode)
            code, _ = run_to_its_end(source, output, base_url)
            outputs.add(output.read_bytes())
            assert code in DONE
            assert {"in.jsonl", "out.csv"} == {each.name for each in tmp_path.iterdir()}
            output.unlink()

    assert len(codes) > 5
    assert 1 == len(outputs)


def test_the_signal_to_end_lets_what_is_under_way_finish_and_the_next_run_goes_on(source: Path, right: bytes):
    output, host = source.with_name("interrupted.jsonl"), FaultyHost(0.05)
    with host.serve() as base_url:
        process = started(source, output, base_url)
        while len(host.asked) < 40:
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
        assert 130 == process.returncode
        assert "Started again in the same way it goes on" in said
        assert not output.exists()
        run_to_its_end(source, output, base_url)

    assert right == output.read_bytes()
    assert ROWS == sum(host.answered.values())  # nothing that was under way was given up


def test_a_second_signal_ends_at_once_and_nothing_that_is_done_is_lost(source: Path, right: bytes):
    output, host = source.with_name("twice.jsonl"), FaultyHost(0.05)
    with host.serve() as base_url:
        process = started(source, output, base_url)
        while len(host.asked) < 40:
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.stderr
        assert "stopping" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.communicate()
        assert 130 == process.returncode
        run_to_its_end(source, output, base_url)

    assert right == output.read_bytes()
