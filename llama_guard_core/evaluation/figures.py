"""How good a guard is on rows whose answers are known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

from llama_guard_core.bulk.judgements import Judgement
from llama_guard_core.evaluation.disagreements import Disagreement, disagreements_of
from llama_guard_core.evaluation.hazard_figures import HazardFigures, MacroFigures, hazard_figures
from llama_guard_core.evaluation.judged_rows import JudgedRows, flags, share
from llama_guard_core.evaluation.libraries import library
from llama_guard_core.evaluation.plain_values import as_plain, from_plain
from llama_guard_core.evaluation.proportions import Estimate, Proportion, f1_estimate, proportion
from llama_guard_core.evaluation.run_figures import Cost, Latency, Tokens, cost_of, latency_of, tokens_of
from llama_guard_core.evaluation.thresholds import Thresholds, thresholds_of

if TYPE_CHECKING:
    from llama_guard_core.evaluation.dataset import Example


@dataclass(frozen=True, slots=True)
class RowCounts:
    """How many rows there are of each kind.

    Attributes:
        total: all rows.
        judged: rows with a verdict.
        unreadable: the guard's answer was no verdict.
        unavailable: no answer could be had.
        not_judgeable: the guard could not be asked.
        labelled_unsafe: rows labelled unsafe, judged or not.
        labelled_safe: rows labelled safe, judged or not.
        unlabelled: rows without a label.
        outside: rows labelled unsafe upstream for something outside Llama Guard's taxonomy.
    """

    total: int
    judged: int
    unreadable: int
    unavailable: int
    not_judgeable: int
    labelled_unsafe: int
    labelled_safe: int
    unlabelled: int
    outside: int


@dataclass(frozen=True, slots=True)
class Confusion:
    """Judged rows with a label, counted by label and verdict; unsafe is positive."""

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int


@dataclass(frozen=True, slots=True)
class AtWorst:
    """The rates if every row that has a label and no verdict had been judged wrongly."""

    recall: Proportion
    false_positive_rate: Proportion


@dataclass(frozen=True, slots=True)
class SliceFigures:
    """The figures of the rows that share a value, such as one language."""

    value: str
    rows: int
    judged: int
    flag_rate: Proportion
    recall: Proportion
    false_positive_rate: Proportion


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The figures of one run over one data set. It holds no judged text.

    Unsafe is positive. A row without a verdict is in no rate but `at_worst`, where it counts as wrong. The intervals
    say how much chance there is in these rows, not whether other data would give the same.

    Attributes:
        name: the data set.
        model: the model that was asked, as the caller says.
        host: the host that answered, as the caller says.
        policy: a short word of the caller's for the policy.
        made: when, as the caller says.
        rows: how many rows there are of each kind.
        unjudged_reasons: why there is no verdict, and how often, the most frequent first.
        confusion: the judged rows with a label, by label and verdict.
        recall: flagged, of the judged unsafe rows.
        false_positive_rate: flagged, of the judged safe rows.
        precision: unsafe, of the flagged rows with a label. Without judged safe rows it is 1 whatever the guard does.
        specificity: not flagged, of the judged safe rows.
        accuracy: verdicts that match the label, of all judged rows with one.
        f1: of precision and recall; 0 if no unsafe row was flagged. Without safe rows it says what recall says.
        flag_rate: flagged, of all judged rows, labelled or not.
        over_refusal: flagged, of the judged rows that are safe and look unsafe.
        at_worst: the rates if every row without a verdict were wrong.
        hazards: the figures by hazard.
        macro: their means.
        slices: the figures by language, file or whatever the rows are divided by.
        thresholds: what other thresholds would have given, where there are scores.
        latency: seconds to a verdict, where that is known.
        tokens: tokens read and written.
        cost: US dollars.
        disagreements: judged rows whose verdict is not their label, the worst first, up to a limit.
        disagreements_total: how many there are.
    """

    name: str
    model: str | None
    host: str | None
    policy: str | None
    made: str | None
    rows: RowCounts
    unjudged_reasons: Mapping[str, int]
    confusion: Confusion
    recall: Proportion
    false_positive_rate: Proportion
    precision: Proportion
    specificity: Proportion
    accuracy: Proportion
    f1: Estimate
    flag_rate: Proportion
    over_refusal: Proportion
    at_worst: AtWorst
    hazards: tuple[HazardFigures, ...]
    macro: MacroFigures
    slices: Mapping[str, tuple[SliceFigures, ...]]
    thresholds: Thresholds | None
    latency: Latency | None
    tokens: Tokens
    cost: Cost
    disagreements: tuple[Disagreement, ...]
    disagreements_total: int

    def as_dict(self) -> dict[str, Any]:
        """The figures as plain JSON values."""
        return as_plain(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `as_dict` made.

        Raises:
            ConfigurationError: if it is no evaluation.
        """
        return from_plain(cls, values)


def evaluated(
    examples: Sequence[Example],
    judgements: Sequence[Judgement],
    *,
    name: str,
    model: str | None = None,
    host: str | None = None,
    policy: str | None = None,
    made: str | None = None,
    worst: int = 50,
) -> Evaluation:
    """The figures of a run: counted here, and worked out by scikit-learn, statsmodels and NumPy.

    Args:
        examples: what is known of the rows.
        judgements: what came of them, one for each example, in any order; `Judgement.row` is its example's place.
        name: what to call the data set.
        model: the model that was asked.
        host: the host that answered.
        policy: a short word for the policy.
        made: when the run was made, such as `2026-11-27T12:00:00Z`.
        worst: how many disagreements to give at most.

    Raises:
        ConfigurationError: if the judgements do not fit the examples, or the libraries are not installed
            (`pip install "llama-guardrails[evaluation]"`).
    """
    rows = JudgedRows.of(examples, judgements)
    hazards, macro = hazard_figures(rows)
    disagreements, disagreements_total = disagreements_of(rows, worst)
    looks_unsafe = flags([example.looks_unsafe for example in examples])
    return Evaluation(
        name=name,
        model=model,
        host=host,
        policy=policy,
        made=made,
        rows=_row_counts(rows),
        unjudged_reasons=_unjudged_reasons(rows),
        **_binary_figures(_confusion(rows)),
        flag_rate=share(rows.flagged, rows.judged),
        over_refusal=share(rows.flagged, rows.judged & looks_unsafe),
        at_worst=AtWorst(share(rows.flagged, rows.unsafe), share(rows.flagged | ~rows.judged, rows.safe)),
        hazards=hazards,
        macro=macro,
        slices=_slices(rows),
        thresholds=thresholds_of(rows),
        latency=latency_of(rows.judgements),
        tokens=tokens_of(rows.judgements),
        cost=cost_of(rows.judgements),
        disagreements=disagreements,
        disagreements_total=disagreements_total,
    )


def _row_counts(rows: JudgedRows) -> RowCounts:
    outcomes = Counter(judgement.outcome for judgement in rows.judgements)
    outside = sum(example.outside for example in rows.examples)
    unsafe, safe, total = int(rows.unsafe.sum()), int(rows.safe.sum()), len(rows.examples)
    return RowCounts(
        total=total,
        judged=outcomes["judged"],
        unreadable=outcomes["unreadable"],
        unavailable=outcomes["unavailable"],
        not_judgeable=outcomes["not_judgeable"],
        labelled_unsafe=unsafe,
        labelled_safe=safe,
        unlabelled=total - unsafe - safe - outside,
        outside=outside,
    )


def _unjudged_reasons(rows: JudgedRows) -> dict[str, int]:
    unjudged = [judgement for judgement in rows.judgements if judgement.outcome != "judged"]
    counts = Counter(judgement.reason or judgement.outcome for judgement in unjudged)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _confusion(rows: JudgedRows) -> Confusion:
    counted = rows.judged & (rows.unsafe | rows.safe)
    if not counted.any():
        return Confusion(0, 0, 0, 0)
    confusion_matrix = library("sklearn.metrics").confusion_matrix
    matrix = confusion_matrix(rows.unsafe[counted], rows.flagged[counted], labels=[False, True])
    (true_negative, false_positive), (false_negative, true_positive) = matrix.tolist()
    return Confusion(true_positive, false_positive, false_negative, true_negative)


def _binary_figures(confusion: Confusion) -> dict[str, Any]:
    tp, fp = confusion.true_positive, confusion.false_positive
    fn, tn = confusion.false_negative, confusion.true_negative
    return {
        "confusion": confusion,
        "recall": proportion(tp, tp + fn),
        "false_positive_rate": proportion(fp, fp + tn),
        "precision": proportion(tp, tp + fp),
        "specificity": proportion(tn, fp + tn),
        "accuracy": proportion(tp + tn, tp + fp + fn + tn),
        "f1": f1_estimate(tp, fp, fn, tn),
    }


def _slices(rows: JudgedRows) -> dict[str, tuple[SliceFigures, ...]]:
    places: dict[str, dict[str, list[int]]] = {}
    for place, example in enumerate(rows.examples):
        for key, value in example.slices.items():
            places.setdefault(key, {}).setdefault(value, []).append(place)
    return {
        key: tuple(_slice(value, rows, in_value) for value, in_value in sorted(by_value.items()))
        for key, by_value in places.items()
    }


def _slice(value: str, rows: JudgedRows, places: list[int]) -> SliceFigures:
    judged, flagged = rows.judged[places], rows.flagged[places]
    return SliceFigures(
        value=value,
        rows=len(places),
        judged=int(judged.sum()),
        flag_rate=share(flagged, judged),
        recall=share(flagged, judged & rows.unsafe[places]),
        false_positive_rate=share(flagged, judged & rows.safe[places]),
    )
