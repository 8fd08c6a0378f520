"""What a host says went wrong, in one bounded line that gives nothing away.

Hosts echo what they were sent: keys, account ids, the refused text, the model's own malformed words. None of it may
reach an exception, so only the fields read here are ever quoted, and those are scrubbed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from llama_guard_core.provider.json_text import parse_json
from llama_guard_core.written import printable

WITHHELD = "[withheld]"
_LONGEST_MESSAGE = 300
_DEEPEST_NESTING = 4

_SAYS_NOTHING = {"", "provider returned error", "error", "bad request", "unknown error"}
_SECRETS = re.compile(
    r"""
    \b(?:Bearer|Basic)\s+\S+
  | \b(?:sk|pk|gsk|hf|nvapi|xai|csk|tgp|org|user|proj|key|acct|team)[-_][\w*.-]{6,}
  | \bdata:[\w/+.-]*;base64\S*
  | \b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b
  | \b[A-Za-z0-9+=]{36,}
    """,
    re.VERBOSE | re.IGNORECASE,
)
# What follows these words is text the model or the user wrote.
_QUOTES_TEXT = re.compile(
    r"((?:malformed function call|failed_generation|flagged_input|user_id)\b).*", re.IGNORECASE | re.DOTALL
)


def host_message(error: object) -> str:
    """The most telling sentence of an error body, scrubbed; empty if it has none.

    Args:
        error: the value of `error`, or the whole body where a host uses no such key.
    """
    said = _sentence(error, 0)
    if said.lower().strip(" .") in _SAYS_NOTHING:
        metadata = error.get("metadata") if isinstance(error, Mapping) else None
        raw = metadata.get("raw") if isinstance(metadata, Mapping) else None
        said = _sentence(_parsed_if_json(raw), 0) or said
    return scrubbed(said)


def scrubbed(said: str) -> str:
    """One printable line of bounded length, without keys, account ids, data URLs or quoted generations."""
    said = _QUOTES_TEXT.sub(r"\1", in_one_line(said[: 4 * _LONGEST_MESSAGE]))
    said = _SECRETS.sub(WITHHELD, said).rstrip(" .:,")
    return said if len(said) <= _LONGEST_MESSAGE else said[: _LONGEST_MESSAGE - 1] + "…"


def in_one_line(said: str) -> str:
    """The text in one line, with nothing in it that a terminal acts on."""
    return " ".join(printable(said).split())


def _sentence(error: object, depth: int) -> str:
    """The sentence inside any of the shapes hosts use, however they are nested."""
    if depth > _DEEPEST_NESTING:
        return ""
    if isinstance(error, str):
        parsed = _parsed_if_json(error)
        return error.strip() if isinstance(parsed, str) else _sentence(parsed, depth + 1)
    if isinstance(error, Mapping):
        return _sentence_of_mapping(error, depth)
    if isinstance(error, list):
        return "; ".join(filter(None, (_sentence(item, depth + 1) for item in error[:3])))
    return ""


def _sentence_of_mapping(error: Mapping[Any, Any], depth: int) -> str:
    for key in ("message", "error", "errors", "detail", "msg"):
        said = _sentence(error.get(key), depth + 1)
        if said:
            where = error.get("loc") if key == "msg" else None
            return f"{'.'.join(map(str, where))}: {said}" if isinstance(where, list) else said
    return ""


def _parsed_if_json(text: object) -> object:
    """The JSON in a string, the string itself if it is words, None if it is broken JSON or a web page."""
    if isinstance(text, str) and text.lstrip()[:1] in ("{", "[", '"'):
        try:
            return parse_json(text)
        except ValueError:
            return None
    return None if isinstance(text, str) and text.lstrip()[:1] == "<" else text
