"""The journal of a run: what is in it is done, whenever the process that wrote it was killed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from llama_guard_core import ConfigurationError, Stage
from llama_guard_core.bulk.journal import Journal, digest_of
from llama_guard_core.bulk.judgements import Judgement
from llama_guard_core.guardrail.screening import Check
from llama_guard_core.messages import Image, Message, Text, assistant, user

SETTINGS = {"model": "a guard", "stage": None}


def _judgement(row: int, *, safe: bool | None = True) -> Judgement:
    if safe is None:
        return Judgement(row=row, outcome="unavailable", stage="prompt", reason="timeout", kept={"id": f"n{row}"})
    return Judgement(
        row=row, outcome="judged", stage="prompt", safe=safe, categories=() if safe else ("S9",), kept={"id": f"n{row}"}
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "verdicts.jsonl.journal"


@pytest.fixture
def written(path: Path) -> bytes:
    """A journal of five rows, two of which came before their turn."""
    with Journal(path, SETTINGS) as journal:
        for row in (0, 3, 1, 4, 2):
            journal.put(100 + row, _judgement(row, safe=row != 3))
    return path.read_bytes()


def test_rows_come_out_in_their_order_as_they_were_put_in(path: Path, written: bytes):
    with Journal(path, SETTINGS) as journal:
        assert [_judgement(row, safe=row != 3) for row in range(5)] == list(journal.judgements())
        assert (5, 1) == (journal.tally.rows, journal.tally.unsafe)


def test_cut_off_anywhere_whole_lines_are_done_and_the_rest_is_not(path: Path, written: bytes):
    ends = [at + 1 for at, byte in enumerate(written) if byte == ord("\n")]
    order = [0, 3, 1, 4, 2]
    for at in range(len(written) + 1):
        path.write_bytes(written[:at])
        done = order[: max(0, sum(end <= at for end in ends) - 1)]

        with Journal(path, SETTINGS) as journal:
            assert done == [row for row in order if journal.has(row, 100 + row)]
            for row in order:
                if row not in done:
                    journal.put(100 + row, _judgement(row, safe=row != 3))
        assert written == path.read_bytes()


def test_what_never_got_to_the_disk_and_everything_behind_it_is_asked_about_again(path: Path, written: bytes):
    lines = written.splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], b"\0" * len(lines[3]), *lines[4:]]))

    with Journal(path, SETTINGS) as journal:
        assert [0, 3] == [each.row for each in journal.judgements()]


def test_a_row_that_holds_another_text_now_is_an_error_that_quotes_nothing(path: Path, written: bytes):
    with Journal(path, SETTINGS) as journal, pytest.raises(ConfigurationError, match="row 3 holds another text"):
        journal.has(3, 999)


def test_a_run_with_other_settings_is_refused_by_their_names(path: Path, written: bytes):
    with (
        pytest.raises(ConfigurationError, match=r"other settings \(model\)"),
        Journal(path, {**SETTINGS, "model": "b"}),
    ):
        pass
    assert written == path.read_bytes()


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b'{"id": 1}\n', b"\0\0", b'{"journal"\n'])
def test_a_file_of_somebody_else_is_left_as_it_is(path: Path, content: bytes):
    path.write_bytes(content)

    with pytest.raises(ConfigurationError, match="is no journal"), Journal(path, SETTINGS):
        pass
    assert content == path.read_bytes()


def test_another_version_of_the_format_is_left_as_it_is(path: Path):
    path.write_text('{"journal":2,"settings":{}}\n')

    with pytest.raises(ConfigurationError, match="another version"), Journal(path, SETTINGS):
        pass
    assert '{"journal":2,"settings":{}}\n' == path.read_text()


def test_a_second_process_is_kept_out_and_a_killed_one_is_not_in_the_way(path: Path, written: bytes):
    open_and_wait = (
        "import sys, time\nfrom pathlib import Path\nfrom llama_guard_core.bulk.journal import Journal\n"
        f"with Journal(Path(sys.argv[1]), {SETTINGS!r}):\n    print('open', flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", open_and_wait, path], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        assert "open\n" == other.stdout.readline()
        with pytest.raises(ConfigurationError, match="another process"), Journal(path, SETTINGS):
            pass
        other.kill()
        other.wait()
    with Journal(path, SETTINGS) as journal:
        assert 5 == journal.tally.rows


def test_forgetting_takes_out_the_rows_without_a_verdict_alone(path: Path):
    with Journal(path, SETTINGS) as journal:
        for row in range(4):
            journal.put(row, _judgement(row, safe=None if row % 2 else True))
        assert 2 == journal.tally.unjudged
        journal.forget_unjudged()
        assert (2, 0) == (journal.tally.rows, journal.tally.unjudged)
        assert [True, False, True, False] == [journal.has(row, row) for row in range(4)]
        journal.put(1, _judgement(1))
    with Journal(path, SETTINGS) as journal:
        assert [0, 1, 2] == [each.row for each in journal.judgements()]


def test_a_judgement_is_read_as_it_was_written():
    judgement = Judgement(
        row=7,
        outcome="judged",
        stage="reply",
        kept={"id": 1, "source": None},
        safe=False,
        categories=("S1", "S14"),
        all_named=True,
        score=0.25,
        model="m",
        input_tokens=3,
        cost=0.5,
        latency=0.125,
    )
    assert judgement == Judgement.from_dict(json.loads(json.dumps(judgement.as_dict())))


def test_without_details_nothing_is_told_that_differs_from_run_to_run():
    told = _judgement(1).as_dict(details=False)

    assert set() == {"latency", "cost", "cached", "generation_id", "provider", "input_tokens"} & told.keys()
    assert {"row": 1, "id": "n1", "outcome": "judged", "safe": True, "categories": []}.items() <= told.items()


def test_questions_that_differ_in_anything_have_other_digests():
    questions = [
        Check(stage, conversation)
        for stage in (Stage.PROMPT, Stage.DOCUMENT)
        for conversation in [
            (user("a"),),
            (user("b"),),
            (assistant("a"),),
            (user("a"), assistant("a")),
            (Message("user", (Text("a"), Image("https://a/b.png"))),),
        ]
    ]
    assert len(questions) == len({digest_of(each) for each in questions})
    assert digest_of(Check(Stage.PROMPT, (user("\ud800"),))) != digest_of(None) == 0
