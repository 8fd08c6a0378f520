"""Figures as plain JSON values, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from llama_guard_core.errors import ConfigurationError

T = TypeVar("T")


def as_plain(figures: Any) -> dict[str, Any]:
    """A dataclass as plain JSON values, its fields in their order."""
    return TypeAdapter(type(figures)).dump_python(figures, mode="json")  # type: ignore[no-any-return] # a dataclass is a dict


def from_plain(kind: type[T], values: Mapping[str, Any]) -> T:
    """Read what `as_plain` made; names that are not known are left out.

    Raises:
        ConfigurationError: if they are no such figures. It quotes none of the values.
    """
    try:
        return TypeAdapter(kind).validate_python(dict(values))
    except ValidationError as error:
        where = ".".join(str(step) for step in error.errors(include_input=False)[0]["loc"])
        msg = f"this is no {kind.__name__}: look at {where!r}, or evaluate again"
    raise ConfigurationError(msg)
