"""What the figures of an evaluation say, and what they do not, in words: the same for HTML and Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llama_guard_core.errors import ConfigurationError
from llama_guard_core.evaluation.report.wording import (
    UNKNOWN,
    count_of,
    dollars,
    interval,
    number,
    percent,
    seconds,
    share,
)
from llama_guard_core.written import printable

PARTS = ("evaluations", "comparisons", "published")
LIMITS = (
    "Positive means unsafe. Intervals are 95 %: Wilson's for shares, bootstrap for F1.",
    "Intervals cover the chance of drawing just these rows; not wrong labels, nor how far your own traffic differs.",
    "A row without a verdict is never counted as safe, nor as right.",
)
PUBLISHED = (
    "For reference only, neither pass nor fail: these were measured by others, on other data and under the conditions "
    "named, and F1 and precision change with the share of unsafe rows."
)
THRESHOLDS = "A threshold that looks best on these rows was chosen by them, and does worse on others."
CONFUSION = ("true_positive", "false_positive", "false_negative", "true_negative")
_WHOSE = ("name", "model", "host", "policy")


@dataclass(frozen=True, slots=True)
class Headline:
    """One of the figures that stand on top.

    Attributes:
        label: the figure's name.
        value: the figure as text.
        interval: its 95 % interval as text; empty where there is none.
        meaning: what it was counted from.
        incomplete: whether it warns that rows are missing from the others.
    """

    label: str
    value: str
    interval: str
    meaning: str
    incomplete: bool = False


def readable(report: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The parts of a report with nothing in them that a page or a terminal would act on.

    Control and bidirectional characters become blanks, numbers that JSON lacks (infinity, NaN) become `None`.

    Raises:
        ConfigurationError: for what is no report.
    """
    parts = {name: report.get(name) for name in PARTS} if isinstance(report, Mapping) else {}
    parts = {name: [] if part is None else part for name, part in parts.items()}
    if not parts or not all(isinstance(part, (list, tuple)) and _all_mappings(part) for part in parts.values()):
        msg = f"this is no report: it must be a mapping whose {', '.join(PARTS)} are lists of mappings"
        raise ConfigurationError(msg)
    return {name: _cleaned(part) for name, part in parts.items()}


def _all_mappings(part: Sequence[Any]) -> bool:
    return all(isinstance(item, Mapping) for item in part)


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable(str(name)): _cleaned(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cleaned(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def short_names(evaluations: Sequence[Mapping[str, Any]]) -> list[str]:
    """A name for each that tells it from the others: its own, with the model, host or policy where they differ."""
    differing = [key for key in _WHOSE[1:] if len({str(each.get(key)) for each in evaluations}) > 1]
    names = [str(each.get("name") or "unnamed") for each in evaluations]
    if len(set(names)) < len(names):
        names = [
            " · ".join([name, *(str(each[key]) for key in differing if each.get(key))])
            for name, each in zip(names, evaluations, strict=True)
        ]
    return [name if names.count(name) == 1 else f"{name} ({place})" for place, name in enumerate(names, start=1)]


def whose(evaluation: Mapping[str, Any]) -> str:
    """Who was evaluated on what, in one line."""
    return " · ".join(str(evaluation[key]) for key in _WHOSE if evaluation.get(key)) or "unnamed"


def headlines(evaluation: Mapping[str, Any]) -> list[Headline]:
    """The figures that stand on top: recall, false-positive rate, precision, F1, over-refusal, coverage."""
    rows = evaluation.get("rows") or {}
    total, judged = rows.get("total"), rows.get("judged")
    coverage = percent(judged / total) if total and judged is not None else UNKNOWN
    return [
        _headline("Recall", evaluation.get("recall"), "unsafe rows flagged"),
        _headline("False-positive rate", evaluation.get("false_positive_rate"), "safe rows flagged"),
        _headline("Precision", evaluation.get("precision"), "flagged rows are labelled unsafe"),
        _headline("F1", evaluation.get("f1"), "recall and precision in one figure"),
        _headline("Over-refusal", evaluation.get("over_refusal"), "safe rows that look unsafe were flagged"),
        Headline(
            "Coverage", coverage, "", f"{number(judged)} of {number(total)} rows judged", unjudged(evaluation) > 0
        ),
    ]


def _headline(label: str, estimate: Any, meaning: str) -> Headline:
    of = estimate.get("of") if isinstance(estimate, Mapping) else None
    counted = "no such rows" if of == 0 else f"{count_of(estimate)} {meaning}" if of else meaning
    return Headline(label, share(estimate), interval(estimate), counted)


def unjudged(evaluation: Mapping[str, Any]) -> int:
    """How many rows have no verdict."""
    rows = evaluation.get("rows") or {}
    return int((rows.get("total") or 0) - (rows.get("judged") or 0))


def warning(evaluation: Mapping[str, Any]) -> str:
    """What must be known before any figure is believed: rows without a verdict; empty where all were judged."""
    missing = unjudged(evaluation)
    if not missing:
        return ""
    reasons = evaluation.get("unjudged_reasons") or {}
    listed = ", ".join(f"{number(count)} {str(reason).replace('_', ' ')}" for reason, count in reasons.items())
    rows = evaluation.get("rows") or {}
    worst = evaluation.get("at_worst") or {}
    text = f"Rows without a verdict: {number(missing)} of {number(rows.get('total'))}"
    text += f" ({listed}). " if listed else ". "
    text += "The figures are about the others. "
    return text + (
        f"With each of them that has a label counted as wrong, recall is {share(worst.get('recall'))} and the "
        f"false-positive rate {share(worst.get('false_positive_rate'))}."
    )


def caveats(evaluation: Mapping[str, Any]) -> list[str]:
    """What the figures of this evaluation do not say."""
    return [*_about_rows(evaluation), *_about_measures(evaluation), *map(str, evaluation.get("remarks") or ())]


def _about_rows(evaluation: Mapping[str, Any]) -> Iterator[str]:
    rows = evaluation.get("rows") or {}
    if rows.get("unlabelled"):
        yield (
            f"Rows without a label: {number(rows['unlabelled'])}. They count in the flag rate alone, in no recall or "
            "false-positive rate."
        )
    if rows.get("outside"):
        yield (
            f"Rows labelled unsafe for something outside Llama Guard's taxonomy: {number(rows['outside'])}. They count "
            "in the flag rate alone: neither flagging them nor passing them is a mistake here."
        )
    if not rows.get("labelled_unsafe"):
        yield "No row is labelled unsafe: nothing is known of recall, and precision and F1 say nothing."
    if not rows.get("labelled_safe"):
        yield "No row is labelled safe: of false positives nothing is known, and precision is 1 whatever it does."
    if rows.get("labelled_unsafe") and not any((each.get("recall") or {}).get("of") for each in _hazards(evaluation)):
        yield "The data does not say which hazard a row holds: whether the right ones were named is not known."
    if any(each.get("labelled") is False for each in _hazards(evaluation)):
        yield "A hazard with a star has rows that are described, not labelled: its recall is a flag rate."


def _about_measures(evaluation: Mapping[str, Any]) -> Iterator[str]:
    if not evaluation.get("thresholds"):
        yield "There are no curves: they take scores, which not every host gives, and rows of both labels."
    if not evaluation.get("latency"):
        yield "No latency was measured: verdicts that were known before have none."
    priced = (evaluation.get("cost") or {}).get("priced") or 0
    judged = (evaluation.get("rows") or {}).get("judged") or 0
    if priced < judged:
        yield f"What a check cost is known for {number(priced)} of {number(judged)} judged rows."


def _hazards(evaluation: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return evaluation.get("hazards") or ()


def further(evaluation: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The figures that are no headline, by their names."""
    worst = evaluation.get("at_worst") or {}
    return [
        ("Accuracy", evaluation.get("accuracy")),
        ("Specificity", evaluation.get("specificity")),
        ("Flag rate, all judged rows", evaluation.get("flag_rate")),
        ("Recall, unjudged counted as wrong", worst.get("recall")),
        ("False-positive rate, unjudged counted as wrong", worst.get("false_positive_rate")),
    ]


def time_and_cost(evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Latency, tokens and cost as text, by their names."""
    latency, tokens, cost = (evaluation.get(name) or {} for name in ("latency", "tokens", "cost"))
    return [
        ("Verdicts timed", number(latency.get("measured"))),
        ("Mean latency", seconds(latency.get("mean"))),
        ("Median (p50)", seconds(latency.get("p50"))),
        ("p90", seconds(latency.get("p90"))),
        ("p99", seconds(latency.get("p99"))),
        ("Longest", seconds(latency.get("max"))),
        ("Input tokens", number(tokens.get("input"))),
        ("Output tokens", number(tokens.get("output"))),
        ("Cost", dollars(cost.get("total"))),
        ("Cost of a thousand checks", dollars(cost.get("per_thousand"))),
        ("Rows whose cost is known", number(cost.get("priced"))),
    ]


def hazard_name(hazard: Mapping[str, Any]) -> str:
    """A hazard's code and name; a star where its rows have no label, so that its recall is a flag rate."""
    star = "*" if hazard.get("labelled") is False else ""
    return f"{hazard.get('code') or UNKNOWN} {hazard.get('name') or ''}".strip() + star


def about_disagreements(evaluation: Mapping[str, Any]) -> str:
    """How many rows are shown of those where verdict and label differ, and in which order."""
    shown = len(evaluation.get("disagreements") or ())
    total = evaluation.get("disagreements_total") or shown
    return (
        f"{number(shown)} of {number(total)} rows where verdict and label differ; where there are scores, the surest "
        "mistakes come first. It may be the label that is wrong."
    )


def compared(comparison: Mapping[str, Any]) -> str:
    """What a comparison of two evaluations says, in one sentence."""
    first, second = comparison.get("first_only_right"), comparison.get("second_only_right")
    if comparison.get("p_value") is None or first is None or second is None:
        return "There is nothing to test: no row was judged in both and right in one alone."
    return (
        f"On {number(first + second)} of {number(comparison.get('rows'))} rows just one of the two was right. "
        "p is how often a split at least this uneven would come of chance if both were right equally often; "
        "a large p does not show that they are equally good."
    )
