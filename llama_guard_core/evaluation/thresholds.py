"""What other thresholds on the score would have given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llama_guard_core.evaluation.judged_rows import JudgedRows
from llama_guard_core.evaluation.libraries import library

if TYPE_CHECKING:
    import numpy.typing as npt

MOST_POINTS = 200
"""Points of a curve; a longer one is thinned evenly, its ends kept."""

_THRESHOLDS = tuple(tenth / 10 for tenth in range(1, 10))


@dataclass(frozen=True, slots=True)
class RocCurve:
    """Recall against the false-positive rate, from the highest threshold to the lowest.

    Attributes:
        threshold: rows that score this or more are flagged; `None` at the first point, where nothing is.
        false_positive_rate: of the safe rows, the share that is flagged.
        recall: of the unsafe rows, the share that is flagged.
    """

    threshold: tuple[float | None, ...]
    false_positive_rate: tuple[float, ...]
    recall: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class PrecisionRecallCurve:
    """Precision against recall, from the lowest threshold to the highest.

    Attributes:
        threshold: rows that score this or more are flagged; `None` at the last point, where nothing is.
        precision: of the flagged rows, the share that is unsafe; 1 by convention at the last point.
        recall: of the unsafe rows, the share that is flagged.
    """

    threshold: tuple[float | None, ...]
    precision: tuple[float, ...]
    recall: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class AtThreshold:
    """The figures if rows that score `threshold` or more were flagged; no precision where none would be."""

    threshold: float
    recall: float
    false_positive_rate: float
    precision: float | None
    f1: float


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The figures over all thresholds.

    A threshold that looks best here was chosen on these rows and will do worse on others.

    Attributes:
        scored: judged rows with a label and a score. Others have no part in this.
        roc_auc: the chance that an unsafe row scores higher than a safe one.
        average_precision: the precision over all recalls. It depends on the share of unsafe rows.
        roc: the curve of recall and false-positive rate.
        precision_recall: the curve of precision and recall.
        by_threshold: the figures at 0.1, 0.2, … 0.9.
    """

    scored: int
    roc_auc: float
    average_precision: float
    roc: RocCurve
    precision_recall: PrecisionRecallCurve
    by_threshold: tuple[AtThreshold, ...]


def thresholds_of(rows: JudgedRows) -> Thresholds | None:
    """The sweep, by scikit-learn; `None` where the scored rows do not have both labels.

    Args:
        rows: the joined rows.
    """
    np, metrics = library("numpy"), library("sklearn.metrics")
    has_score = ~np.isnan(rows.scores) & (rows.unsafe | rows.safe)
    unsafe, scores = rows.unsafe[has_score], rows.scores[has_score]
    if not unsafe.any() or unsafe.all():
        return None
    return Thresholds(
        scored=len(scores),
        roc_auc=float(metrics.roc_auc_score(unsafe, scores)),
        average_precision=float(metrics.average_precision_score(unsafe, scores)),
        roc=_roc(unsafe, scores),
        precision_recall=_precision_recall(unsafe, scores),
        by_threshold=tuple(_at(threshold, unsafe, scores) for threshold in _THRESHOLDS),
    )


def _roc(unsafe: npt.NDArray[Any], scores: npt.NDArray[Any]) -> RocCurve:
    false_positive_rate, recall, thresholds = library("sklearn.metrics").roc_curve(
        unsafe, scores, drop_intermediate=True
    )
    kept = _evenly(len(recall))
    threshold = (None, *thresholds[1:].tolist())
    return RocCurve(
        tuple(threshold[n] for n in kept), tuple(false_positive_rate[kept].tolist()), tuple(recall[kept].tolist())
    )


def _precision_recall(unsafe: npt.NDArray[Any], scores: npt.NDArray[Any]) -> PrecisionRecallCurve:
    precision, recall, thresholds = library("sklearn.metrics").precision_recall_curve(
        unsafe, scores, drop_intermediate=True
    )
    kept = _evenly(len(recall))
    threshold = (*thresholds.tolist(), None)
    return PrecisionRecallCurve(
        tuple(threshold[n] for n in kept), tuple(precision[kept].tolist()), tuple(recall[kept].tolist())
    )


def _evenly(points: int) -> list[int]:
    """The places that are kept of a curve of so many points, the first and the last among them."""
    most = min(points, MOST_POINTS)
    return [n * (points - 1) // (most - 1) for n in range(most)]


def _at(threshold: float, unsafe: npt.NDArray[Any], scores: npt.NDArray[Any]) -> AtThreshold:
    metrics = library("sklearn.metrics")
    flagged = scores >= threshold
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        unsafe, flagged, average="binary", zero_division=0.0
    )
    (true_negative, false_positive), _ = metrics.confusion_matrix(unsafe, flagged, labels=[False, True]).tolist()
    return AtThreshold(
        threshold=threshold,
        recall=float(recall),
        false_positive_rate=false_positive / (false_positive + true_negative),
        precision=float(precision) if flagged.any() else None,
        f1=float(f1),
    )
