"""What the program says of itself."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from core.cli.commands import ROOT

from llama_guard_core.cli import main

COMMANDS = ["self-test", "moderate", "evaluate", "report"]


@pytest.mark.parametrize("words", [[], *([command] for command in COMMANDS)], ids=str)
def test_every_line_of_the_help_fits(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as left:
        main([*words, "--help"])

    lines = capsys.readouterr().out.splitlines()
    assert 0 == left.value.code
    assert len(lines) > 5
    assert 80 >= max(map(len, lines))


def test_the_help_lists_every_command(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["--help"])
    told = capsys.readouterr().out

    assert [] == [command for command in COMMANDS if not re.search(rf"^ +{command}\b", told, re.MULTILINE)]


def test_the_help_of_moderate_tells_its_exit_codes(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["moderate", "--help"])
    told = " ".join(capsys.readouterr().out.split())

    assert [] == [code for code in ("code 0:", "1:", "2:", "3:", "130:") if code not in told]


def test_llama_guard_is_the_script():
    project = Path(ROOT / "pyproject.toml").read_text(encoding="utf-8")
    [(module, name)] = re.findall(r'^llama-guard = "([\w.]+):(\w+)"$', project, re.MULTILINE)

    assert main is getattr(importlib.import_module(module), name)
