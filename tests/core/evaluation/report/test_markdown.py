"""What stands in a Markdown report: the figures of the HTML one, and nothing that acts."""

from __future__ import annotations

import html
import json
import re

import pytest
from core.evaluation.report import sample_reports as sample
from hypothesis import given
from hypothesis import strategies as st

from llama_guard_core.evaluation.report import as_html, as_markdown, readings

CELL_END = re.compile(r"(?<!\\)(?:\\\\)*\|")


def tables_of(markdown: str) -> list[list[str]]:
    """The lines of each table."""
    return [block.splitlines() for block in markdown.split("\n\n") if block.startswith("|")]


def test_markdown_and_html_hold_the_same_headline_figures():
    report = sample.report()
    markdown, document = as_markdown(report), html.unescape(as_html(report))

    for evaluation in report["evaluations"]:
        headlines = readings.headlines(evaluation)
        assert ["Recall", "False-positive rate", "Precision", "F1", "Over-refusal", "Coverage"] == [
            top.label for top in headlines
        ]
        for top in headlines:
            shown = f"{top.value} ({top.interval})" if top.interval else top.value
            assert re.search(rf"\| {top.label} \| (⚠ )?{re.escape(shown)} \| {re.escape(top.meaning)} \|", markdown)
            for text in (top.label, top.value, top.interval, top.meaning):
                assert text in document
    for figure in ("70.1 %", "63.3 to 76.0 %", "11.0 %", "83.6 %", "76.2 %", "98.5 %", "74.0 %", "9.6 %"):
        assert figure in markdown
        assert figure in document


@pytest.mark.parametrize("report", [sample.report(), sample.hostile(), {"evaluations": [sample.nothing_known()]}, {}])
def test_every_figure_of_one_stands_in_the_other(report):
    figures = re.compile(r"(?<![\d.,])[+-]?\d[\d,]*\.\d+ (?:%|points|s\b)|\$\d[\d.]*|\d+ ms")
    in_page = re.sub(r"<(?:svg|style).*?</(?:svg|style)>", "", as_html(report), flags=re.DOTALL)
    in_page = re.sub(r"<[^>]*>", " ", in_page)

    assert set(figures.findall(in_page)) == set(figures.findall(as_markdown(report)))


@pytest.mark.parametrize("report", [sample.report(), sample.hostile(), {"evaluations": [sample.nothing_known()]}, {}])
def test_every_line_of_a_table_has_as_many_cells_as_its_heading(report):
    for table in tables_of(as_markdown(report)):
        assert 1 == len({len(CELL_END.findall(line)) for line in table}), table[0]


@given(st.text(max_size=60))
def test_whatever_a_name_holds_stays_in_its_cell_and_is_no_markup(name):
    row = {**sample.disagreement(0), "id": name, "stage": name}
    markdown = as_markdown({"evaluations": [sample.nothing_known() | {"disagreements": [row]}]})

    (table,) = [table for table in tables_of(markdown) if table[0].startswith("| Row | Stage")]
    assert 3 == len(table)
    assert 8 == len(CELL_END.findall(table[2]))
    assert set() == set(re.sub(r"\\.", "", table[2])) & set("<>`*_[]")
    assert table[2].isprintable()


def test_it_takes_no_text_and_echoes_no_more_than_ids():
    row = {**sample.disagreement(0), "text": "BOMB", "conversation": ["KNIFE"]}
    report = sample.report(evaluations=[sample.evaluation(disagreements=[row])])

    markdown = as_markdown(report)

    assert "xstest\\_prompts.csv:17" in markdown
    assert "BOMB" not in markdown
    assert "KNIFE" not in markdown
    assert markdown == as_markdown(json.loads(json.dumps(report)))
