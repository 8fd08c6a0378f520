"""How a figure reads."""

from __future__ import annotations

import pytest

from llama_guard_core.evaluation.report import wording


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (wording.percent, 0.69, "69.0 %"),
        (wording.percent, 0, "0.0 %"),
        (wording.percent, 1.0, "100.0 %"),
        (wording.number, 12345, "12,345"),
        (wording.decimal, 0.7712, "0.771"),
        (wording.score, 0.5, "0.5"),
        (wording.score, 0.87312, "0.8731"),
        (wording.points, 0.0406, "+4.1 points"),
        (wording.points, -0.0122, "-1.2 points"),
        (wording.seconds, 0.42, "420 ms"),
        (wording.seconds, 1.318, "1.32 s"),
        (wording.dollars, 0, "$0.00"),
        (wording.dollars, 0.0192, "$0.0192"),
        (wording.dollars, 1234.5, "$1,234.50"),
        (wording.p_value, 0.0257, "0.026"),
        (wording.p_value, 0.0004, "below 0.001"),
        (wording.verdict, True, "unsafe"),
        (wording.verdict, False, "safe"),
    ],
)
def test_a_figure_reads_as_people_write_it(write, value, text):
    assert text == write(value)
    assert "—" == write(None)


@pytest.mark.parametrize("unknown", [None, "0.5", float("nan"), float("inf"), [], {}])
@pytest.mark.parametrize("write", [wording.percent, wording.number, wording.score, wording.points, wording.seconds])
def test_what_is_no_number_is_a_dash(write, unknown):
    assert "—" == write(unknown)


def test_a_proportion_reads_with_its_interval_and_what_it_was_counted_from():
    proportion = {"count": 138, "of": 200, "value": 0.69, "low": 0.621, "high": 0.752}

    assert ("69.0 %", "62.1 to 75.2 %", "138 of 200") == (
        wording.share(proportion),
        wording.interval(proportion),
        wording.count_of(proportion),
    )
    assert ("—", "", "— of —") == (wording.share(None), wording.interval(None), wording.count_of(None))
