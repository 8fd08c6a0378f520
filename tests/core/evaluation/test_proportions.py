"""The interval of a proportion is Wilson's, and that of F1 comes of drawing the rows again."""

from __future__ import annotations

import math
from statistics import NormalDist

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_guard_core.evaluation.proportions import f1_estimate, proportion


@given(st.integers(1, 10**6), st.data())
@settings(max_examples=200, deadline=None)
def test_the_interval_of_a_proportion_is_wilsons(of: int, data: st.DataObject):
    count = data.draw(st.integers(0, of))
    z, p = NormalDist().inv_cdf(0.975), count / of
    centre = (p + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * math.sqrt(p * (1 - p) / of + z * z / (4 * of * of))

    got = proportion(count, of)

    assert (got.low, got.high) == pytest.approx((centre - half, centre + half), abs=1e-12)
    assert 0 <= got.low <= got.value <= got.high <= 1


def test_the_interval_of_f1_is_that_of_drawing_the_rows_again():
    np, bootstrap = pytest.importorskip("numpy"), pytest.importorskip("scipy.stats").bootstrap
    f1_score = pytest.importorskip("sklearn.metrics").f1_score
    labels, verdicts = np.repeat([1, 0, 1, 0], (40, 20, 30, 110)), np.repeat([1, 1, 0, 0], (40, 20, 30, 110))
    options = {"paired": True, "vectorized": False, "n_resamples": 600, "method": "percentile", "rng": 1}

    drawn = bootstrap((labels, verdicts), f1_score, **options).confidence_interval
    got = f1_estimate(40, 20, 30, 110)

    assert got.value == f1_score(labels, verdicts)
    assert (got.low, got.high) == pytest.approx((drawn.low, drawn.high), abs=0.02)
    assert got == f1_estimate(40, 20, 30, 110)
