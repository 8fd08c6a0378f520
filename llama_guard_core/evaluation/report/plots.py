"""The plots of a report, each an inline SVG, or empty where there is nothing to draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llama_guard_core.evaluation.report import svg
from llama_guard_core.evaluation.report.wording import number, score, seconds, share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = tuple[list[float], list[float]]

_WIDTH = 400  # CSS pixels, before scaling: small enough that a phone shows the letters at a size to read
_LABELS = 170
_LABEL_LETTERS = 28
_ROW = 30
_MOST_POINTS = 400  # of a curve; more cannot be seen
_PERCENT_TICKS = ([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100 %"])


def hazard_bars(hazards: Sequence[Mapping[str, Any]], key: str) -> str:
    """Recall with its interval and the share that was rightly named, a pair of bars for each hazard."""
    if not hazards:
        return ""

    def draw(figure: Figure) -> None:
        axes = _rows_of_shares(figure, len(hazards))
        for place, hazard in enumerate(hazards):
            recall, named = hazard.get("recall") or {}, hazard.get("named") or {}
            if recall.get("value") is None:
                axes.text(0.01, place, "no labelled rows", va="center", color=svg.MUTED, fontsize=10)
                continue
            axes.barh(place - 0.17, recall["value"], height=0.34, color=svg.FIRST)
            axes.barh(place + 0.19, named.get("value") or 0, height=0.22, color=svg.SECOND)
            _whisker(axes, recall, place - 0.17)
        _legend(axes, [("s", svg.FIRST, "recall (interval: 95 %)"), ("s", svg.SECOND, "rightly named")])

    return svg.drawn(
        draw,
        key=key,
        size=(_WIDTH, _height_of_rows(len(hazards))),
        title="Recall and rightly named share by hazard",
        description="; ".join(
            f"{each.get('code')}: recall {share(each.get('recall'))}, named {share(each.get('named'))}"
            for each in hazards
        ),
        labels=[_shortened(f"{each.get('code')} {each.get('name') or ''}") for each in hazards],
    )


def overview(evaluations: Sequence[Mapping[str, Any]], names: Sequence[str], key: str) -> str:
    """Recall and false-positive rate of several evaluations, with their intervals, below each other."""
    if not evaluations:
        return ""
    kinds = (("recall", "o", svg.FIRST, -0.14), ("false_positive_rate", "D", svg.SECOND, 0.14))

    def draw(figure: Figure) -> None:
        axes = _rows_of_shares(figure, len(evaluations))
        for place, evaluation in enumerate(evaluations):
            for kind, marker, colour, above in kinds:
                rate = evaluation.get(kind) or {}
                if rate.get("value") is not None:
                    _whisker(axes, rate, place + above, colour)
                    axes.plot(rate["value"], place + above, marker, color=colour, markersize=7, clip_on=False)
        _legend(axes, [("o", svg.FIRST, "recall"), ("D", svg.SECOND, "false-positive rate")])

    return svg.drawn(
        draw,
        key=key,
        size=(_WIDTH, _height_of_rows(len(evaluations))),
        title="Recall and false-positive rate, side by side",
        description="; ".join(
            f"{name}: recall {share(each.get('recall'))}, false-positive rate {share(each.get('false_positive_rate'))}"
            for name, each in zip(names, evaluations, strict=True)
        ),
        labels=[_shortened(name) for name in names],
    )


def roc(evaluation: Mapping[str, Any], key: str) -> str:
    """The ROC curve, with the point where the guard's own verdicts stand."""
    thresholds = evaluation.get("thresholds") or {}
    curve = _points(thresholds.get("roc"), "false_positive_rate", "recall")
    if not curve[0]:
        return ""

    def draw(figure: Figure) -> None:
        axes = _square_of_shares(figure, "false-positive rate", "recall")
        axes.plot([0, 1], [0, 1], color=svg.MUTED, linestyle=(0, (3, 3)), linewidth=1)
        axes.plot(*curve, color=svg.FIRST, linewidth=2)
        _own_verdicts(axes, evaluation.get("false_positive_rate"), evaluation.get("recall"))

    area = score(thresholds.get("roc_auc"))
    return svg.drawn(
        draw,
        key=key,
        size=(_WIDTH, 330),
        title="ROC curve",
        description=f"Recall against false-positive rate at each threshold; the area under the curve is {area}.",
    )


def precision_recall(evaluation: Mapping[str, Any], key: str) -> str:
    """The precision-recall curve, with the point where the guard's own verdicts stand."""
    thresholds = evaluation.get("thresholds") or {}
    curve = _points(thresholds.get("precision_recall"), "recall", "precision")
    if not curve[0]:
        return ""

    def draw(figure: Figure) -> None:
        axes = _square_of_shares(figure, "recall", "precision")
        axes.plot(*curve, color=svg.FIRST, linewidth=2, drawstyle="steps-post")
        _own_verdicts(axes, evaluation.get("recall"), evaluation.get("precision"))

    average = score(thresholds.get("average_precision"))
    return svg.drawn(
        draw,
        key=key,
        size=(_WIDTH, 330),
        title="Precision-recall curve",
        description=f"Precision against recall at each threshold; the average precision is {average}.",
    )


def latency_histogram(latency: Mapping[str, Any] | None, key: str) -> str:
    """How long verdicts took, with the median and the 90th percentile marked."""
    histogram = (latency or {}).get("histogram") or {}
    edges, counts = histogram.get("edges") or [], histogram.get("counts") or []
    if not latency or not counts or len(edges) != len(counts) + 1:
        return ""

    def draw(figure: Figure) -> None:
        axes = _axes(figure, left=46, bottom=44, top=34, right=16)
        axes.stairs(counts, edges, fill=True, color=svg.FIRST)
        axes.grid(visible=False, axis="x")
        axes.set(xlabel="seconds", ylabel="verdicts", xlim=(min(0, edges[0]), edges[-1]))
        for name, dashes in (("p50", (0, (5, 2))), ("p90", (0, (1, 1.5)))):
            if latency.get(name) is not None:
                axes.axvline(latency[name], color=svg.INK, linewidth=1.5, linestyle=dashes, label=name)
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderpad=0, handlelength=1.8)

    return svg.drawn(
        draw,
        key=key,
        size=(_WIDTH, 240),
        title="Latency of verdicts",
        description=f"{number(latency.get('measured'))} verdicts; median {seconds(latency.get('p50'))}, "
        f"90th percentile {seconds(latency.get('p90'))}, longest {seconds(latency.get('max'))}.",
    )


def _axes(figure: Figure, *, left: float, bottom: float, top: float, right: float) -> Axes:
    """Axes with margins in pixels, so that no letter's width has a say in the layout."""
    width, height = 72 * figure.get_figwidth(), 72 * figure.get_figheight()
    return figure.add_axes(
        (left / width, bottom / height, (width - left - right) / width, (height - bottom - top) / height)
    )


def _rows_of_shares(figure: Figure, rows: int) -> Axes:
    axes = _axes(figure, left=_LABELS, bottom=26, top=26, right=24)
    axes.set(xlim=(0, 1), ylim=(rows - 0.5, -0.5))
    axes.set_xticks(*_PERCENT_TICKS, fontsize=11)
    axes.set_yticks(range(rows), labels=[svg.mark(place) for place in range(rows)], color=svg.INK, fontsize=11)
    axes.tick_params(length=0)
    axes.grid(visible=False, axis="y")
    return axes


def _square_of_shares(figure: Figure, along: str, upwards: str) -> Axes:
    axes = _axes(figure, left=56, bottom=44, top=30, right=24)
    axes.set(xlim=(0, 1), ylim=(0, 1.003), xlabel=along, ylabel=upwards)
    axes.set_xticks(*_PERCENT_TICKS)
    axes.set_yticks(*_PERCENT_TICKS)
    axes.tick_params(length=0)
    return axes


def _height_of_rows(rows: int) -> float:
    return _ROW * rows + 52


def _whisker(axes: Axes, estimate: Mapping[str, Any], place: float, colour: str = svg.INK) -> None:
    low, high = estimate.get("low"), estimate.get("high")
    if low is not None and high is not None:
        axes.plot([low, high], [place, place], color=colour, linewidth=1.4, clip_on=False)
        axes.plot([low, high], [place, place], "|", color=colour, markersize=6, markeredgewidth=1.4, clip_on=False)


def _own_verdicts(axes: Axes, along: Any, upwards: Any) -> None:
    x, y = (along or {}).get("value"), (upwards or {}).get("value")
    if x is not None and y is not None:
        axes.plot(x, y, "D", color=svg.SECOND, markersize=8, clip_on=False, zorder=5)
        _legend(axes, [("D", svg.SECOND, "the guard's own verdicts")])


def _legend(axes: Axes, entries: Sequence[tuple[str, str, str]]) -> None:
    """Markers with their meaning, above the axes."""
    for marker, colour, label in entries:
        axes.plot([], [], marker, color=colour, label=label, markersize=7)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=len(entries), borderpad=0.2, handlelength=1)


def _points(curve: Mapping[str, Any] | None, along: str, upwards: str) -> Points:
    """The points of a curve, thinned out evenly where there are more than can be seen."""
    pairs = [
        (x, y)
        for x, y in zip((curve or {}).get(along) or (), (curve or {}).get(upwards) or (), strict=False)
        if x is not None and y is not None
    ]
    every = max(1, len(pairs) // _MOST_POINTS)
    kept = pairs[::every] if every == 1 else [*pairs[:-1:every], pairs[-1]]
    return [x for x, _ in kept], [y for _, y in kept]


def _shortened(label: str) -> str:
    """A label that fits, without its middle where it is long: what tells two of them apart often comes last."""
    text, half = label.strip(), _LABEL_LETTERS // 2
    return text if len(text) <= _LABEL_LETTERS else f"{text[: half - 1]}…{text[-half:]}"
