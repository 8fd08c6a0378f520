"""A verdict written down for a store that others can reach: nothing judged is in it, and nothing of it is trusted."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from llama_guard_core.guardrail.hazards import HazardCategory, LlamaGuardVersion
from llama_guard_core.guardrail.verdict import Verdict

_LARGEST = 16 * 1024  # bytes
_CLOCKS_DIFFER = 60.0  # seconds


def _printable(text: str) -> str:
    if not text.isprintable():
        msg = "it holds characters that nobody wrote into a verdict"
        raise ValueError(msg)
    return text


_Text = Annotated[str, Field(max_length=300), AfterValidator(_printable)]
_Category = tuple[_Text, _Text, LlamaGuardVersion]


class _Entry(BaseModel):
    """What is written: of a verdict all but the judged text's traces, such as the guard's raw answer."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    form: Literal[1]
    key: str
    made: float
    safe: Annotated[bool, Field(strict=True)]
    categories: tuple[_Category, ...]
    excluded: tuple[_Category, ...]
    score: Annotated[float, Field(ge=0, le=1)] | None
    model: _Text | None
    provider: _Text | None
    host: _Text | None
    generation_id: _Text | None


def store_key(key: str, secret: bytes | None) -> str:
    """The key an entry is kept under: who has no secret can neither find it nor try whether a text was judged."""
    return key if secret is None else hmac.new(secret, key.encode(), hashlib.sha256).hexdigest()


def written_entry(key: str, verdict: Verdict, *, secret: bytes | None, now: float) -> bytes | None:
    """The entry for a verdict; `None` for one that cannot be written down, and so is not shared.

    Args:
        key: what it is looked up by.
        verdict: the verdict, whole.
        secret: what entries are signed with.
        now: seconds since 1970.
    """
    try:
        entry = _Entry(
            form=1,
            key=key,
            made=now,
            safe=verdict.safe,
            categories=tuple(map(_as_written, verdict.categories)),
            excluded=tuple(map(_as_written, verdict.excluded)),
            score=verdict.score,
            model=verdict.model,
            provider=verdict.provider,
            host=verdict.host,
            generation_id=verdict.generation_id,
        )
    except ValidationError:  # a host gave its model a name that is none
        return None
    body = json.dumps(entry.model_dump(mode="json"), separators=(",", ":")).encode()
    return _signature(body, secret) + b"\n" + body


def read_entry(key: str, entry: object, *, secret: bytes | None, now: float) -> tuple[float, Verdict] | None:
    """The verdict of an entry and its age in seconds; `None` for whatever is not exactly what was written.

    Args:
        key: what was looked up; an entry that was put under another one counts for nothing.
        entry: what the store gave.
        secret: what entries are signed with.
        now: seconds since 1970.
    """
    if not isinstance(entry, bytes) or len(entry) > _LARGEST:
        return None
    signature, _, body = entry.partition(b"\n")
    if not hmac.compare_digest(signature, _signature(body, secret)):
        return None
    try:
        read = _Entry.model_validate_json(body)
    except ValidationError:
        return None
    age = now - read.made
    if read.key != key or age < -_CLOCKS_DIFFER:
        return None
    if read.safe == bool(read.categories):  # whole verdicts alone are kept: an unsafe one names its hazards
        return None
    return max(0.0, age), _verdict(read)


def _verdict(read: _Entry) -> Verdict:
    return Verdict(
        safe=read.safe,
        categories=tuple(HazardCategory(*category) for category in read.categories),
        excluded=tuple(HazardCategory(*category) for category in read.excluded),
        score=read.score,
        model=read.model,
        provider=read.provider,
        host=read.host,
        generation_id=read.generation_id,
    )


def _as_written(category: HazardCategory) -> _Category:
    return category.code, category.name, category.version


def _signature(body: bytes, secret: bytes | None) -> bytes:
    return b"-" if secret is None else hmac.new(secret, body, hashlib.sha256).hexdigest().encode()
