"""Streamed reasoning blocks, put together again: providers refuse a history that holds them in fragments."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_WRITTEN_IN_PIECES = ("text", "summary", "data")


def merged_reasoning_details(fragments: Iterable[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """One block for each pair of index and type, in the order in which they appeared."""
    blocks: dict[tuple[str, str], dict[str, Any]] = {}
    for fragment in fragments:
        key = (str(fragment.get("index")), str(fragment.get("type")))
        block = blocks.setdefault(key, {})
        for name, value in fragment.items():
            if name in _WRITTEN_IN_PIECES and isinstance(value, str) and isinstance(block.get(name), str):
                block[name] += value
            elif value is not None or name not in block:
                block[name] = value
    return tuple(blocks.values())
