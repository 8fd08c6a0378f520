"""A small value that satisfies a JSON schema, with what the user named where it fits."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

_QUOTED = re.compile(r"'([^']+)'|\"([^\"]+)\"")
_INTEGER = re.compile(r"-?\d+")
_FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


@dataclass(frozen=True, slots=True)
class Hints:
    """The numbers and the quoted phrases of a text, each used once, in order."""

    integers: Iterator[int]
    phrases: Iterator[str]


def hints_in(text: str) -> Hints:
    """Read the hints a user gave."""
    phrases = (single or double for single, double in _QUOTED.findall(text))
    return Hints(map(int, _INTEGER.findall(text)), phrases)


def instance_of(schema: dict[str, Any], hints: Hints) -> Any:
    """Make a value that satisfies a schema: the required properties only, the first of every choice."""
    return _instance(schema, schema, "value", hints)


def _instance(schema: dict[str, Any], root: dict[str, Any], name: str, hints: Hints) -> Any:
    if "$ref" in schema:
        return _instance(_resolve(schema["$ref"], root), root, name, hints)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return _instance(schema[choice][0], root, name, hints)
    if "allOf" in schema:
        return _instance(_merged(schema["allOf"], root), root, name, hints)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    return _MAKERS[kind[0] if isinstance(kind, list) else kind](schema, root, name, hints)


def _resolve(reference: str, root: dict[str, Any]) -> dict[str, Any]:
    found: Any = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        found = found[step] if step else found
    return dict(found)


def _merged(schemas: list[dict[str, Any]], root: dict[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for schema in schemas:
        resolved = _resolve(schema["$ref"], root) if "$ref" in schema else schema
        properties = {**merged.get("properties", {}), **resolved.get("properties", {})}
        required = [*merged.get("required", ()), *resolved.get("required", ())]
        merged = {**merged, **resolved, "properties": properties, "required": required}
    return merged if merged["properties"] else {key: merged[key] for key in merged if key != "properties"}


def _object(schema: dict[str, Any], root: dict[str, Any], _: str, hints: Hints) -> dict[str, Any]:
    properties = schema.get("properties", {})
    return {key: _instance(properties.get(key, {}), root, key, hints) for key in schema.get("required", ())}


def _array(schema: dict[str, Any], root: dict[str, Any], name: str, hints: Hints) -> list[Any]:
    return [_instance(schema.get("items", {}), root, name, hints) for _ in range(schema.get("minItems", 0))]


def _string(schema: dict[str, Any], _: dict[str, Any], name: str, hints: Hints) -> str:
    if "format" in schema:
        return _FORMATS.get(schema["format"], name)
    text = next(hints.phrases, f"some {name.replace('_', ' ')}").ljust(schema.get("minLength", 0), ".")
    return text[: schema.get("maxLength", len(text))]


def _integer(schema: dict[str, Any], _: dict[str, Any], __: str, hints: Hints) -> int:
    low = max(schema.get("minimum", -math.inf), schema.get("exclusiveMinimum", -math.inf) + 1)
    high = min(schema.get("maximum", math.inf), schema.get("exclusiveMaximum", math.inf) - 1)
    step = schema.get("multipleOf", 1)
    fitting = (number for number in hints.integers if low <= number <= high and number % step == 0)
    fallback = max(low, min(high, 1))
    return next(fitting, math.ceil(fallback / step) * step)


def _number(schema: dict[str, Any], root: dict[str, Any], name: str, hints: Hints) -> float:
    return float(_integer(schema, root, name, hints))


def _true(*_: object) -> bool:
    return True


def _null(*_: object) -> None:
    return None


_MAKERS: dict[str, Callable[[dict[str, Any], dict[str, Any], str, Hints], Any]] = {
    "object": _object,
    "array": _array,
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": _true,
    "null": _null,
}
