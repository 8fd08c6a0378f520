"""JSON as hosts really write it: fast where it is right, forgiving where it is nearly right."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

from pydantic_core import from_json

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def parse_json(text: bytes | str) -> Any:
    """Read JSON.

    Half a surrogate pair, a raw line feed inside a string and bytes that are not UTF-8 are read as U+FFFD or as they
    stand: some hosts cut an emoji in two between chunks.

    Raises:
        ValueError: if it is no JSON.
    """
    try:
        return from_json(text)
    except ValueError:
        return _parse_leniently(text)


def says_twice(text: bytes, names: Collection[str]) -> bool:
    """Whether an object in a JSON text has one of these names twice: readers differ in which of the two they keep."""
    if all(text.count(b'"%b"' % name.encode()) < 2 for name in names):  # noqa: PLR2004 - twice
        return False
    watched = frozenset(names)
    found = False

    def look(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal found
        named = [name for name, _ in pairs if name in watched]
        found = found or len(set(named)) < len(named)
        return {}

    try:
        json.loads(text.decode("utf-8", "replace"), strict=False, object_pairs_hook=look)
    except (ValueError, RecursionError):
        return False
    return found


def is_truncated_json(text: bytes | str) -> bool:
    """Whether this is the beginning of a JSON text whose end is missing."""
    try:
        from_json(text, allow_partial=True)
    except ValueError:
        return False
    return not _begins_with_whole_json(text)


def _begins_with_whole_json(text: bytes | str) -> bool:
    try:
        json.JSONDecoder(strict=False).raw_decode(text if isinstance(text, str) else text.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return False
    return True


def _parse_leniently(text: bytes | str) -> Any:
    if isinstance(text, bytes):
        text = text.removeprefix(_BYTE_ORDER_MARK).decode("utf-8", "replace")
    try:
        return _without_half_characters(json.loads(text, strict=False))
    except RecursionError:
        msg = "nested too deeply"
        raise ValueError(msg) from None


def _without_half_characters(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_without_half_characters(item) for item in value]
    if isinstance(value, dict):
        return {_without_half_characters(key): _without_half_characters(item) for key, item in value.items()}
    return value
