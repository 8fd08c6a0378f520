"""`llama-guard evaluate` and `llama-guard report`: what they ask, write, say and keep to themselves."""

from __future__ import annotations

import itertools
import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from core.evaluation.scripted_judges import Rule, Said, ScriptedJudge, by_another_hash, by_hash, made_rows, write_set
from core.evaluation.test_runs import right_in
from fake_provider import Fault

from llama_guard_core.bulk.judgements import Judgement
from llama_guard_core.cli.command_line import main
from llama_guard_core.evaluation import libraries
from llama_guard_core.evaluation.dataset import read_dataset

ROWS = made_rows(84)
"""72 of them are judged: 24 unsafe, 24 safe, 12 outside, 12 without a label."""


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-0123456789abcdef")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def data(tmp_path: Path) -> tuple[Path, Path]:
    return write_set(tmp_path / "data", ROWS)


@pytest.fixture
def run(data: tuple[Path, Path]) -> Iterator[Callable[..., int]]:
    """Runs the command against a judge; its requests keep the rules of the API."""
    judges: list[ScriptedJudge] = []

    def run_it(judge: ScriptedJudge | Rule, *words: Any, mapping: Any = data[1]) -> int:
        judges.append(judge if isinstance(judge, ScriptedJudge) else ScriptedJudge(judge))
        with judges[-1].provider.serve() as base_url:
            host = ["--host", "openrouter", "--base-url", base_url, "--retries", "0", "--progress", "none"]
            return main(["evaluate", "--data", str(data[0]), "--mapping", str(mapping), *host, *map(str, words)])

    yield run_it
    assert [] == [problem for judge in judges for problem in judge.provider.violations]


def saved(path: str) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(Path(path).read_text("utf-8"))
    return report


def counts(figures: dict[str, Any], name: str) -> tuple[int, int]:
    return figures[name]["count"], figures[name]["of"]


def counted_by_hand(rule: Rule, label: str, *, but: Sequence[str] = ()) -> tuple[int, int]:
    """Flagged, of the rows with a label; rows of insults are outside the taxonomy."""
    said = [rule(words) for words, its_label, topic in ROWS if its_label == label and topic != "insults"]
    return sum(bool(each.unsafe and (not each.codes or set(each.codes) - {*but})) for each in said), len(said)


def test_reports_are_written_in_the_forms_that_the_files_names_say(run, capsys):
    assert 0 == run(by_hash, "-o", "r.html", "-o", "r.md", "-o", "r.json")

    (figures,) = saved("r.json")["evaluations"]
    assert counts(figures, "recall") == counted_by_hand(by_hash, "bad")
    assert counts(figures, "false_positive_rate") == counted_by_hand(by_hash, "good")
    assert (figures["name"], figures["host"], figures["rows"]["total"]) == ("made", "OpenRouter", 72)
    assert "12 rows are left out" in " ".join(figures["remarks"])
    assert Path("r.html").read_text("utf-8").startswith("<!DOCTYPE html>")
    assert Path("r.md").read_text("utf-8").startswith("# Llama Guard evaluation")
    printed, told = capsys.readouterr()
    assert printed == ""
    assert [line for line in told.splitlines() if "written" in line] == [
        f"r.{form} is written" for form in ("html", "md", "json")
    ]
    assert Path("r.verdicts").exists()


def test_without_a_file_markdown_is_printed_and_verdicts_are_kept_by_the_name_of_the_set(run, capsys):
    assert 0 == run(by_hash)

    printed = capsys.readouterr().out
    count, of = counted_by_hand(by_hash, "bad")
    assert printed.startswith("# Llama Guard evaluation")
    assert f"| {count} of {of} unsafe rows flagged |" in printed
    assert Path("made.verdicts").exists()


class Interrupting(ScriptedJudge):
    """Presses Ctrl-C, as it were, when it is asked for the eleventh time."""

    calls = itertools.count()

    def __call__(self, role: str, text: str) -> Any:
        if next(self.calls) == 10:
            os.kill(os.getpid(), signal.SIGINT)
        return super().__call__(role, text)


def test_an_interrupted_run_goes_on_and_asks_nothing_twice(run, capsys):
    first, second, third = Interrupting(by_hash), ScriptedJudge(by_hash), ScriptedJudge(by_hash)

    assert 130 == run(first, "-o", "r.json", "--concurrency", "2")
    assert not Path("r.json").exists()
    assert "Started again in the same way it goes on" in capsys.readouterr().err
    assert 0 == run(second, "-o", "r.json")
    assert 0 == run(third, "-o", "again.md", "--verdicts", "r.verdicts")

    assert 10 < len(first.asked) < 72
    asked = Counter([*first.asked, *second.asked, *third.asked])
    assert (72, {1}) == (len(asked), set(asked.values()))
    assert counts(saved("r.json")["evaluations"][0], "recall") == counted_by_hand(by_hash, "bad")


def test_overwrite_asks_anew(run):
    run(by_hash, "-o", "r.json")
    again = ScriptedJudge(by_another_hash)

    assert 0 == run(again, "-o", "r.json", "--overwrite")

    assert 72 == len(again.asked)
    assert counts(saved("r.json")["evaluations"][0], "recall") == counted_by_hand(by_another_hash, "bad")


def test_rows_without_a_verdict_are_told_apart_and_exit_with_1(run, capsys):
    def often_silent(asked: str) -> Said:
        return Said(unsafe=None, failure="prose") if "BOMB" in asked else by_hash(asked)

    assert 1 == run(often_silent, "-o", "r.json")

    silent = sum(1 for words, label, _ in ROWS if "BOMB" in words and label != "unclear")
    rows = saved("r.json")["evaluations"][0]["rows"]
    assert (rows["judged"], rows["unreadable"], rows["unavailable"]) == (72 - silent, silent, 0)
    assert f"{silent} unreadable" in capsys.readouterr().err


def test_a_comparison_counts_the_rows_that_just_one_run_has_right(run, data, capsys):
    run(by_hash, "-o", "first.json")

    assert 0 == run(by_another_hash, "-o", "second.json", "-o", "second.md", "--compare", "first.verdicts")

    judged = [words for words, label, _ in ROWS if label != "unclear"]
    first, second = (
        [Judgement(row=row, outcome="judged", safe=not rule(words).unsafe) for row, words in enumerate(judged)]
        for rule in (by_hash, by_another_hash)
    )
    report = saved("second.json")
    (pair,) = report["comparisons"]
    assert [pair[name] for name in ("both_right", "first_only_right", "second_only_right", "both_wrong")] == right_in(
        read_dataset(*data), second, first
    )
    assert (pair["rows"], pair["test"]) == (48, "McNemar, exact")
    assert 2 == len(report["evaluations"])
    assert "## Compared" in Path("second.md").read_text("utf-8")


def test_a_policy_says_which_hazards_count(run):
    Path("no-weapons.json").write_text('{"excluded_categories": ["S9"]}')

    assert 0 == run(lambda asked: Said(unsafe=True, codes=("S9",) if "BOMB" in asked else ("S2",)), "-o", "r.json",
                    "--policy", "no-weapons.json")  # fmt: skip

    (figures,) = saved("r.json")["evaluations"]
    bad = [words for words, label, topic in ROWS if label == "bad" and topic != "insults"]
    assert counts(figures, "recall") == (sum("BOMB" not in words for words in bad), len(bad))
    assert figures["policy"] == "no-weapons"


@pytest.mark.parametrize(
    "rows", [made_rows(42), [("other words", "bad", "weapons"), *ROWS[1:]]], ids=["fewer", "other"]
)
def test_a_run_is_not_gone_on_with_over_other_data(rows, run, data, capsys):
    run(by_hash, "-o", "r.json")
    write_set(data[0], rows)
    capsys.readouterr()
    other = ScriptedJudge(by_hash)

    assert 2 == run(other, "-o", "r.json")

    assert "--overwrite" in capsys.readouterr().err
    assert [] == other.asked


@pytest.mark.parametrize(
    ("mapping", "named"),
    [
        ({"text_field": "sentences"}, "sentences"),
        ({"gold": "evil"}, "gold"),
        ({"categories": {"weapons": ["S99"]}}, "S99"),
        ({"textfield": "words"}, "textfield"),
        (None, "there is no mapping"),
    ],
    ids=str,
)
def test_a_wrong_mapping_is_said_in_a_sentence_and_nothing_is_asked(mapping, named, run, data, capsys):
    if mapping is not None:
        write_set(data[0], ROWS, **mapping)
    judge = ScriptedJudge(by_hash)

    assert 2 == run(judge, "-o", "r.json", mapping=data[1] if mapping is not None else "absent.json")

    printed, told = capsys.readouterr()
    assert ("", 1, []) == (printed, told.count("\n"), judge.asked)
    assert told.startswith("llama-guard: ")
    assert named in told
    assert "zebra" not in told


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["-o", "r.pdf"], "a report is an .html, .md or .json file"),
        (["-o", "absent/r.md"], "there is no folder absent: make it first"),
        (["--worst", "-1"], "0 or more"),
        (["--compare", "absent"], "there is no file absent"),
        (["--policy", "absent"], "absent cannot be read"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_asked(words, named, run, capsys):
    judge = ScriptedJudge(by_hash)

    assert 2 == run(judge, *words)

    assert named in capsys.readouterr().err
    assert ([], [Path("data")]) == (judge.asked, [*Path().iterdir()])


class Echoing(ScriptedJudge):
    """Repeats what it was asked in what it says, and refuses some of it in the same way."""

    def __call__(self, role: str, text: str) -> Any:
        said = super().__call__(role, text)
        if "BOMB" in text:
            return Fault.status(400, message=f"this is not allowed: {text}")
        return f"{said}\n{text}" if "unsafe" in str(said) else said


@pytest.mark.parametrize("words", [[], ["--no-texts"]], ids=["", "no texts"])
def test_judged_texts_are_nowhere_but_in_html_and_there_only_those_of_disagreements(words, run, data, capsys, caplog):
    outputs = ["-o", "r.html", "-o", "r.md", "-o", "r.json"]
    run(Echoing(by_hash), *outputs, *words)
    run(Echoing(by_hash), "--verdicts", "v", "--compare", "r.verdicts", *words)

    printed, told = capsys.readouterr()
    kept = [Path(name).read_text("utf-8") for name in ("r.md", "r.json", "r.verdicts", "v")]
    assert "zebra" not in "".join([printed, told, caplog.text, *kept])
    shown = {words for words, _, _ in ROWS if words in Path("r.html").read_text("utf-8")}
    wrong = {words for words, label, topic in ROWS if "BOMB" not in words and topic != "insults" and label in {"bad", "good"}
             and by_hash(words).unsafe is (label == "good")}  # fmt: skip
    assert len(wrong) > 5
    assert shown == (set() if words else wrong)


def test_what_a_host_that_is_down_says_of_the_texts_is_not_repeated(run, capsys):
    class Down(ScriptedJudge):
        def __call__(self, role: str, text: str) -> Any:
            super().__call__(role, text)
            return Fault.status(503, message=f"no room for {text}")

    assert 3 == run(Down(by_hash), "-o", "r.json", "--concurrency", "2")

    printed, told = capsys.readouterr()
    assert "no verdicts can be had" in told
    assert "zebra" not in printed + told + Path("r.verdicts").read_text("utf-8")


def test_saved_reports_are_put_side_by_side(run, capsys):
    run(by_hash, "-o", "one.json", "--name-policy", "mild")
    run(by_another_hash, "-o", "two.json", "--name-policy", "strict")
    capsys.readouterr()

    assert 0 == main(["report", "one.json", "two.json", "-o", "both.html", "-o", "both.md", "-o", "both.json"])
    assert 0 == main(["report", "one.json", "two.json"])

    both = saved("both.json")
    assert both["evaluations"] == [saved(name)["evaluations"][0] for name in ("one.json", "two.json")]
    assert both["published"] == saved("one.json")["published"]
    markdown = Path("both.md").read_text("utf-8")
    assert capsys.readouterr().out.strip() == markdown.strip()
    assert "| made · mild |" in markdown
    assert "| made · strict |" in markdown
    assert "zebra" not in Path("both.html").read_text("utf-8") + markdown


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"evaluations": 1, "comparisons": [], "published": []}'])
def test_what_is_no_saved_report_is_said_to_be_none(content, capsys):
    if content is not None:
        Path("saved.json").write_text(content)

    assert 2 == main(["report", "saved.json"])

    printed, told = capsys.readouterr()
    assert ("", "llama-guard: saved.json is no report that evaluate wrote as JSON\n") == (printed, told)


@pytest.mark.parametrize(("missing", "report"), [("sklearn", "r.json"), ("jinja2", "r.html")])
def test_a_library_that_is_missing_is_told_before_anything_is_asked(
    missing: str, report: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    found = libraries.find_spec
    monkeypatch.setattr(libraries, "find_spec", lambda name: None if name == missing else found(name))
    words = ["--data", str(tmp_path), "--mapping", "xstest", "-o", str(tmp_path / report)]

    assert 2 == main(["evaluate", *words])
    assert 'pip install "llama-guardrails[evaluation]"' in capsys.readouterr().err
