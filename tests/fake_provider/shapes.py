"""The small predicates the rules of the API are written in."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeGuard

Check = Callable[[Any], bool]


def is_text(value: object) -> TypeGuard[str]:
    """Whether it is a string that says something."""
    return isinstance(value, str) and bool(value)


def is_string(value: object) -> TypeGuard[str]:
    """Whether it is a string, the empty one included."""
    return isinstance(value, str)


def is_bool(value: object) -> TypeGuard[bool]:
    """Whether it is true or false."""
    return isinstance(value, bool)


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether it is a JSON object that holds something."""
    return isinstance(value, dict) and bool(value)


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Whether it is a JSON array that holds something."""
    return isinstance(value, list) and bool(value)


def number_in(low: float, high: float, *, above_low: bool = False) -> Check:
    """Accept a number in a range; `above_low` leaves the lower end out."""
    return lambda v: isinstance(v, int | float) and not is_bool(v) and low <= v <= high and not (above_low and v == low)


def integer_from(low: int, high: float = float("inf")) -> Check:
    """Accept an integer in a range."""
    return lambda v: isinstance(v, int) and not is_bool(v) and low <= v <= high


def one_of(*allowed: str) -> Check:
    """Accept one of some words."""
    return lambda v: isinstance(v, str) and v in allowed


def text_up_to(length: int) -> Check:
    """Accept a string of at most so many characters."""
    return lambda v: is_text(v) and len(v) <= length


def matching(pattern: str) -> Check:
    """Accept a string that matches a pattern from end to end."""
    return lambda v: isinstance(v, str) and re.fullmatch(pattern, v) is not None


def list_of(check: Check, *, at_most: float = float("inf")) -> Check:
    """Accept a list that is not empty and whose every item passes."""
    return lambda v: is_list(v) and len(v) <= at_most and all(check(item) for item in v)


def any_of(*checks: Check) -> Check:
    """Accept what one of the checks accepts."""
    return lambda v: any(check(v) for check in checks)


def object_with(fields: Mapping[str, Check], *, required: Collection[str] = ()) -> Check:
    """Accept an object that has the required keys, no unknown ones, and the right thing under each."""
    return lambda v: is_object(v) and set(required) <= set(v) <= set(fields) and all(fields[k](v[k]) for k in v)


def data_url(media_types: str) -> Check:
    """Accept a base64 `data:` URL of one of some media types, written as a pattern, that has a payload."""
    prefix = re.compile(rf"data:({media_types});base64,")
    return lambda v: isinstance(v, str) and (m := prefix.match(v)) is not None and _is_base64(v[m.end() :])


def _is_base64(payload: str) -> bool:
    try:
        return bool(base64.b64decode(payload, validate=True))
    except (binascii.Error, ValueError):
        return False
