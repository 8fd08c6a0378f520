"""An exception of an engine or a model, as output: it may quote what the model wrote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, is_dataclass
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
    """All text in a value, at any depth."""
    match value:
        case None | bool() | int() | float() | BaseException():
            pass
        case str():
            yield value
        case Mapping():
            for name, item in value.items():
                yield str(name)
                yield from texts_in(item)
        case list() | tuple() | set() | frozenset():
            for item in value:
                yield from texts_in(item)
        case BaseModel():
            yield from texts_in(dict(value))
        case _ if is_dataclass(value) and not isinstance(value, type):
            yield from texts_in(asdict(value))
        case _:
            yield str(value)
