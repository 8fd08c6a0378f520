"""The command against hosts, an input, and a place for the output."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from core.cli.commands import KEY, Command, rows, write_json_lines
from fake_provider import FakeProvider


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", KEY)


@pytest.fixture
def command_at(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[FakeProvider], Command]]:
    """Gives the command against a host of the test's own."""
    with ExitStack() as served:
        yield lambda host: Command(host, served.enter_context(host.serve()), capsys)


@pytest.fixture
def command(provider: FakeProvider, command_at: Callable[[FakeProvider], Command]) -> Command:
    """The command against a host that is well, and that holds it to the rules of the API."""
    return command_at(provider)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """An input of ten rows."""
    return write_json_lines(tmp_path / "in.jsonl", rows(10))


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Where the verdicts go."""
    return tmp_path / "out.jsonl"
