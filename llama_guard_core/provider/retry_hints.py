"""How long a host asks to wait: headers in three notations, and four places inside the body."""

from __future__ import annotations

import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

_EPOCH_IS_MILLISECONDS_ABOVE = 1e11


def retry_after(headers: Mapping[str, str], error: object, now: float | None) -> float | None:
    """Seconds until the host wants to be asked again, if it says so.

    Args:
        headers: the response's headers, in any spelling of case.
        error: the error object of the body.
        now: seconds since the epoch; without it, dates are ignored.
    """
    lowered = {key.lower(): value for key, value in headers.items()}
    return _first_known(
        _milliseconds(lowered.get("retry-after-ms")),
        _seconds(lowered.get("retry-after")),
        _seconds_until_date(lowered.get("retry-after"), now),
        *_hints_in_body(error, now),
    )


def _hints_in_body(error: object, now: float | None) -> tuple[float | None, ...]:
    if not isinstance(error, Mapping):
        return ()
    availability, metadata = _mapping(error.get("availability")), _mapping(error.get("metadata"))
    limits = {str(key).lower(): value for key, value in _mapping(metadata.get("headers")).items()}
    return (
        _seconds(availability.get("retry_after")),
        _seconds(metadata.get("retry_after_seconds")),
        _milliseconds(limits.get("retry-after-ms")),
        _seconds(limits.get("retry-after")),
        _seconds_until_epoch(limits.get("x-ratelimit-reset"), now),
    )


def _mapping(value: object) -> Mapping[Any, Any]:
    return value if isinstance(value, Mapping) else {}


def _first_known(*candidates: float | None) -> float | None:
    return next((candidate for candidate in candidates if candidate is not None), None)


def _seconds(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _milliseconds(value: object) -> float | None:
    milliseconds = _seconds(value)
    return None if milliseconds is None else milliseconds / 1000


def _seconds_until_date(value: str | None, now: float | None) -> float | None:
    if value is None or now is None:
        return None
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _seconds_until_epoch(value: object, now: float | None) -> float | None:
    epoch = _seconds(value)
    if epoch is None or now is None:
        return None
    if epoch > _EPOCH_IS_MILLISECONDS_ABOVE:
        epoch /= 1000
    return max(0.0, epoch - now)
