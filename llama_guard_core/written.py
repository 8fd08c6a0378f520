"""A value from outside as text: whatever it holds, and whatever a terminal would make of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Literal

_ITSELF = '"(what this stands in)"'
Step = tuple[Literal["text", "value", "end"], Any]


def written(value: Any, plain: Callable[[Any], Any] = str) -> str:
    """A value as JSON text in which nothing of it is missing.

    Where JSON has no form for something, it is written as `plain` has it, keys as their `str`. Nesting may be deeper
    than Python's own writer goes; a value that holds itself is written once, with a mark in its second place. Time
    and size grow with what is written: a value that stands in many places is written in each.

    Args:
        value: any value.
        plain: makes something JSON has a form for of what it has none for.

    Raises:
        ValueError: if something in it cannot be written at all, because its own `str` fails. The message quotes
            nothing.
    """
    try:
        with suppress(Exception):  # nested too deeply, holds itself, has odd keys, or somebody's own code fails
            return json.dumps(value, ensure_ascii=False, default=plain)
        return "".join(_pieces(value, plain))
    except Exception:  # noqa: BLE001 - somebody's own code, which may raise anything; its error may quote the value
        msg = "a value holds something that cannot be written out as text"
        raise ValueError(msg) from None


def printable(text: str) -> str:
    """The text with a blank for each character that a terminal acts on or that nobody sees.

    Those are control characters and line ends, bidirectional and zero-width marks, half surrogate pairs and what
    Unicode has not assigned. It keeps all that can be read, and says nothing of what that means.
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _pieces(value: Any, plain: Callable[[Any], Any]) -> Iterator[str]:
    waiting: list[Step] = [("value", value)]
    above: set[int] = set()
    while waiting:
        kind, step = waiting.pop()
        if kind == "text":
            yield step
        elif kind == "end":
            above.discard(id(step))
        elif id(step) in above:
            yield _ITSELF
        elif isinstance(step, (Mapping, list, tuple)):
            above.add(id(step))
            waiting += reversed([*_steps_in(step), ("end", step)])
        elif step is None or isinstance(step, (str, int, float)):
            yield json.dumps(step, ensure_ascii=False)
        else:
            waiting.append(("value", plain(step)))


def _steps_in(value: Mapping[Any, Any] | list[Any] | tuple[Any, ...]) -> Iterator[Step]:
    begin, end = "{}" if isinstance(value, Mapping) else "[]"
    items = value.items() if isinstance(value, Mapping) else ((None, item) for item in value)
    comma = begin
    for name, item in items:
        label = f"{json.dumps(_label(name), ensure_ascii=False)}: " if isinstance(value, Mapping) else ""
        yield "text", f"{comma}{label}"
        yield "value", item
        comma = ", "
    yield "text", end if comma == ", " else f"{begin}{end}"


def _label(name: Any) -> str:
    """A key as JSON has it."""
    if isinstance(name, str):
        return name
    return json.dumps(name) if name is None or isinstance(name, (int, float)) else str(name)
