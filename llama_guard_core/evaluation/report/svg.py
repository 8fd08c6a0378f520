"""What matplotlib draws, as SVG for the middle of a page: in the page's colours and fonts.

A name from outside never goes through matplotlib, which would read formulas in it and miss letters: a mark is drawn in
its place, and the mark's text is put right afterwards.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from llama_guard_core.evaluation.libraries import library

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Colours nobody would draw with. Each becomes the variable of the page's style sheet, which differs in light and dark.
INK, MUTED, GRID, FIRST, SECOND = "#0a0b01", "#0a0b02", "#0a0b03", "#0a0b04", "#0a0b05"
_VARIABLES = {INK: "ink", MUTED: "muted", GRID: "line", FIRST: "first", SECOND: "second"}

_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "llama-guardrails",
    "font.size": 12,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "legend.frameon": False,
}
_FONT_SHORTHAND = re.compile(r"\bfont: (?:[a-z0-9]+ )*([\d.]+px) [^;]*")
_FONT_FAMILY = re.compile(r"\s*font-family: [^;]*;?")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")


def mark(place: int) -> str:
    """What is drawn where the label of that place will stand."""
    return f"label {place}"


def drawn(
    draw: Callable[[Figure], None],
    *,
    key: str,
    size: tuple[float, float],
    title: str,
    description: str,
    labels: Sequence[str] = (),
) -> str:
    """An inline `<svg>` with the same bytes for the same drawing.

    matplotlib's settings are changed while it draws, and put back; two threads that draw at once may disturb each
    other.

    Args:
        draw: draws on the figure, in units of 1/72 inch, with the colours of this module.
        key: an id that no other drawing of the page has.
        size: width and height, in CSS pixels before scaling.
        title: what a screen reader calls it.
        description: what it shows, in a sentence.
        labels: the texts that stand in place of `mark(0)`, `mark(1)`...

    Raises:
        ConfigurationError: without matplotlib.
    """
    figure_type, style = library("matplotlib.figure").Figure, library("matplotlib.style")
    written = io.StringIO()
    with style.context(["default", _STYLE]):
        figure = figure_type(figsize=(size[0] / 72, size[1] / 72), dpi=72)
        draw(figure)
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    texts = {mark(place): label for place, label in enumerate(labels)}
    return _inlined(written.getvalue(), key, title, description, texts)


def _inlined(document: str, key: str, title: str, description: str, texts: Mapping[str, str]) -> str:
    svg = ET.fromstring(document)  # noqa: S314 - matplotlib's own, with nothing from outside in it
    for element in svg.iter():
        element.tag = element.tag.partition("}")[2]
        element.attrib = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
        element.tail = None
        element.text = element.text if element.tag == "text" else None
    for name in ("metadata", "defs"):  # who made it, and a style sheet that would hold for the whole page
        svg.remove(next(iter(svg.findall(name))))
    _keep_needed_ids(svg, key)
    for element in svg.iter():
        _take_on_style(element)
        if element.tag == "text":
            element.text = texts.get(element.text or "", element.text)
    ET.indent(svg, space="")
    named = {"viewBox": svg.attrib["viewBox"], "role": "img", "aria-labelledby": f"{key}-title {key}-desc"}
    svg.attrib = {"class": "drawing", **named, "style": f"--width: {svg.attrib['viewBox'].split()[2]}px"}
    for place, (name, text) in enumerate((("title", title), ("desc", description))):
        element = ET.Element(name, {"id": f"{key}-{name}"})
        element.text = text
        svg.insert(place, element)
    return ET.tostring(svg, encoding="unicode")


def _keep_needed_ids(svg: ET.Element, key: str) -> None:
    """Only ids that the drawing refers to, with the key before them: a page has several drawings."""
    for element in svg.iter():
        name = element.attrib.pop("id", None)
        if name and element.tag not in {"g", "text"}:
            element.attrib["id"] = f"{key}-{name}"
        if "href" in element.attrib:
            element.attrib["href"] = f"#{key}-{element.attrib['href'].removeprefix('#')}"
        if "clip-path" in element.attrib:
            element.attrib["clip-path"] = _REFERENCE.sub(rf"url(#{key}-\1)", element.attrib["clip-path"])


def _take_on_style(element: ET.Element) -> None:
    style = element.attrib.get("style")
    if style is None:
        return
    style = _FONT_FAMILY.sub("", _FONT_SHORTHAND.sub(r"font-size: \1", style))
    for colour, variable in _VARIABLES.items():
        style = style.replace(colour, f"var(--{variable})")
    element.attrib["style"] = style
