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


def texts_in(value: Any) -> Iterator[str]:
    """All text in a value, at any depth, in order; what stands in several places is read once."""
    seen: dict[int, Any] = {}
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif value is None or isinstance(value, (bool, int, float)) or id(value) in seen:
            continue
        else:
            seen[id(value)] = value  # kept, so that its id stays its own
            inside = _inside(value)
            waiting += [str(value)] if inside is None else reversed([*inside])


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
