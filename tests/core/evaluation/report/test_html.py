"""What stands in an HTML report, and what never does."""

from __future__ import annotations

import copy
import html
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from core.evaluation.report import sample_reports as sample

from llama_guard_core.errors import ConfigurationError
from llama_guard_core.evaluation.report import as_html, as_markdown

ROOT = Path(__file__).parents[4]
EVERY_KIND = {
    "full": sample.report,
    "hostile": sample.hostile,
    "nothing known": lambda: {"evaluations": [sample.nothing_known(), sample.nothing_known()]},
    "empty": dict,
}


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_the_same_report_gives_the_same_bytes_and_is_left_as_it_was(kind):
    report = EVERY_KIND[kind]()
    before = copy.deepcopy(report)

    first, again = as_html(report), as_html(json.loads(json.dumps(report)))

    assert first.encode() == again.encode()
    assert before == report


def test_another_process_with_other_settings_gives_the_same_bytes():
    program = (
        "import matplotlib, sys; matplotlib.rcParams.update({'font.size': 30, 'axes.facecolor': 'red'});"
        "sys.path.insert(0, 'tests'); from core.evaluation.report import sample_reports as sample;"
        "from llama_guard_core.evaluation.report import as_html; sys.stdout.buffer.write(as_html(sample.report()).encode())"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True)

    assert as_html(sample.report()).encode() == done.stdout


def test_a_judged_text_stands_in_the_file_only_if_it_was_given():
    with_texts = as_html(sample.report(), texts={"xstest_prompts.csv:17": "KNIFE <b>"})
    without = as_html(sample.report())

    assert "KNIFE &lt;b&gt;" in with_texts
    assert "may be harmful" in with_texts
    assert "may be harmful" not in without
    assert "<pre" not in without


def test_a_plot_has_the_colours_and_letters_of_the_page_alone():
    drawings = re.findall(r"<svg.*?</svg>", as_html(sample.report()), re.DOTALL)

    assert 7 == len(drawings)
    for drawing in drawings:
        assert [] == re.findall(r"#[0-9a-f]{6}\b", drawing)
        assert "font-family" not in drawing
        assert "DejaVu" not in drawing
        assert "<metadata" not in drawing
        assert "<style" not in drawing


@pytest.mark.parametrize(
    "said",
    [
        "Rows without a verdict: 7 of 462 (4 timeout, 1 rate limited, 2 unreadable)",
        "Rows without a label: 8.",
        "Rows labelled unsafe for something outside",
        "441 of 455 judged rows",
        "neither pass nor fail",
        "output filtering, mean of S1 to S13, private test set",
        "On 46 of 440 rows just one of the two was right",
    ],
)
def test_what_the_figures_do_not_say_is_said(said):
    assert said in html.unescape(as_html(sample.report()))
    assert said in as_markdown(sample.report()).replace("\\", "")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"thresholds": None}, "There are no curves"),
        ({"latency": None}, "No latency was measured"),
        ({"remarks": ["Rows of one language."]}, "Rows of one language."),
        ({"hazards": []}, "does not say which hazard"),
        ({"hazards": [{**sample.hazard(0, 40), "labelled": False}]}, "S1 Violent Crimes*"),
    ],
)
def test_what_is_missing_is_said(changes, said):
    report = {"evaluations": [sample.evaluation(**changes)]}

    assert said in as_html(report)
    assert said in as_markdown(report).replace("\\", "")
    assert said not in as_html({"evaluations": [sample.evaluation()]})


def test_where_all_was_judged_nothing_warns():
    rows = {**sample.evaluation()["rows"], "judged": 462}
    document = as_html({"evaluations": [sample.evaluation(rows=rows)]})

    assert "Not everything was judged" not in document
    assert "⚠" not in document
    assert "100.0 %" in document


def test_where_nothing_is_known_a_dash_stands_and_no_plot():
    document = as_html({"evaluations": [sample.nothing_known()]})

    assert 'class="value">—<' in document
    assert "<svg" not in document
    assert "None" not in document
    assert "nan" not in document


def test_a_figure_that_is_no_number_is_not_known():
    f1 = {"value": float("nan"), "low": float("-inf"), "high": float("inf")}
    document = as_html({"evaluations": [sample.evaluation(f1=f1, recall={"value": "<b>", "of": 3, "count": 1})]})

    assert 2 == document.count('class="value">—<')


def test_evaluations_of_the_same_name_are_told_apart():
    one = sample.evaluation()
    document = as_html({"evaluations": [one, {**one, "host": "vllm"}, {**one, "host": "vllm"}]})

    for name in ("xstest · openrouter", "xstest · vllm (2)", "xstest · vllm (3)"):
        assert f"<bdi>{name}</bdi></h2>" in document


@pytest.mark.parametrize("wrong", [[], "report", {"evaluations": {}}, {"evaluations": ["text"]}, {"comparisons": 3}])
@pytest.mark.parametrize("render", [as_html, as_markdown])
def test_what_is_no_report_is_refused(wrong, render):
    with pytest.raises(ConfigurationError, match="no report"):
        render(wrong or [1])


@pytest.mark.parametrize("library", ["jinja2", "matplotlib"])
def test_without_its_libraries_it_says_how_to_install_them(library, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)

    with pytest.raises(ConfigurationError, match=re.escape('pip install "llama-guardrails[evaluation]"')):
        as_html(sample.report())
    assert as_markdown(sample.report())
