"""A report of figures as the evaluation gives them, not as the other tests write them down."""

from __future__ import annotations

import json

import jinja2
import pytest

from llama_guard_core.bulk.judgements import Judgement
from llama_guard_core.evaluation.comparison import Run, compared
from llama_guard_core.evaluation.dataset import Example
from llama_guard_core.evaluation.figures import evaluated
from llama_guard_core.evaluation.published import PUBLISHED
from llama_guard_core.evaluation.report import as_html, as_markdown
from llama_guard_core.guardrail.verdict import Stage
from llama_guard_core.messages import user


def example(place: int) -> Example:
    unsafe = place < 20
    return Example(
        id=f"made.csv:{place}",
        conversation=(user(f"KNIFE {place}"),),
        stage=Stage.PROMPT,
        unsafe=unsafe,
        accepted=("S1",) if unsafe else (),
        looks_unsafe=not unsafe,
        slices={"language": "en" if place % 2 else "fr"},
    )


def judgement(place: int, wrong: int) -> Judgement:
    if place == 19:
        return Judgement(row=place, outcome="unavailable", reason="timeout")
    unsafe = (place < 20) != (place % wrong == 0)
    return Judgement(
        row=place,
        outcome="judged",
        safe=not unsafe,
        categories=("S1",) if unsafe else (),
        score=0.9 - place / 100 if unsafe else 0.1 + place / 100,
        latency=0.2 + place / 50,
        input_tokens=200,
        output_tokens=3,
        cost=0.0001,
    )


@pytest.fixture(scope="module")
def report() -> dict[str, object]:
    examples = [example(place) for place in range(40)]
    first, second = ([judgement(place, wrong) for place in range(40)] for wrong in (5, 7))
    whole = {
        "evaluations": [evaluated(examples, each, name="made").as_dict() for each in (first, second)],
        "comparisons": [
            compared(examples, first, second, first_run=Run("made"), second_run=Run("made", host="vllm")).as_dict()
        ],
        "published": [each.as_dict() for each in PUBLISHED],
    }
    return json.loads(json.dumps(whole))


def test_every_figure_that_the_page_names_is_one_that_an_evaluation_has(report, monkeypatch):
    monkeypatch.setattr(jinja2, "ChainableUndefined", jinja2.StrictUndefined)

    document = as_html(report)

    assert 1 + 2 * 4 == document.count("<svg ")
    assert "KNIFE" not in document


def test_recall_and_false_positive_rate_are_those_that_can_be_counted_by_hand(report):
    # Of rows 0 to 18, those that 5 (7) does not divide are flagged; of 20 to 39, those that it does.
    for recall, false_positives in ((15 / 19, 4 / 20), (16 / 19, 3 / 20)):
        for text in (as_html(report), as_markdown(report)):
            assert f"{100 * recall:.1f} %" in text
            assert f"{100 * false_positives:.1f} %" in text
    assert "Rows without a verdict: 1 of 40 (1 timeout)" in as_html(report)
