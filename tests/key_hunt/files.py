"""Files of the project that were written by talking to a host: no header in them may hold a key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from key_hunt.keys import KEY
from key_hunt.tally import Tally
from llama_guard_core.provider.private_headers import holds_a_key

ROOT = Path(__file__).parents[2]
PLACE = "cassettes and recordings of the project"
_FILES = ("tests/**/cassettes/*", "examples/**/*.yaml", "examples/**/*.json", "benchmarks/**/*.yaml")
_LOOKS_LIKE_A_KEY = re.compile(r"\bBearer\s+\S|\bsk-[\w-]{8,}|\bgsk_\w{8,}|\bhf_\w{8,}")
_SAYS_NOTHING = {"PLACEHOLDER", "*", ""}


def files() -> Tally:
    """Look at them. What is looked for here is any key."""
    tally = Tally()
    for path in recordings():
        tally.look(PLACE, path.relative_to(ROOT).as_posix(), "" if is_clean(path.read_text()) else KEY)
    return tally


def recordings() -> list[Path]:
    """The files."""
    return sorted({path for pattern in _FILES for path in ROOT.glob(pattern)})


def is_clean(text: str) -> bool:
    """Whether a recording holds nothing that looks like a key, and no header that may hold one."""
    return not _LOOKS_LIKE_A_KEY.search(text) and not any(_headers_with_keys(yaml.safe_load(text)))


def _headers_with_keys(node: Any) -> Iterator[str]:
    for name, value in node.items() if isinstance(node, dict) else ():
        if name == "headers" and isinstance(value, dict):
            said = {
                header: {*map(str, values if isinstance(values, list) else [values])}
                for header, values in value.items()
            }
            yield from (header for header, values in said.items() if holds_a_key(header) and values - _SAYS_NOTHING)
    for part in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _headers_with_keys(part)
