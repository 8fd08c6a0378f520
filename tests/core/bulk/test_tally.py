"""Counts over the rows of a run."""

from __future__ import annotations

import pytest

from llama_guard_core.bulk.judgements import Judgement
from llama_guard_core.bulk.tally import Tally

SAFE = Judgement(row=0, outcome="judged", safe=True, input_tokens=10, output_tokens=2, cost=0.5)
UNSAFE = Judgement(row=1, outcome="judged", safe=False, categories=("S9",))
CACHED = Judgement(row=2, outcome="judged", safe=False, cached=True)
UNREADABLE = Judgement(row=3, outcome="unreadable", reason="unreadable")
DOWN = Judgement(row=4, outcome="unavailable", reason="timeout")
EMPTY = Judgement(row=5, outcome="not_judgeable", reason="not_judgeable")


def _tally(*judgements: Judgement) -> Tally:
    tally = Tally()
    for judgement in judgements:
        tally.add(judgement)
    return tally


def test_every_row_is_counted_once_whatever_came_of_it():
    tally = _tally(SAFE, UNSAFE, CACHED, UNREADABLE, DOWN, EMPTY)

    assert (6, 2, 3, 1) == (tally.rows, tally.unsafe, tally.unjudged, tally.cached)
    assert {"judged": 3, "unreadable": 1, "unavailable": 1, "not_judgeable": 1} == tally.outcomes
    assert {"unreadable": 1, "timeout": 1, "not_judgeable": 1} == tally.reasons


@pytest.mark.parametrize("judgement", [UNREADABLE, DOWN, EMPTY], ids=lambda judgement: judgement.outcome)
def test_a_row_without_a_verdict_is_neither_safe_nor_unsafe(judgement: Judgement):
    tally = _tally(judgement)

    assert (1, 0, 1, 0) == (tally.rows, tally.unsafe, tally.unjudged, tally.outcomes["judged"])


def test_what_is_not_told_counts_for_nothing_and_is_not_taken_for_told():
    tally = _tally(SAFE, UNSAFE, DOWN)

    assert (0.5, 1, 10, 2) == (tally.cost, tally.priced, tally.input_tokens, tally.output_tokens)


def test_a_cost_of_nothing_is_told():
    assert 1 == _tally(Judgement(row=0, outcome="judged", safe=True, cost=0.0)).priced
