"""JSON that nobody asked for, and text that a terminal acts on."""

from __future__ import annotations

import random
from typing import Any

CONTROLS = [
    *("\x1b[2J", "\x1b]0;title\x07", "\x1b[31m", "\x07", "\x08\x08", "\r", "\x7f", "\x00", "\x9b31m", "\x85", "\x1b(0"),
    *(
        "\u202e",
        "\u2066",
        "\u2069",
        "\u200b",
        "\u200f",
        "\ufeff",
        "\u2028",
        "\u2029",
        "\U000e0041",
        "\ud83d",
        "\x0b",
        "\x0c",
    ),
]
"""Escape sequences, carriage returns, bells, bidirectional overrides, C1 controls, what nobody sees."""
_VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2**31, 2**63, 10**400, 0.5, -1e308, "", "x", "safe", "unsafe", "9" * 5000, "\ud800"),
    *(
        [],
        {},
        [[]],
        [None],
        {"": None},
        {"message": "no"},
        {"error": {"code": 429}},
        [1, "a", {}],
        {"index": []},
        "a" * 5000,
    ),
    *(
        {"code": "9" * 4500, "message": "x"},
        {"type": {}, "index": [1]},
        [[[[[[[]]]]]]],
        {"a": {"b": {"c": []}}},
        "stop",
    ),
]


def junk(chance: random.Random) -> Any:
    """A value that does not belong where it is put."""
    if chance.random() < 0.15:
        return deep(chance.choice([3, 150, 300, 700]))
    return chance.choice([*_VALUES, *CONTROLS])


def deep(levels: int) -> Any:
    """A value in so many lists and objects."""
    value: Any = "core"
    for level in range(levels):
        value = {"a": value} if level % 2 else [value]
    return value


def with_controls(chance: random.Random, words: str) -> str:
    """The words with what a terminal acts on between them."""
    return "".join(word + chance.choice(CONTROLS) for word in words.split(" "))
