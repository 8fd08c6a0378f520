"""What is there already: an output that is whole, one of something else, and the journal of a run that is yet to end."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from core.cli.commands import SECRET, Command, judged, records_in, right, rows, write_json_lines
from fake_provider import FakeProvider, Fault

At = Callable[[FakeProvider], Command]


class Host:
    """Fails for texts that hold one of its words, and judges the others."""

    def __init__(self) -> None:
        self.fails: tuple[str, ...] = ()
        self.asked: list[str] = []
        self.provider = FakeProvider(guard=self)

    def __call__(self, _: str, text: str) -> Any:
        self.asked.append(text)
        if any(word in text for word in self.fails):
            return Fault.prose()
        return "unsafe\nS9" if "BOMB" in text else "safe"


@pytest.fixture
def host() -> Host:
    return Host()


def _journal_of(output: Path) -> Path:
    return output.with_name(f"{output.name}.journal")


def test_of_an_output_that_is_whole_nothing_is_asked(command: Command, source: Path, output: Path):
    first = command(source, "-o", output)
    before, asked = output.read_bytes(), len(command.asked)
    second = command(source, "-o", output)

    assert (0, 0, before, asked) == (first.code, second.code, output.read_bytes(), len(command.asked))
    assert "nothing was asked" in second.err


@pytest.mark.parametrize("suffix", ["csv", "jsonl.gz", "parquet"])
def test_it_is_known_to_be_whole_in_every_format(suffix: str, command: Command, source: Path, tmp_path: Path):
    for _ in range(2):
        assert 0 == command(source, "-o", tmp_path / f"out.{suffix}").code
    assert 10 == len(command.asked)


def test_an_output_of_an_input_that_was_changed_since_is_left_alone(command: Command, source: Path, output: Path):
    command(source, "-o", output)
    before = output.read_bytes()
    os.utime(source, (2**31, 2**31))

    assert (2, before) == (command(source, "-o", output).code, output.read_bytes())


@pytest.mark.parametrize(
    "others", [rows(10), [], [{"row": number, "outcome": "judged"} for number in range(9)]], ids=len
)
def test_a_file_that_is_no_output_of_this_input_is_left_alone(
    others: list[dict[str, Any]], command: Command, source: Path, output: Path
):
    write_json_lines(output, others)
    before = output.read_bytes()

    said = command(source, "-o", output)
    assert (2, before, []) == (said.code, output.read_bytes(), command.asked)
    assert "--overwrite" in said.err


@pytest.mark.parametrize("words", [[], ["--overwrite"]], ids=str)
@pytest.mark.parametrize("name", ["in.jsonl", "link.jsonl", "hard.jsonl"])
def test_the_input_is_never_the_output(words: list[str], name: str, command: Command, source: Path):
    source.with_name("link.jsonl").symlink_to(source)
    os.link(source, source.with_name("hard.jsonl"))
    before = source.read_bytes()

    said = command(source, "-o", source.with_name(name), *words)
    assert (2, before, []) == (said.code, source.read_bytes(), command.asked)
    assert "is the input" in said.err


def test_told_to_overwrite_all_is_judged_again_and_the_old_output_stays_until_then(
    command_at: At, host: Host, source: Path, output: Path
):
    command = command_at(host.provider)
    output.write_text("old")
    host.provider.fail(Fault.status(401))
    said = command(source, "-o", output, "--overwrite")
    assert (3, "old") == (said.code, output.read_text())
    assert "without --overwrite it goes on" in said.err

    command = command_at((again := Host()).provider)
    assert 0 == command(source, "-o", output).code
    assert (right(10), 10) == (judged(records_in(output)), len(again.asked))
    assert 0 == command(source, "-o", output, "--overwrite").code
    assert 20 == len(again.asked)


def test_told_to_overwrite_it_does_not_take_the_journal_from_under_a_run(command_at: At, source: Path, output: Path):
    command = command_at(FakeProvider().fail(Fault.stall("before_headers")))
    process = command.alone(source, "-o", output)
    try:
        while not command.host.requests:
            assert process.poll() is None
            time.sleep(0.02)
        for words in ([], ["--overwrite"]):
            said = command(source, "-o", output, *words)
            assert 2 == said.code
            assert "another process is at work" in said.err
        assert _journal_of(output).exists()
    finally:
        _end(process)


def test_only_the_rows_that_failed_are_asked_again_and_then_the_output_is_complete(
    command_at: At, host: Host, source: Path, output: Path
):
    command = command_at(host.provider)
    host.fails = ("text 3", "text 7")
    said = command(source, "-o", output)
    assert (1, {3, 7}) == (said.code, {record["row"] for record in records_in(output) if record["safe"] is None})
    assert "2 unreadable" in said.err
    assert "--retry-failed" in said.err

    host.asked.clear()
    assert (1, []) == (command(source, "-o", output).code, host.asked)

    host.fails = ()
    assert 0 == command(source, "-o", output, "--retry-failed").code
    assert {rows(10)[3]["prompt"], rows(10)[7]["prompt"]} == {*host.asked}
    assert 2 == len(host.asked)
    assert right(10) == judged(records_in(output))
    assert {source, output} == {*output.parent.iterdir()}


def test_a_journal_of_other_settings_is_refused_by_their_names(
    command_at: At, host: Host, source: Path, output: Path, tmp_path: Path
):
    command = command_at(host.provider)
    host.fails = ("text 3",)
    command(source, "-o", output)
    journal, asked = _journal_of(output).read_bytes(), len(host.asked)
    policy = tmp_path / "policy.json"
    policy.write_text('{"excluded_categories": ["S9"]}')

    changed: list[tuple[list[object], str]] = [
        (["--model", "meta-llama/llama-guard-3-8b"], "model"),
        (["--stage", "document"], "stage"),
        (["--prompt", "prompt"], "columns"),
        (["--policy", policy], "excluded_categories"),
    ]
    for words, named in changed:
        said = command(source, "-o", output, *words)
        assert (2, journal, asked) == (said.code, _journal_of(output).read_bytes(), len(host.asked))
        assert f"other settings ({named})" in said.err


def test_what_is_no_journal_is_left_alone(command: Command, source: Path, output: Path):
    _journal_of(output).write_text(f"{SECRET}\n")

    assert 2 == command(source, "-o", output).code
    assert f"{SECRET}\n" == _journal_of(output).read_text()


def test_the_journal_holds_no_judged_text_and_no_key(command_at: At, host: Host, source: Path, output: Path):
    host.fails = ("text 3",)
    command_at(host.provider)(source, "-o", output)

    assert SECRET not in _journal_of(output).read_text()
    assert 0o600 == _journal_of(output).stat().st_mode & 0o777


def _begun(host: Host, command_at: At, source: Path, output: Path) -> Command:
    """A run of which rows without a verdict are left."""
    command = command_at(host.provider)
    host.fails = ("text 9",)
    command(source, "-o", output)
    host.asked.clear()
    return command


def test_a_text_that_was_changed_in_between_is_refused(command_at: At, host: Host, source: Path, output: Path):
    command = _begun(host, command_at, source, output)
    write_json_lines(source, [*rows(4), {"id": "r4", "prompt": f"{SECRET} other"}, *rows(10)[5:]])

    said = command(source, "-o", output)
    assert (2, []) == (said.code, host.asked)
    assert "row 4 holds another text" in said.err


def test_an_input_that_has_grown_goes_on_with_the_new_rows(command_at: At, host: Host, source: Path, output: Path):
    command = _begun(host, command_at, source, output)
    host.fails = ()
    write_json_lines(source, rows(15))

    assert 0 == command(source, "-o", output, "--retry-failed").code
    assert right(15) == judged(records_in(output))
    assert {row["prompt"] for row in rows(15)[9:]} == {*host.asked}


def test_an_input_that_has_lost_rows_is_refused(command_at: At, host: Host, source: Path, output: Path):
    command = _begun(host, command_at, source, output)
    before = output.read_bytes()
    write_json_lines(source, rows(6))

    said = command(source, "-o", output)
    assert (2, before, []) == (said.code, output.read_bytes(), host.asked)
    assert "fewer rows" in said.err


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()
