"""A report as Markdown tables, for a pull request or a CI log. It never holds a judged text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from llama_guard_core.evaluation.report import readings
from llama_guard_core.evaluation.report.wording import (
    UNKNOWN,
    count_of,
    decimal,
    interval,
    number,
    p_value,
    percent,
    points,
    score,
    share,
    verdict,
)

Row = Sequence[str]

_ACTIVE = re.compile(r"[\\`*_{}\[\]()#!|~$]")
_SAMPLES = ("Rows", "Judged", "Flag rate", "Recall", "False-positive rate")
_ROWS = {
    "total": "all",
    "judged": "judged",
    "unreadable": "unreadable answer",
    "unavailable": "no answer",
    "not_judgeable": "not judgeable",
    "labelled_unsafe": "labelled unsafe",
    "labelled_safe": "labelled safe",
    "unlabelled": "without a label",
    "outside": "outside the taxonomy",
}


def as_markdown(report: Mapping[str, Any]) -> str:
    """The report as Markdown, with the figures that `as_html` shows; plots are left to that.

    Names and ids are escaped, so that nothing in them breaks a table or becomes markup. Ids stand in it as the data
    set has them: a data set whose ids are texts is one to give other ids.

    Args:
        report: `{"evaluations": [...], "comparisons": [...], "published": [...]}` as JSON has it; each may be missing.

    Raises:
        ConfigurationError: for what is no report.
    """
    parts = readings.readable(report)
    evaluations = parts["evaluations"]
    names = readings.short_names(evaluations)
    blocks = ["# Llama Guard evaluation"]
    if len(evaluations) > 1:
        blocks += _side_by_side(evaluations, names)
    for evaluation, name in zip(evaluations, names, strict=True):
        blocks += [f"## {_escaped(name)}", _escaped(readings.whose(evaluation)), *_evaluation(evaluation)]
    if parts["comparisons"]:
        blocks += ["## Compared", *(block for pair in parts["comparisons"] for block in _comparison(pair))]
    if parts["published"]:
        blocks += ["## Published figures", readings.PUBLISHED, _published(parts["published"])]
    return "\n\n".join([*blocks, "## How to read this", *readings.LIMITS]) + "\n"


def _side_by_side(evaluations: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Iterator[str]:
    tops = [readings.headlines(each) for each in evaluations]
    rows = [[_escaped(name), *map(_valued, top)] for name, top in zip(names, tops, strict=True)]
    yield _table(["Evaluation", *(each.label for each in tops[0])], rows)


def _evaluation(it: Mapping[str, Any]) -> Iterator[str]:
    warning = readings.warning(it)
    if warning:
        yield f"> **⚠ Not everything was judged.** {_escaped(warning)}"
    yield _table(
        ("Figure", "Value", "Counted"), [(top.label, _valued(top), top.meaning) for top in readings.headlines(it)]
    )
    caveats = readings.caveats(it)
    if caveats:
        yield "What these figures do not say:"
        yield "\n".join(f"- {_escaped(caveat)}" for caveat in caveats)
    yield "### Verdicts against labels"
    yield _confusion(it.get("confusion") or {})
    yield _further(it)
    yield _table(("Rows", ""), [(word, number((it.get("rows") or {}).get(key))) for key, word in _ROWS.items()])
    yield from _hazards(it)
    yield from _thresholds(it.get("thresholds") or {})
    yield "### Time and cost"
    yield _table(("Figure", "Value"), readings.time_and_cost(it))
    yield from _slices(it.get("slices") or {})
    yield from _disagreements(it)


def _confusion(matrix: Mapping[str, Any]) -> str:
    cells = {name: number(matrix.get(name)) for name in readings.CONFUSION}
    return _table(
        ("", "said unsafe", "said safe"),
        [
            ("labelled unsafe", cells["true_positive"], cells["false_negative"]),
            ("labelled safe", cells["false_positive"], cells["true_negative"]),
        ],
    )


def _further(it: Mapping[str, Any]) -> str:
    rows = [(label, _estimated(estimate), count_of(estimate)) for label, estimate in readings.further(it)]
    return _table(("Figure", "Value", "Counted"), rows)


def _hazards(it: Mapping[str, Any]) -> Iterator[str]:
    hazards, macro = it.get("hazards") or (), it.get("macro") or {}
    if not hazards:
        return
    rows = [
        [
            _escaped(readings.hazard_name(each)),
            number(each.get("rows")),
            *(_estimated(each.get(name)) for name in ("recall", "named", "precision", "false_positive_rate")),
            percent(each.get("f1")),
        ]
        for each in hazards
    ]
    means = [percent(macro.get(name)) for name in ("recall", "named", "precision")]
    rows.append(
        [f"mean of {number(macro.get('hazards'))}, each counted alike", "", *means, "", percent(macro.get("f1"))]
    )
    yield "### By hazard"
    yield _table(("Hazard", "Rows", "Recall", "Named", "Precision", "False-positive rate", "F1"), rows)


def _thresholds(it: Mapping[str, Any]) -> Iterator[str]:
    if not it:
        return
    yield "### Thresholds"
    yield (
        f"Area under the ROC curve {score(it.get('roc_auc'))}, average precision {score(it.get('average_precision'))}, "
        f"from {number(it.get('scored'))} rows with a score. {readings.THRESHOLDS}"
    )
    figures = ("recall", "false_positive_rate", "precision", "f1")
    rows = [
        [score(each.get("threshold")), *(percent(each.get(name)) for name in figures)]
        for each in it.get("by_threshold") or ()
    ]
    if rows:
        yield _table(("Threshold", "Recall", "False-positive rate", "Precision", "F1"), rows)


def _slices(slices: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    if slices:
        yield "### Slices"
    for name, values in slices.items():
        rows = [
            [
                _escaped(each.get("value")),
                number(each.get("rows")),
                number(each.get("judged")),
                *(_estimated(each.get(figure)) for figure in ("flag_rate", "recall", "false_positive_rate")),
            ]
            for each in values or ()
        ]
        yield _table((_escaped(name), *_SAMPLES), rows)


def _disagreements(it: Mapping[str, Any]) -> Iterator[str]:
    shown = it.get("disagreements") or ()
    if not shown:
        return
    yield "### Worst disagreements"
    yield readings.about_disagreements(it)
    rows = [
        (
            _escaped(each.get("id")),
            _escaped(each.get("stage") or UNKNOWN),
            verdict(each.get("unsafe")),
            verdict(each.get("said_unsafe")),
            _escaped(", ".join(map(str, each.get("categories") or ())) or UNKNOWN),
            _escaped(", ".join(map(str, each.get("accepted") or ())) or UNKNOWN),
            score(each.get("score")),
        )
        for each in shown
    ]
    yield _table(("Row", "Stage", "Label", "Verdict", "Named", "Accepted", "Score"), rows)


def _comparison(pair: Mapping[str, Any]) -> Iterator[str]:
    first, second = (readings.whose(pair.get(name) or {}) for name in ("first", "second"))
    yield f"### {_escaped(first)} against {_escaped(second)}"
    yield readings.compared(pair)
    yield _table(
        (_escaped(pair.get("on")), "second right", "second wrong"),
        [
            ("first right", number(pair.get("both_right")), number(pair.get("first_only_right"))),
            ("first wrong", number(pair.get("second_only_right")), number(pair.get("both_wrong"))),
        ],
    )
    yield _table(
        ("Figure", "Value"),
        [
            ("Rows", number(pair.get("rows"))),
            (f"p ({_escaped(pair.get('test') or 'McNemar')})", p_value(pair.get("p_value"))),
            ("Recall, second less first", points(pair.get("recall_difference"))),
            ("False-positive rate, second less first", points(pair.get("false_positive_rate_difference"))),
            ("Same verdict, all rows judged in both", _estimated(pair.get("agreement"))),
            ("Cohen's kappa", decimal(pair.get("kappa"))),
        ],
    )


def _published(rows: Sequence[Mapping[str, Any]]) -> str:
    return _table(
        ("Model", "What", "Recall", "False-positive rate", "Precision", "F1", "Conditions", "Source"),
        [
            [
                *(_escaped(each.get(name)) for name in ("model", "what")),
                *(percent(each.get(name)) for name in ("recall", "false_positive_rate", "precision", "f1")),
                *(_escaped(each.get(name)) for name in ("conditions", "source")),
            ]
            for each in rows
        ],
    )


def _valued(top: readings.Headline) -> str:
    value = f"⚠ {top.value}" if top.incomplete else top.value
    return f"{value} ({top.interval})" if top.interval else value


def _estimated(estimate: Any) -> str:
    ends = interval(estimate)
    return f"{share(estimate)} ({ends})" if ends else share(estimate)


def _table(heading: Row, rows: Iterable[Row]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _escaped(text: Any) -> str:
    """A text from outside, as text: no table ends in it, nothing in it becomes markup or HTML."""
    plain = str(text if text is not None else UNKNOWN).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _ACTIVE.sub(lambda found: f"\\{found[0]}", plain)
