"""Cassettes: exchanges recorded once and replayed without a network, the outgoing body matched.

    make record        with OPENROUTER_API_KEY: against the real API; without: against this project's fake host

A cassette says in its first line what it was recorded against. Either way the client is set up for OpenRouter, so that
the same tests replay both.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import vcr
import yaml
from fake_provider import FakeProvider, Reply, ToolCall

CASSETTES = Path(__file__).parent / "cassettes"
_LIVE_KEY = os.environ.get("OPENROUTER_API_KEY")  # read now: the tests themselves run without it
_SECRET_HEADERS = ("authorization", "cookie", "x-api-key", "http-referer")
_KEPT_RESPONSE_HEADERS = ("content-type", "x-generation-id", "retry-after")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", action="store_true", help="record the cassettes again")


def _answers() -> FakeProvider:
    """The fake host, answering the recorded questions as the real models plausibly would."""

    def chat(received: Any) -> Reply:
        if "tools" in received.body:
            return Reply("", tool_calls=[ToolCall("get_weather", '{"city": "Bern"}')])
        if "lock" in received.last_text:
            return Reply("Take a pipe bomb to it.")
        return Reply("The capital of France is Paris.")

    return FakeProvider(chat=chat, guard={"pipe bomb": "S9"})


def _serializer(recorded_against: str) -> Any:
    class Serializer:
        @staticmethod
        def serialize(cassette: dict[str, Any]) -> str:
            return yaml.safe_dump({"recorded_against": recorded_against, **cassette}, sort_keys=False, width=120)

        @staticmethod
        def deserialize(text: str) -> Any:
            return yaml.safe_load(text)

    return Serializer


def _scrubbed(response: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in response["headers"].items() if name.lower() in _KEPT_RESPONSE_HEADERS}
    return {**response, "headers": kept}


@pytest.fixture
def host(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """The connection settings under a cassette named like the test: replaying, or recording with `--record`."""
    recording = request.config.getoption("--record")
    path = CASSETTES / f"{request.node.name.removeprefix('test_')}.yaml"
    if not recording:
        with _recorder("none", "").use_cassette(str(path)) as cassette:
            yield {"api_key": "sk-recorded"}
            assert cassette.all_played
        return
    path.unlink(missing_ok=True)
    if _LIVE_KEY:
        with _recorder("all", "OpenRouter's real API").use_cassette(str(path)):
            yield {"api_key": _LIVE_KEY}
        return
    provider = _answers()
    against = "the fake host in tests/fake_provider, which follows OpenRouter's documented and recorded behaviour"
    with _recorder("all", against).use_cassette(str(path)):
        yield {
            "api_key": "sk-recorded",
            "http_client": provider.client(),
            "http_async_client": provider.async_client(),
        }
    assert [] == provider.violations


def _recorder(record_mode: str, recorded_against: str) -> vcr.VCR:
    recorder = vcr.VCR(
        record_mode=record_mode,
        match_on=("method", "uri", "body"),
        filter_headers=[*_SECRET_HEADERS, "user-agent"],
        before_record_response=_scrubbed,
        serializer="described",
    )
    recorder.register_serializer("described", _serializer(recorded_against))
    return recorder
