"""Pipes: a reader that has enough, a writer that says nothing, and Ctrl-C in between."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from core.cli.commands import SECRET, Command, judged, records_in, right, rows, said_by, write_json_lines
from fake_provider import FakeProvider

At = Callable[[FakeProvider], Command]


def test_a_reader_that_has_enough_ends_it_without_a_word(command: Command, tmp_path: Path, provider: FakeProvider):
    source = write_json_lines(tmp_path / "in.jsonl", rows(2000))
    with command.alone(source, "--progress", "none", stdin=subprocess.DEVNULL) as process:
        assert process.stdout
        assert process.stderr
        assert b'{"row":0,' == process.stdout.readline()[:9]
        process.stdout.close()

        assert (3, b"") == (process.wait(60), process.stderr.read())
    assert len(command.asked) < 2000
    provider.violations.clear()  # requests that were broken off on the way


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_input_that_never_comes_does_not_hold_up_the_end(sent: signal.Signals, command: Command, output: Path):
    process = _waiting_for_rows(command, output)
    process.send_signal(sent)
    code = process.wait(60)
    said = said_by(process)

    assert (130, False) == (code, output.exists())
    assert "1 rows: 0 unsafe" in said.err
    assert "Started again in the same way it goes on" in said.err

    again = said_by(command.alone("-", "-o", output), f'{{"prompt": "{SECRET}"}}\n'.encode())
    assert (0, 1) == (again.code, len(command.asked))


def _waiting_for_rows(command: Command, output: Path) -> subprocess.Popen[bytes]:
    process = command.alone("-", "-o", output)
    assert process.stdin
    process.stdin.write(f'{{"prompt": "{SECRET}"}}\n'.encode())
    process.stdin.flush()
    journal = output.with_name(f"{output.name}.journal")
    while not journal.exists() or journal.read_bytes().count(b"\n") < 2:
        assert process.poll() is None
        time.sleep(0.02)
    return process


def test_a_named_pipe_is_an_input(command: Command, source: Path, output: Path, tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    process = command.alone(pipe, "--input-format", "jsonl", "-o", output)
    threading.Thread(target=pipe.write_bytes, args=(source.read_bytes(),), daemon=True).start()  # it waits for a reader

    assert 0 == said_by(process).code
    assert right(10) == judged(records_in(output))


def test_a_signal_lets_what_is_under_way_be_written_and_the_rest_waits(command: Command, tmp_path: Path, output: Path):
    source = write_json_lines(tmp_path / "in.jsonl", rows(500))
    process = command.alone(source, "-o", output, "--rate", "20/s", "--concurrency", "2")
    while len(command.asked) < 5:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)

    said = said_by(process)
    assert (130, False) == (said.code, output.exists())
    assert "stopping: what is under way is finished first" in said.err
    assert f"{len(command.asked)} rows: " in said.err


def test_a_stream_that_is_interrupted_has_told_whole_records(command: Command):
    process = command.alone("-")
    assert process.stdin
    assert process.stdout
    process.stdin.write(f'{{"prompt": "{SECRET}"}}\n'.encode())
    process.stdin.flush()
    assert process.stdout.readline().endswith(b"}\n")
    process.send_signal(signal.SIGINT)

    said = said_by(process)
    assert (130, "") == (said.code, said.out)
    assert "Nothing is kept of it" in said.err
