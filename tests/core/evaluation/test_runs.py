"""A guard put to a data set: run in both colours, kept and taken up again, compared, scored, and reported."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timezone
from fractions import Fraction
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from core.evaluation.scripted_judges import (
    ScriptedJudge,
    by_another_hash,
    by_hash,
    made_rows,
    made_set,
    sometimes_silent,
)
from hosts.fakes import VLLM
from hosts.fakes.judging import read
from hosts.fakes.published import Family
from hosts.fakes.spoken import Spoken, Token

from llama_guard_core import ConfigurationError, LlamaGuard
from llama_guard_core.bulk.judgements import Judgement
from llama_guard_core.evaluation.dataset import Dataset
from llama_guard_core.evaluation.figures import Evaluation
from llama_guard_core.evaluation.runs import (
    aevaluate,
    evaluate,
    figures_of,
    kept_run,
    questions_of,
    report_of,
    rows_of,
    run_of,
    texts_of,
    verdicts_of,
)
from llama_guard_core.guardrail.policy import Policy

_DIFFERS_FROM_RUN_TO_RUN = ("latency", "made")


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return made_set(tmp_path / "data", made_rows(140))


def same_each_time(figures: Evaluation) -> dict[str, Any]:
    return {name: value for name, value in figures.as_dict().items() if name not in _DIFFERS_FROM_RUN_TO_RUN}


def keep(path: Path, guard: LlamaGuard, dataset: Dataset, *, policy: str | None = None, rows: int = 1000) -> Path:
    """Judge so many rows of a set, and keep the verdicts."""
    outcomes = guard.check_many(questions_of(dataset.examples[:rows]))
    with verdicts_of(path, guard, dataset, policy) as journal:
        for row, checked in zip(rows_of(dataset.examples), islice(outcomes, rows), strict=False):
            judgement = Judgement.of(row.index, checked.outcome, stage=row.question.stage, kept=row.kept)
            journal.put(row.digest, judgement)
    return path


@pytest.mark.parametrize("rule", [by_hash, sometimes_silent])
async def test_sync_and_async_one_by_one_and_at_once_give_the_same(rule, dataset):
    guard = ScriptedJudge(rule).guard()

    one_by_one = evaluate(guard, dataset, policy="strict", concurrency=1)
    at_once = [evaluate(guard, dataset, policy="strict"), await aevaluate(guard, dataset, policy="strict")]

    assert [same_each_time(one_by_one)] * 2 == [same_each_time(each) for each in at_once]
    assert (one_by_one.rows.total, one_by_one.policy) == (120, "strict")
    assert one_by_one.rows.judged == 120 - (0 if rule is by_hash else 37)


def test_a_kept_run_has_the_figures_of_the_run_and_says_whose_they_are(dataset, tmp_path):
    guard = ScriptedJudge(sometimes_silent).guard()

    run, judgements = kept_run(keep(tmp_path / "v", guard, dataset, policy="strict"), dataset)

    assert run == run_of(guard, dataset, "strict")
    assert (run.name, run.model, run.host) == ("made", "meta-llama/llama-guard-4-12b", "OpenRouter")
    kept = figures_of(dataset, judgements, run)
    assert same_each_time(kept) == same_each_time(evaluate(guard, dataset, policy="strict"))


def test_a_run_that_was_kept_half_is_refused(dataset, tmp_path):
    half = keep(tmp_path / "v", ScriptedJudge(by_hash).guard(), dataset, rows=50)

    with pytest.raises(ConfigurationError, match="all of them and no others: let that run end"):
        kept_run(half, dataset)


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([("other words", "bad", "weapons"), *made_rows(140)[1:]], id="a row has other words"),
        pytest.param(made_rows(140)[::-1], id="in another order"),
        pytest.param(made_rows(150), id="more rows"),
        pytest.param(made_rows(70), id="half of the rows"),
    ],
)
def test_a_kept_run_over_other_data_is_refused_and_no_word_of_it_is_said(rows, dataset, tmp_path):
    kept = keep(tmp_path / "v", ScriptedJudge(by_hash).guard(), dataset)

    with pytest.raises(ConfigurationError, match="let that run end on this data") as refusal:
        kept_run(kept, made_set(tmp_path / "other", rows))

    assert "words" not in str(refusal.value)
    assert "zebra" not in str(refusal.value)


@pytest.mark.parametrize("content", ["", "{}", "no journal\n", '{"journal":1,"settings":{}}\n{"of":"00'])
def test_what_is_no_kept_run_is_said_to_be_none(content, dataset, tmp_path):
    path = tmp_path / "v"
    path.write_text(content)

    with pytest.raises(ConfigurationError, match="is no journal of a run"):
        kept_run(path, dataset)
    path.unlink()
    with pytest.raises(ConfigurationError, match="there is no file"):
        kept_run(path, dataset)


@pytest.mark.parametrize(
    ("settings", "policy", "named"),
    [
        ({"model": "meta-llama/llama-guard-3-8b"}, None, "model"),
        ({"policy": Policy(excluded_categories=("S9",))}, None, "excluded_categories"),
        ({}, "strict", "policy"),
        ({"splitting": {"chunk_size": 600, "chunk_overlap": 60}}, None, "splitting"),
    ],
)
def test_a_run_is_not_gone_on_with_under_other_settings(settings, policy, named, dataset, tmp_path):
    judge = ScriptedJudge(by_hash)
    path = keep(tmp_path / "v", judge.guard(), dataset)

    with (
        pytest.raises(ConfigurationError, match=rf"other settings \([^)]*{named}"),
        verdicts_of(path, judge.guard(**settings), dataset, policy),
    ):
        pass


def test_a_report_has_the_remarks_and_the_rows_that_were_left_out(dataset):
    guard = ScriptedJudge(by_hash).guard()
    checked = guard.check_many(questions_of(dataset.examples))
    judgements = [Judgement.of(each.index, each.outcome) for each in checked]

    report = report_of(dataset, [(run_of(guard, dataset, None), judgements)])

    (figures,) = report["evaluations"]
    assert figures["remarks"][0] == "These rows were made up."
    assert [each for each in figures["remarks"] if "left out" in each] == [
        f"{count} rows are left out: {reason}" for reason, count in dataset.left_out.items()
    ]
    assert sum(dataset.left_out.values()) == 20
    assert report["comparisons"] == []
    assert report["published"][0]["model"].startswith("Llama Guard")
    assert "zebra" not in json.dumps(report)


def test_each_further_run_is_compared_with_the_first(dataset, tmp_path):
    rules = (by_hash, by_another_hash, sometimes_silent)
    runs = [kept_run(keep(tmp_path / rule.__name__, ScriptedJudge(rule).guard(), dataset, policy=rule.__name__), dataset)
            for rule in rules]  # fmt: skip

    report = report_of(dataset, runs)

    assert [each["policy"] for each in report["evaluations"]] == [rule.__name__ for rule in rules]
    pairs = [(each["first"]["policy"], each["second"]["policy"]) for each in report["comparisons"]]
    assert pairs == [("by_hash", "by_another_hash"), ("by_hash", "sometimes_silent")]
    for one, run in zip(report["comparisons"], runs[1:], strict=True):
        assert [one["both_right"], one["first_only_right"], one["second_only_right"], one["both_wrong"]] == right_in(
            dataset, runs[0][1], run[1]
        )


def right_in(dataset: Dataset, first: Sequence[Judgement], second: Sequence[Judgement]) -> list[int]:
    """Labelled rows judged in both: right in both, in the first alone, in the second alone, in neither."""
    rows = [row for row in zip(dataset.examples, first, second, strict=True) if row[0].unsafe is not None]
    right = [
        (one.safe is not example.unsafe, other.safe is not example.unsafe)
        for example, one, other in rows
        if one.safe is not None and other.safe is not None
    ]
    return [right.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False))]


@pytest.mark.parametrize("worst", [50, 7, 0])
def test_texts_are_given_of_the_disagreements_that_are_listed_and_of_nothing_else(worst, dataset):
    guard = ScriptedJudge(by_hash).guard()
    judgements = [Judgement.of(each.index, each.outcome) for each in guard.check_many(questions_of(dataset.examples))]
    wrong = [
        example
        for example, judgement in zip(dataset.examples, judgements, strict=True)
        if example.unsafe is not None and judgement.safe is example.unsafe
    ]

    texts = texts_of(dataset, report_of(dataset, [(run_of(guard, dataset, None), judgements)], worst=worst))

    assert 7 < len(wrong) < 50
    assert texts == {each.id: f"[user] {each.conversation[0].text}" for each in wrong[:worst]}


def test_figures_are_dated_by_the_day_they_were_made_in_utc(dataset):
    judgements = [Judgement(row=row, outcome="judged", safe=True) for row in range(len(dataset.examples))]
    run = run_of(ScriptedJudge(by_hash).guard(), dataset, None)

    given = figures_of(dataset, judgements, run, made=datetime(2026, 2, 3, 4, 5, 6, tzinfo=timezone.utc))

    assert given.made == "2026-02-03T04:05:06Z"
    now = datetime.strptime(figures_of(dataset, judgements, run).made, "%Y-%m-%dT%H:%M:%S%z")
    assert now.utcoffset().total_seconds() == 0


def chance_of(text: str) -> float:
    """The probability of `unsafe`, by hash: 0.005, 0.015, … 0.995, so never at a threshold."""
    return (2 * (sha256(text.encode()).digest()[0] % 100) + 1) / 200


class Scoring(VLLM):
    """A host whose guard is as sure of `unsafe` as the hash of a text says, and tells so."""

    def judged(self, prompt: str, family: Family, images: Sequence[str] = ()) -> Spoken:
        chance = chance_of(read(prompt, family, images).turns[-1][1])
        chances = {"unsafe": chance, "safe": 1 - chance}
        word = max(chances, key=chances.__getitem__)
        codes = [Token(text, {text: 0.99}) for text in ("\n", "S", "9")] if word == "unsafe" else []
        return Spoken((Token("\n\n", {"\n\n": 0.99}), Token(word, chances), *codes))


def test_where_a_host_tells_probabilities_thresholds_are_those_of_plain_counting(dataset):
    host = Scoring()
    with LlamaGuard(host="vllm", http_client=host.client(), cache=False) as guard:
        figures = evaluate(guard, dataset)

    assert host.violations == []
    chances = {
        label: [chance_of(each.conversation[0].text) for each in dataset.examples if each.unsafe is label]
        for label in (True, False)
    }
    pairs = [Fraction(1 + (one > other) - (one < other), 2) for one in chances[True] for other in chances[False]]
    swept = figures.thresholds
    assert swept.scored == len(chances[True]) + len(chances[False]) == 80
    assert swept.roc_auc == pytest.approx(float(sum(pairs) / len(pairs)), abs=1e-12)
    for each in swept.by_threshold:
        tp, fp = (sum(chance >= each.threshold for chance in chances[label]) for label in (True, False))
        fn = len(chances[True]) - tp
        assert each.recall == float(Fraction(tp, tp + fn))
        assert each.false_positive_rate == float(Fraction(fp, len(chances[False])))
        assert each.precision == float(Fraction(tp, tp + fp))
        assert each.f1 == float(Fraction(2 * tp, 2 * tp + fp + fn))


def test_with_scores_the_surest_mistake_is_listed_first(dataset):
    with LlamaGuard(host="vllm", http_client=Scoring().client(), cache=False) as guard:
        mistakes = evaluate(guard, dataset).disagreements

    distances = [abs(each.score - each.unsafe) for each in mistakes]
    assert len(distances) > 10
    assert distances == sorted(distances, reverse=True)
    assert min(distances) > 0.5
