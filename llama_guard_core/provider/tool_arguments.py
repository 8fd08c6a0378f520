"""The arguments of a tool call, as hosts write them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from llama_guard_core.provider.json_text import parse_json

_OBJECT_AFTER_OBJECT = re.compile(r"\}\s*\{")


def arguments_of(function: Mapping[str, Any]) -> str:
    """Tool arguments as JSON text: hosts also leave them out, send null, or send the object itself."""
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None else json.dumps(arguments, ensure_ascii=False, separators=(",", ":"))


def split_objects(arguments: str) -> list[str]:
    """Two calls that a host ran together as `{..}{..}` are two; anything else is left as it is."""
    if not _OBJECT_AFTER_OBJECT.search(arguments) or is_json(arguments):
        return [arguments]
    decoder, found, at = json.JSONDecoder(strict=False), [], 0
    text = arguments.strip()
    while at < len(text):
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return [arguments]
        if not isinstance(value, dict):
            return [arguments]
        found.append(text[at:end])
        at = end + len(text[end:]) - len(text[end:].lstrip())
    return found


def is_json(arguments: str) -> bool:
    """Whether the arguments are whole."""
    try:
        parse_json(arguments)
    except ValueError:
        return False
    return True
