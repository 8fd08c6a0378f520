"""A file in, a file out: whatever was done before and whatever fails, each row is in the output once and in order."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fake_provider import FakeProvider, Fault
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_guard_core import ConfigurationError, LlamaGuard
from llama_guard_core.bulk.file_runs import Input, Output
from llama_guard_core.bulk.journal import Journal, remove_journal
from llama_guard_core.bulk.judgements import Judgement
from llama_guard_core.bulk.moderation import Moderation
from llama_guard_core.bulk.tables import read_rows, write_records

PASSING, LASTING = "PASSING", "LASTING"


class Host:
    """Judges by marker words, fails once for some texts and always for others."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.provider = FakeProvider(guard=self)
        self.guard = LlamaGuard(api_key="k", http_async_client=self.provider.async_client(), max_retries=0)

    def __call__(self, _: str, text: str) -> Any:
        self.asked[text] += 1
        if LASTING in text:
            return Fault.prose()
        if PASSING in text and self.asked[text] == 1:
            return Fault.status(503)
        return "unsafe\nS9" if "BOMB" in text else "safe"

    def moderate(self, input_: Input, output: Output, *, stop_after: int = -1) -> str:
        """Run over an input, or over the beginning of it; gives how that ended."""
        return asyncio.run(self._moderate(input_, output, stop_after))

    async def _moderate(self, input_: Input, output: Output, stop_after: int) -> str:
        with output.journal(self.guard, input_) as journal:

            def stop(_: Judgement) -> None:
                if journal.tally.rows == stop_after:
                    moderation.stop()

            moderation = Moderation(input_.rows(), journal, concurrency=3, on_done=stop)
            ended = await moderation.run(lambda them: self.guard.acheck_many(them, concurrency=3, as_completed=True))
            if ended == "complete":
                output.finish(journal)
        return ended


def _wanted(text: str) -> tuple[str, bool | None]:
    if not text.strip():
        return "not_judgeable", None
    return ("unreadable", None) if LASTING in text else ("judged", "BOMB" not in text)


_WORDS = st.sampled_from(["", "BOMB", PASSING, LASTING, f"{PASSING} BOMB"])
_TEXTS = st.lists(_WORDS, max_size=14).map(
    lambda words: [f"text {at} {word}" if word or at % 5 else " " for at, word in enumerate(words)]
)


@settings(max_examples=60, deadline=None)
@given(_TEXTS, st.data())
def test_each_row_is_in_the_output_once_and_in_order_whatever_was_done_before_and_whatever_fails(
    texts: list[str], data: st.DataObject
):
    done = data.draw(st.sets(st.sampled_from(range(len(texts)))) if texts else st.just(set()), label="done before")
    stop_after = data.draw(st.integers(0, len(texts)), label="interrupted after")
    suffix = data.draw(st.sampled_from(["jsonl", "csv", "parquet"]), label="format")
    host = Host()
    with tempfile.TemporaryDirectory() as name:
        input_, output = Input(source=Path(name) / "in.jsonl"), Output(path=Path(name) / f"out.{suffix}")
        write_records(input_.source, ({"id": f"n{at}", "prompt": text} for at, text in enumerate(texts)))
        with output.journal(host.guard, input_) as journal:
            for row in sorted(input_.rows(), key=lambda row: hash((row.index, stop_after))):
                if row.index in done:
                    outcome, safe = _wanted(texts[row.index])
                    reason = None if outcome == "judged" else outcome
                    was = Judgement(row=row.index, outcome=outcome, safe=safe, reason=reason, kept=row.kept)
                    journal.put(row.digest, was)
        if host.moderate(input_, output, stop_after=stop_after) == "interrupted":
            assert not output.path.exists()
            assert "complete" == host.moderate(input_, output)
        records = [*read_rows(output.path)]
        left = {each.name for each in Path(name).iterdir()}

    told = [(int(each["row"]), each["id"], each["outcome"], _truth(each["safe"])) for each in records]
    assert [(at, f"n{at}", *_wanted(text)) for at, text in enumerate(texts)] == told
    to_ask = [text for at, text in enumerate(texts) if at not in done and text.strip()]
    assert {*to_ask} == {*host.asked}
    assert all(host.asked[text] <= 1 + (PASSING in text and LASTING not in text) for text in to_ask)
    assert {"in.jsonl", output.path.name} == left - {output.journal_path.name}
    assert (output.journal_path.name in left) == any(_wanted(text)[1] is None for text in texts)


def _truth(value: Any) -> bool | None:
    return {"true": True, "false": False, "": None}[value] if isinstance(value, str) else value


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    write_records(path, [{"prompt": f"text {number}"} for number in range(4)])
    return path


@pytest.fixture
def output(tmp_path: Path) -> Output:
    return Output(path=tmp_path / "out.jsonl")


def test_columns_that_later_rows_have_and_the_first_hundred_have_not_are_asked_for(tmp_path: Path):
    rows = [{"prompt": "a"}] * 100 + [{"prompt": "a", "reply": "b"}]
    write_records(tmp_path / "in.jsonl", rows)

    with pytest.raises(ConfigurationError, match=r"row 100 has a column 'reply'.*--reply"):
        [*Input(source=tmp_path / "in.jsonl").rows()]
    named = Input(source=tmp_path / "in.jsonl", columns={"reply": ""})
    assert 101 == len([*named.rows()])


def test_a_check_of_the_input_reads_its_beginning_alone(tmp_path: Path):
    path = tmp_path / "in.jsonl"
    path.write_text('{"prompt": "a"}\n' * 200 + "no JSON\n")

    Input(source=path).check()
    with pytest.raises(ConfigurationError, match="line 201"):
        [*Input(source=path).rows()]


def test_a_stream_is_not_read_to_check_it():
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream, os.fdopen(writing, "wb"):
        Input(source=stream).check()


def test_parts_that_killed_processes_left_are_removed_with_the_end_and_nothing_else_is(tmp_path: Path, source: Path):
    output = Output(path=tmp_path / "out[1]*.jsonl")
    for name in (".out[1]*.jsonl.0a1b2c3d.part", ".out1x.jsonl.0a1b2c3d.part", ".other.part"):
        (tmp_path / name).touch()

    assert "complete" == Host().moderate(Input(source=source), output)
    assert {"in.jsonl", "out[1]*.jsonl", ".out1x.jsonl.0a1b2c3d.part", ".other.part"} == {
        each.name for each in tmp_path.iterdir()
    }


def test_begun_anew_nothing_is_done_and_the_old_output_is_there_yet(output: Output, source: Path):
    output.path.write_text("old")
    Host().moderate(Input(source=source), output, stop_after=2)
    assert output.journal_path.exists()

    output.begin_anew()
    assert (False, "old") == (output.journal_path.exists(), output.path.read_text())


def test_a_journal_without_rows_is_of_no_settings(tmp_path: Path):
    for settings_ in ({"model": "a"}, {"model": "b"}):
        with Journal(tmp_path / "journal", settings_) as journal:
            assert 0 == journal.tally.rows
    journal_text = (tmp_path / "journal").read_text()
    assert (1, True) == (journal_text.count("\n"), '"b"' in journal_text)


_OPEN_AND_WAIT = """
import sys, time
from pathlib import Path
from llama_guard_core.bulk.journal import Journal
with Journal(Path(sys.argv[1]), {}):
    print("open", flush=True)
    time.sleep(60)
"""


def test_a_journal_that_another_process_has_open_is_not_removed(tmp_path: Path):
    path = tmp_path / "journal"
    with subprocess.Popen([sys.executable, "-c", _OPEN_AND_WAIT, path], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        assert "open\n" == other.stdout.readline()
        with pytest.raises(ConfigurationError, match="another process"):
            remove_journal(path)
        assert path.exists()
        other.kill()
    remove_journal(path)
    remove_journal(path)
    assert not path.exists()


def test_a_journal_that_its_process_removed_before_it_could_be_locked_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fcntl = pytest.importorskip("fcntl")
    path, lock = tmp_path / "journal", fcntl.flock

    def just_now(file: int, how: int) -> None:
        path.unlink()
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", just_now)
    with pytest.raises(ConfigurationError, match="start again"), Journal(path, {}):
        pass


def test_a_row_that_could_not_be_written_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path, write = tmp_path / "journal", os.write
    room = 300

    def full(file: int, content: memoryview) -> int:
        nonlocal room
        if not room:
            raise OSError(28, "No space left on device")
        written = write(file, content[:room])
        room -= written
        return written

    with Journal(path, {}) as journal:
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            journal.put(1, Judgement(row=0, outcome="judged", safe=True, kept={"a": "x" * 1000}))
        room = 10_000
        journal.put(2, Judgement(row=1, outcome="judged", safe=False))
        assert [1] == [each.row for each in journal.judgements()]
    with Journal(path, {}) as journal:
        assert (False, True, 1) == (journal.has(0, 1), journal.has(1, 2), journal.tally.rows)
