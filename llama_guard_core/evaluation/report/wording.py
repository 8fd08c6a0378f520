"""Figures as text, the same in every kind of report. What is not known is a dash."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeGuard

UNKNOWN = "—"


def percent(value: Any) -> str:
    """A share of one: `"69.0 %"`."""
    return f"{100 * value:.1f} %" if _is_number(value) else UNKNOWN


def interval(estimate: Any) -> str:
    """The ends of a 95 % interval: `"62.1 to 75.2 %"`; empty where there is none."""
    low, high = (estimate.get("low"), estimate.get("high")) if isinstance(estimate, Mapping) else (None, None)
    return f"{100 * low:.1f} to {100 * high:.1f} %" if _is_number(low) and _is_number(high) else ""


def share(estimate: Any) -> str:
    """A proportion or an estimate as a percentage, without its interval."""
    return percent(estimate.get("value")) if isinstance(estimate, Mapping) else UNKNOWN


def count_of(proportion: Any) -> str:
    """What a proportion was counted from: `"138 of 200"`."""
    counted = proportion if isinstance(proportion, Mapping) else {}
    return f"{number(counted.get('count'))} of {number(counted.get('of'))}"


def number(value: Any) -> str:
    """A count: `"12,345"`."""
    return f"{value:,.0f}" if _is_number(value) else UNKNOWN


def decimal(value: Any) -> str:
    """A figure that is no share of anything, such as kappa: `"0.712"`."""
    return f"{value:.3f}" if _is_number(value) else UNKNOWN


def score(value: Any) -> str:
    """A probability or a threshold: `"0.5"`, `"0.98"`."""
    return f"{value:.4g}" if _is_number(value) else UNKNOWN


def points(value: Any) -> str:
    """A difference of two shares, in percentage points: `"+4.0 points"`."""
    return f"{100 * value:+.1f} points" if _is_number(value) else UNKNOWN


def seconds(value: Any) -> str:
    """A duration: `"420 ms"` below a second, else `"1.32 s"`."""
    if not _is_number(value):
        return UNKNOWN
    return f"{1000 * value:.0f} ms" if abs(value) < 1 else f"{value:.2f} s"


def dollars(value: Any) -> str:
    """US dollars, to the cent or to as many digits as a small sum needs."""
    if not _is_number(value):
        return UNKNOWN
    return f"${value:,.2f}" if value == 0 or abs(value) >= 1 else f"${value:.6f}".rstrip("0")


def p_value(value: Any) -> str:
    """A probability that may be tiny: `"0.031"` or `"below 0.001"`."""
    if not _is_number(value):
        return UNKNOWN
    return "below 0.001" if value < 0.001 else f"{value:.3f}"  # noqa: PLR2004 - as journals write it


def verdict(unsafe: Any) -> str:
    """A label or a verdict as Llama Guard's own word."""
    return UNKNOWN if unsafe is None else "unsafe" if unsafe else "safe"


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and math.isfinite(value)
