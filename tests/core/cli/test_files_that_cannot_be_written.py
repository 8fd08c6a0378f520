"""A disk that is full, a folder that is not there or not ours: one line says so, and nothing that is done is lost."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from core.cli.commands import Command, judged, records_in, right, rows, said_by, write_json_lines

_SIGNAL_IGNORED = (
    "import signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)"  # then writing fails, as on a full disk
)


def _room(size: int) -> str:
    return f"{_SIGNAL_IGNORED}\nimport resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))"


@pytest.mark.parametrize("size", [0, 100, 700, 1500, 2300])
def test_a_full_disk_ends_it_with_one_line_and_nothing_is_lost(size: int, command: Command, source: Path, output: Path):
    process = command.alone(source, "-o", output, "--concurrency", 1, "--progress", "none", before=_room(size))
    said = said_by(process)
    done = _rows_done(output)

    assert (3, 1, False) == (said.code, said.err.count("\n"), output.exists())
    assert "File too large" in said.err
    assert done < 10

    asked = len(command.asked)
    assert 0 == command(source, "-o", output).code
    assert right(10) == judged(records_in(output))
    assert 10 - done == len(command.asked) - asked
    assert {source, output} == {*output.parent.iterdir()}


def test_a_disk_that_is_full_when_the_output_is_written_keeps_the_journal(command: Command, output: Path):
    source = write_json_lines(output.with_name("in.jsonl"), rows(40))
    csv = output.with_name("out.csv")
    said = said_by(command.alone(source, "-o", csv, before=_FULL_AT_THE_END))

    assert (3, False, 40) == (said.code, csv.exists(), _rows_done(csv))
    assert 1 == len([line for line in said.err.splitlines() if "No space left" in line])

    assert 0 == command(source, "-o", csv).code
    assert (40, {source, csv}) == (len(command.asked), {*csv.parent.iterdir()})


_FULL_AT_THE_END = """
import errno, os
def full(_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
import llama_guard_core.bulk.tables as tables
tables.os.fsync = full
"""


def _rows_done(output: Path) -> int:
    journal = output.with_name(f"{output.name}.journal")
    return max(0, journal.read_bytes().count(b"\n") - 1) if journal.exists() else 10


def test_a_folder_that_is_not_there_is_named(command: Command, source: Path, tmp_path: Path):
    said = command(source, "-o", tmp_path / "no" / "out.jsonl")

    assert (2, []) == (said.code, command.asked)
    assert f"there is no folder {tmp_path / 'no'}" in said.err


def test_a_journal_that_cannot_be_opened_is_named(command: Command, source: Path, output: Path):
    output.with_name(f"{output.name}.journal").mkdir()

    for words in ([], ["--overwrite"]):
        said = command(source, "-o", output, *words)
        assert (2, 1, []) == (said.code, said.err.count("\n"), command.asked)
        assert "out.jsonl.journal cannot be written" in said.err


def test_a_name_that_is_too_long_for_a_journal_is_named(command: Command, source: Path, tmp_path: Path):
    said = command(source, "-o", tmp_path / f"{'a' * 249}.jsonl")

    assert (2, 1, []) == (said.code, said.err.count("\n"), command.asked)


@pytest.mark.skipif(os.geteuid() == 0, reason="whoever runs this may write everywhere")
def test_a_folder_that_may_not_be_written_to_is_named(command: Command, source: Path, tmp_path: Path):
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o555)

    said = command(source, "-o", folder / "out.jsonl")
    assert (2, 1, []) == (said.code, said.err.count("\n"), command.asked)


@pytest.mark.parametrize("words", [[], ["--overwrite"]], ids=str)
def test_an_output_that_is_a_folder_is_named_before_anything_is_asked(
    words: list[str], command: Command, source: Path, output: Path
):
    output.mkdir()

    said = command(source, "-o", output, *words)
    assert (2, []) == (said.code, command.asked)
    assert "out.jsonl is no file" in said.err


def test_a_library_that_is_missing_is_named_before_anything_is_asked(
    command: Command, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    said = command(source, "-o", tmp_path / "out.parquet")
    assert (2, []) == (said.code, command.asked)
    assert 'pip install "llama-guardrails[bulk]"' in said.err


@pytest.mark.parametrize("words", [["--policy"], ["--images-in"]], ids=str)
def test_an_input_that_is_a_folder_is_named(words: list[str], command: Command, tmp_path: Path, output: Path):
    said = command(tmp_path, "--input-format", "jsonl", "-o", output, *words, tmp_path)

    assert (2, 1) == (said.code, said.err.count("\n"))
