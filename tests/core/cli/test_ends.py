"""How a run ends: its exit code, what it says, and what is left to go on with."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from core.cli.commands import SECRET, Command, Said, judged, records_in, right, rows, write_json_lines
from fake_provider import FakeProvider, Fault
from fake_provider.replies import Reply, Usage

At = Callable[[FakeProvider], Command]


def _priced(_: str, text: str) -> Reply:
    return Reply("unsafe\nS9" if "BOMB" in text else "safe", usage=Usage(10, 2, cost=0.25))


def test_0_every_row_has_a_verdict_and_counts_and_cost_are_told(command_at: At, source: Path, output: Path):
    said = command_at(FakeProvider(guard=_priced))(source, "-o", output)

    assert Said(0, "", "10 rows: 4 unsafe, 0 without a verdict, $2.5000\n") == said


def test_1_all_is_done_and_rows_without_a_verdict_are_counted_by_reason(command_at: At, source: Path, output: Path):
    def answer(_: str, text: str) -> Any:
        faults = {"text 1": Fault.prose(), "text 2": Fault.status(400), "text 4": Fault.prose()}
        return next((fault for words, fault in faults.items() if words in text), "safe")

    said = command_at(FakeProvider(guard=answer))(source, "-o", output)

    assert (1, "") == (said.code, said.out)
    assert "10 rows: 0 unsafe, 3 without a verdict" in said.err
    assert "2 unreadable, 1 " in said.err
    assert {1: None, 2: None, 4: None} == {row: safe for row, safe in judged(records_in(output)) if safe is not True}


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--concurrency", "0"],
        ["--rate", "fast"],
        ["--rate", "0/s"],
        ["--limit-cost", "-1"],
        ["--limit-cost", "nan"],
        ["--timeout", "0"],
        ["--progress", "loud"],
        ["--policy", "no-such-policy.json"],
        ["-o", "no/such/folder/out.jsonl"],
        ["-o", "."],
    ],
    ids=str,
)
def test_2_it_cannot_be_run_and_one_line_says_why(words: list[str], command: Command, source: Path):
    said = command(*([source] if words else []), *words)

    assert (2, "", []) == (said.code, said.out, command.asked)
    assert ": error: " in said.err or 1 == said.err.count("\n")


def test_2_a_key_that_is_missing_is_named(command: Command, source: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OPENROUTER_API_KEY")

    said = command(source)
    assert (2, 1) == (said.code, said.err.count("\n"))
    assert "OPENROUTER_API_KEY" in said.err


@pytest.mark.parametrize(("status", "named"), [(401, "Check the API key"), (402, "redit")])
def test_3_what_is_for_the_user_to_mend_stops_it_at_once(
    status: int, named: str, command_at: At, source: Path, output: Path
):
    failing = command_at(FakeProvider().fail(Fault.status(status)))
    said = failing(source, "-o", output, "--concurrency", "1")

    assert (3, False) == (said.code, output.exists())
    assert 2 >= len(failing.host.requests)
    assert named in said.err
    assert "0 rows" in said.err

    assert 0 == command_at(FakeProvider())(source, "-o", output).code
    assert right(10) == judged(records_in(output))


def test_3_the_limit_of_cost_ends_it_and_a_higher_one_goes_on(command_at: At, source: Path, output: Path):
    command = command_at(FakeProvider(guard=_priced))
    for limit, done in ((1.0, 4), (1.0, 4), (1.75, 7)):
        said = command(source, "-o", output, "--limit-cost", limit)
        assert (3, False, done) == (said.code, output.exists(), len(command.asked))
        assert "--limit-cost" in said.err

    assert 0 == command(source, "-o", output, "--limit-cost", 2.5).code
    assert (right(10), 10) == (judged(records_in(output)), len(command.asked))


def test_3_a_host_that_is_not_there_stops_it_and_nothing_is_lost(command_at: At, tmp_path: Path, output: Path):
    source = write_json_lines(tmp_path / "in.jsonl", rows(200))
    answered = itertools.count(1)
    going_down = FakeProvider(guard=lambda *_: "safe" if next(answered) <= 20 else Fault.cut("before_headers"))

    said = command_at(going_down)(source, "-o", output, "--retries", 0, "--concurrency", 2)
    assert (3, False) == (said.code, output.exists())
    assert "Started again in the same way it goes on" in said.err

    again = command_at(FakeProvider())
    assert 0 == again(source, "-o", output).code
    assert [*range(200)] == [row for row, _ in judged(records_in(output))]
    assert 180 == len(again.asked)


def test_3_is_told_where_no_host_listens(command: Command, source: Path, output: Path):
    with FakeProvider().serve() as nobody:
        pass
    command.base_url = nobody
    said = command(source, "-o", output, "--retries", 0, "--concurrency", 1)

    assert (3, False) == (said.code, output.exists())
    assert "could not be reached" in said.err
    assert "base_url" in said.err


def test_what_is_done_is_on_standard_output_when_a_host_fails_and_nothing_is_promised(command_at: At, source: Path):
    host = FakeProvider().fail(Fault.status(401), nth=4)
    said = command_at(host)(source, "--concurrency", 1)

    assert (3, right(3)) == (said.code, judged(said.records)[:3])
    assert "Nothing is kept of it" in said.err


def test_so_many_checks_are_under_way_at_once_and_no_more(command_at: At, source: Path):
    together, under_way, most = threading.Barrier(3, timeout=30), 0, 0
    counting = threading.Lock()

    def answer(_: str, text: str) -> str:
        nonlocal under_way, most
        with counting:
            under_way += 1
            most = max(most, under_way)
        if "text 9" not in text:  # of the ten, nine come in threes
            together.wait()
        with counting:
            under_way -= 1
        return "safe"

    assert 0 == command_at(FakeProvider(guard=answer))(source, "--concurrency", 3).code
    assert 3 == most


def test_a_rate_is_kept(command: Command, source: Path):
    begun = monotonic()
    assert 0 == command(source, "--rate", "10/s").code
    assert 0.9 <= monotonic() - begun


def test_repetitions_count_for_the_rate(command_at: At, source: Path):
    command = command_at(FakeProvider().fail(Fault.status(503, retry_after=0), first=10))
    begun = monotonic()
    assert 0 == command(source, "--rate", "1200/m").code
    assert (20, True) == (len(command.host.requests), monotonic() - begun >= 0.95)


def test_nothing_of_an_answer_that_quotes_the_row_is_told(command_at: At, source: Path, output: Path):
    for fault in (Fault.status(400, message=f"bad {SECRET}"), Fault.reply("echo", Reply(f"{SECRET} is fine"))):
        command_at(FakeProvider().fail(fault))(source, "-o", output, "--overwrite")  # which looks for it
        assert SECRET not in output.read_text()
