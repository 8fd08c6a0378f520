"""A report as one HTML file that needs nothing else: no network, no script, light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llama_guard_core.evaluation.libraries import library
from llama_guard_core.evaluation.report import plots, readings, wording
from llama_guard_core.written import printable

if TYPE_CHECKING:
    from jinja2 import Environment


def as_html(report: Mapping[str, Any], *, texts: Mapping[str, str] | None = None) -> str:
    """The report as one HTML document; the same report gives the same bytes.

    The document forbids itself scripts and the network. Names, ids and texts in it stay text, whatever they hold;
    characters that nobody sees or that turn text around are blanks.

    Args:
        report: `{"evaluations": [...], "comparisons": [...], "published": [...]}` as JSON has it; each may be missing.
        texts: judged texts by the id of the disagreement they belong to. They stand in the file, folded away until
            asked for: give none if the file goes to people who should not have them. Where two evaluations of
            different data share an id, they share the text.

    Raises:
        ConfigurationError: for what is no report, or without jinja2 or matplotlib.
    """
    parts = readings.readable(report)
    evaluations = parts["evaluations"]
    names = readings.short_names(evaluations)
    several = len(evaluations) > 1
    sections = zip(evaluations, names, strict=True)
    return _environment().get_template("report.html.jinja").render(
        evaluations=[_section(each, name, f"e{place}") for place, (each, name) in enumerate(sections, start=1)],
        comparisons=parts["comparisons"],
        published=parts["published"],
        overview=plots.overview(evaluations, names, "overview-plot") if several else "",
        hazards=_side_by_side(evaluations) if several else [],
        texts=None if texts is None else {printable(name): _lines(text) for name, text in texts.items()},
        limits=readings.LIMITS,
        about_thresholds=readings.THRESHOLDS,
        about_published=readings.PUBLISHED,
    )  # fmt: skip


def _section(evaluation: Mapping[str, Any], name: str, key: str) -> dict[str, Any]:
    """What the template shows of one evaluation, whose ids in the page begin with the key."""
    return {
        "key": key,
        "name": name,
        "figures": evaluation,
        "headlines": readings.headlines(evaluation),
        "warning": readings.warning(evaluation),
        "caveats": readings.caveats(evaluation),
        "hazard_bars": plots.hazard_bars(evaluation.get("hazards") or (), f"{key}-hazards"),
        "roc": plots.roc(evaluation, f"{key}-roc"),
        "precision_recall": plots.precision_recall(evaluation, f"{key}-pr"),
        "latency": plots.latency_histogram(evaluation.get("latency"), f"{key}-latency"),
    }


def _side_by_side(evaluations: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each hazard once, with the recall every evaluation has on it."""
    by_code: dict[str, dict[str, Any]] = {}
    for place, evaluation in enumerate(evaluations):
        for hazard in evaluation.get("hazards") or ():
            unknown: list[Any] = [None] * len(evaluations)
            row = by_code.setdefault(str(hazard.get("code")), {"name": hazard.get("name"), "recalls": unknown})
            row["recalls"][place] = hazard.get("recall")
    return [{"code": code, **row} for code, row in sorted(by_code.items(), key=lambda item: _by_number(item[0]))]


def _by_number(code: str) -> tuple[int, str]:
    digits = code[1:]
    return (int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 4 else 1000, code)  # noqa: PLR2004


def _lines(text: Any) -> str:
    """A text in its lines, with blanks for what nobody sees in them."""
    return "\n".join(printable(line) for line in str(text).splitlines())


def _environment() -> Environment:
    jinja = library("jinja2")
    environment: Environment = jinja.Environment(
        loader=jinja.PackageLoader(__package__, "templates"),
        autoescape=True,
        undefined=jinja.ChainableUndefined,  # a report saved by another version may lack a figure
        trim_blocks=True,
        lstrip_blocks=True,
    )
    words = ("percent", "interval", "share", "count_of", "number", "decimal", "score", "points", "seconds", "dollars", "p_value", "verdict")  # fmt: skip  # noqa: E501
    environment.filters.update({name: getattr(wording, name) for name in words})
    readings_of = ("whose", "compared", "further", "time_and_cost", "hazard_name", "about_disagreements")
    environment.filters.update({name: getattr(readings, name) for name in readings_of})
    return environment
