"""An exception of an engine or a model, as output: it may quote what the model wrote."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import BaseModel

from llama_guard_core.guardrail import failures


def as_output(error: Exception) -> failures.Failed:
    """An exception that is to be judged before it may be seen.

    Raises:
        LlamaGuardError: at once, if it is one of ours.
    """
    return failures.as_output(error, texts_in)


def texts_in(value: Any, above: tuple[int, ...] = ()) -> Iterator[str]:
    """All text in a value, at any depth.

    Args:
        value: any value; one that holds itself is read once.
        above: what it stands in, to know that by.
    """
    match value:
        case None | bool() | int() | float():
            pass
        case str():
            yield value
        case _ if id(value) in above:
            pass
        case _:
            inside = _inside(value)
            for item in [str(value)] if inside is None else inside:
                yield from texts_in(item, (*above, id(value)))


def _inside(value: Any) -> Iterable[Any] | None:
    """What a value is made of; `None` where it is written out as a whole."""
    match value:
        case Mapping():
            return [part for name, item in value.items() for part in (str(name), item)]
        case list() | tuple() | set() | frozenset():
            return value
        case BaseModel():
            return _inside(dict(value))
        case _ if is_dataclass(value) and not isinstance(value, type):
            return _inside({field.name: getattr(value, field.name) for field in fields(value)})
        case _:
            return None
