"""Recording and replaying the demo's conversation, by vcrpy.

The embedded servers listen on a port of their own each time; recorded addresses are made-up names in its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import vcr
import yaml

GUARD_URL = "http://tiny-guard.invalid/v1"
SCOUT_URL = "http://smollm2.invalid/v1"
RECORDED_AGAINST = "llama.cpp's server inside the demo's process: tiny-guard and SmolLM2-135M. No real Llama model."


class _Serializer:
    """vcrpy's YAML, with a first line that says what was recorded."""

    @staticmethod
    def serialize(cassette: dict[str, Any]) -> str:
        return yaml.safe_dump({"recorded_against": RECORDED_AGAINST, **cassette}, sort_keys=False, width=120)

    @staticmethod
    def deserialize(text: str) -> dict[str, Any]:
        read: dict[str, Any] = yaml.safe_load(text)
        return read


def _recorder(addresses: dict[str, str], record_mode: str) -> vcr.VCR:
    def named(request: Any) -> Any:
        for address, name in addresses.items():
            request.uri = request.uri.replace(address, name)
        return request

    recorder = vcr.VCR(
        record_mode=record_mode,
        match_on=("method", "uri", "body"),
        filter_headers=("authorization", "user-agent"),
        before_record_request=named,
        serializer="demo",
    )
    recorder.register_serializer("demo", _Serializer)
    return recorder


@contextmanager
def recording(path: Path, guard_url: str, scout_url: str) -> Iterator[None]:
    """Write what is asked and answered inside to `path`, in place of what was there."""
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    with _recorder({guard_url: GUARD_URL, scout_url: SCOUT_URL}, "all").use_cassette(str(path)):
        yield


@contextmanager
def replaying(path: Path) -> Iterator[tuple[str, str]]:
    """Answer from `path`; whatever was not recorded is refused. Gives the two hosts' addresses."""
    with _recorder({}, "none").use_cassette(str(path), allow_playback_repeats=True):
        yield GUARD_URL, SCOUT_URL
