"""Keeps what was asked and answered out of errors, although hosts quote it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import SecretStr

from llama_guard_core.errors import ProviderError
from llama_guard_core.provider.forgotten_locals import without_locals
from llama_guard_core.provider.host_messages import WITHHELD, in_one_line

_SHORTEST_PRIVATE_TEXT = 4
_SHORTEST_ECHO = 12
_IDENTIFIERS = ("error_type", "provider_name", "generation_id")


def withholding(error: ProviderError, request: Mapping[str, Any], secrets: Iterable[SecretStr] | None) -> ProviderError:
    """The same error: keys and the texts of the request are not in its message, its identifiers or its traceback.

    Args:
        error: the error.
        request: what was asked.
        secrets: the keys that were sent.
    """
    keys, texts = [secret.get_secret_value() for secret in secrets or ()], list(_texts_of(request))
    error.args = (_without(str(error), keys, texts),)
    for name in _IDENTIFIERS:
        told = getattr(error, name)
        if told and _without(told, keys, texts) != told:
            setattr(error, name, None)
    return without_locals(error)


def _without(said: str, keys: Iterable[str], texts: Iterable[str]) -> str:
    """A key is withheld also inside another word."""
    for key in keys:
        if len(key) >= _SHORTEST_PRIVATE_TEXT:
            said = without_private_texts(said.replace(key, WITHHELD), [key])
    return without_private_texts(said, texts)


def without_private_texts(said: str, private_texts: Iterable[str]) -> str:
    """The same line with every stretch that repeats one of these texts taken out.

    A private text shorter than four characters is left: it would be found everywhere. Of a longer one, a stretch of
    12 characters is recognised.
    """
    for text in private_texts:
        private = in_one_line(text)
        if len(private) < _SHORTEST_PRIVATE_TEXT:
            continue
        if private in said:
            said = re.sub(rf"(?<!\w){re.escape(private)}(?!\w)", WITHHELD, said)
        if len(private) >= _SHORTEST_ECHO:
            said = _without_echoes(said, private)
    return said


def _without_echoes(said: str, private: str) -> str:
    kept, at = [], 0
    while at < len(said):
        end = at + _SHORTEST_ECHO
        if end <= len(said) and said[at:end] in private:
            while end < len(said) and said[at : end + 1] in private:
                end += 1
            kept.append(WITHHELD)
            at = end
        else:
            kept.append(said[at])
            at += 1
    return "".join(kept)


def _texts_of(request: Mapping[str, Any]) -> Iterator[str]:
    """What the messages of a request say, tool arguments included."""
    yield from _strings_in(request.get("prompt"))
    messages = request.get("messages")
    for message in messages if isinstance(messages, (list, tuple)) else ():
        yield from _strings_in(message.get("content"))
        for call in message.get("tool_calls") or ():
            yield from _strings_in(call.get("function", {}).get("arguments"))


def _strings_in(value: object) -> Iterator[str]:
    if isinstance(value, str):
        if not value.startswith("data:"):  # long, and withheld already wherever a host quotes it
            yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if key != "type":
                yield from _strings_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _strings_in(item)
