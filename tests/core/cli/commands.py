"""`llama-guard moderate` against a fake host; whatever comes of it, it tells no secret."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fake_provider import FakeProvider

from llama_guard_core.cli import main

ROOT = Path(__file__).parents[3]
KEY = "sk-or-v1-0123456789abcdef"
SECRET = "SECRET"
"""Is in every judged text and every kept cell."""


@dataclass(frozen=True)
class Said:
    """What a command did: its exit code, and what it wrote to standard output and standard error."""

    code: int
    out: str
    err: str

    def __post_init__(self) -> None:
        assert "Traceback" not in self.err
        assert SECRET not in self.err
        assert KEY not in self.err + self.out

    @property
    def records(self) -> list[dict[str, Any]]:
        """The records on standard output."""
        return [json.loads(line) for line in self.out.splitlines()]


class Command:
    """`llama-guard moderate` against a host."""

    def __init__(self, host: FakeProvider, base_url: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.host = host
        self.base_url = base_url
        self._capsys = capsys

    def __call__(self, *words: object) -> Said:
        """Run it in this process."""
        try:
            code = main(["moderate", *map(str, words), *at(self.base_url)])
        except SystemExit as left:
            code = int(left.code or 0)
        return Said(code, *self._capsys.readouterr())

    def alone(self, *words: object, before: str = "", **options: Any) -> subprocess.Popen[bytes]:
        """Begin it in a process of its own, after some statements."""
        program = f"{before}\nimport sys\nfrom llama_guard_core.cli import main\nsys.exit(main())"
        return subprocess.Popen(
            [sys.executable, "-c", program, "moderate", *map(str, words), *at(self.base_url)],
            cwd=ROOT,
            env={**os.environ, "OPENROUTER_API_KEY": KEY},
            **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
        )

    @property
    def asked(self) -> list[str]:
        """The texts that the host was asked about, in the order in which they came."""
        return [question.text for question in self.host.guard_questions]


def said_by(process: subprocess.Popen[bytes], given: bytes | None = None) -> Said:
    """What a process did, once it has ended; it may take a minute."""
    out, err = process.communicate(given, timeout=60)
    return Said(process.returncode, (out or b"").decode(), (err or b"").decode())


def at(base_url: str) -> list[str]:
    """The words that name a host."""
    return ["--host", "openrouter", "--base-url", base_url]


def texts(count: int) -> list[str]:
    """Texts to judge; one in three is unsafe."""
    return [f"{SECRET} text {number}" + (" BOMB" if number % 3 == 0 else "") for number in range(count)]


def rows(count: int) -> list[dict[str, Any]]:
    """Rows of an input; one in three is unsafe."""
    return [{"id": f"r{number}", "prompt": text} for number, text in enumerate(texts(count))]


def write_json_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> Path:
    """Write an input."""
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")
    return path


def records_in(path: Path) -> list[dict[str, Any]]:
    """Read an output of JSON Lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def judged(records: Iterable[Mapping[str, Any]]) -> list[tuple[Any, Any]]:
    """The row and the verdict of each record."""
    return [(record["row"], record["safe"]) for record in records]


def right(count: int) -> list[tuple[int, bool]]:
    """What `judged` gives of a whole output of `rows`."""
    return [(number, number % 3 != 0) for number in range(count)]
