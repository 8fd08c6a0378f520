"""`python -m llama_guard_core self-test`: what it prints, and what it exits with."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from types import ModuleType

import pytest
from fake_provider import FakeProvider, Fault

from llama_guard_core.__main__ import main
from llama_guard_core.self_test.report import Finding, SelfTest

TEXTS = ("--harmless", "What is rain?", "--harmful", "a BOMB", "--refusal", "I would rather not.")
KEY = "sk-0123456789abcdef"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", KEY)


def test_a_table_is_printed_and_all_is_well(provider: FakeProvider, capsys: pytest.CaptureFixture[str]) -> None:
    with provider.serve() as base_url:
        assert 0 == main(["self-test", "--host", "openrouter", "--base-url", base_url, *TEXTS])
    printed, complaints = capsys.readouterr()
    assert "OpenRouter: meta-llama/llama-guard-4-12b" == printed.split("\n")[0]
    assert 5 == len(re.findall(r"^  [a-z ]+  ok  ", printed, re.MULTILINE))
    assert "" == complaints
    assert KEY not in printed


def test_something_wrong_is_exit_code_1_without_a_log_beside_it(
    provider: FakeProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    provider.fail(Fault.prose())
    with provider.serve() as base_url:
        assert 1 == main(["self-test", "--host", "openrouter", "--base-url", base_url, *TEXTS])
    printed, complaints = capsys.readouterr()
    assert "What to do" in printed
    assert "" == complaints


def test_the_json_is_the_report(provider: FakeProvider, capsys: pytest.CaptureFixture[str]) -> None:
    provider.fail(Fault.status(401))
    with provider.serve() as base_url:
        code = main(["self-test", "--json", "--host", "openrouter", "--base-url", base_url, *TEXTS])
    report = json.loads(capsys.readouterr().out)
    assert (1, False) == (code, report["ok"])
    assert ("OpenRouter", "meta-llama/llama-guard-4-12b") == (report["host"], report["model"])
    assert ["wrong", *["unknown"] * 5] == [finding["status"] for finding in report["findings"]]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--host", "nowhere"], "no host is known as 'nowhere'"),
        (["--host", "vllm", "--model", "some-model"], "version="),
        (["--host", "groq"], "model="),
        (["--host", "together"], "TOGETHER_API_KEY"),
        (["--host", "openrouter", "--raw-prompt"], "raw_prompt"),
        (["--host", "vllm", "ollama", "--base-url", "http://localhost:1/v1"], "base_url"),
        (
            ["--gguf", "missing.gguf", "--version", "3"],
            "gguf" if find_spec("xllamacpp") else "llama-guardrails[embedded]",
        ),
    ],
)
def test_a_wrong_setting_is_named_without_a_traceback(
    words: list[str], named: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOGETHER_API_KEY", raising=False)
    assert 2 == main(["self-test", *words])
    printed, complaints = capsys.readouterr()
    assert ("", 1) == (printed, complaints.count("\n"))
    assert named in complaints


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["nothing"],
        ["self-test", "--raw-prompt", "--template-prompt"],
        ["self-test", "--version", "9"],
        ["self-test", "--api-key", KEY],
    ],
    ids=str,
)
def test_words_that_mean_nothing_are_exit_code_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert 2 == left.value.code


@pytest.mark.parametrize("form", [[], ["--json"]], ids=str)
def test_what_a_host_says_does_not_act_on_the_terminal(
    form: list[str], provider: FakeProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    provider.fail(Fault.status(400, message="\x1b[2J\x1b]0;owned\x07 \u202e\x9b31m no"))
    with provider.serve() as base_url:
        main(["self-test", *form, "--host", "openrouter", "--base-url", base_url, *TEXTS])
    printed = capsys.readouterr().out
    assert "owned" in printed
    assert [] == [letter for letter in printed if letter != "\n" and not letter.isprintable()]


def test_what_the_terminal_cannot_show_is_escaped_and_nothing_is_logged_beside_the_table() -> None:
    words = ["self-test", "--base-url", "http://127.0.0.1:9/v1", "--model", "llama-guard-4-\u732b"]
    ran = _run_by_itself(words, {"PYTHONIOENCODING": "ascii"})
    assert (1, b"") == (ran.returncode, ran.stderr)
    assert rb"llama-guard-4-\u732b" in ran.stdout


def test_it_runs_as_a_module(provider: FakeProvider) -> None:
    with provider.serve() as base_url:
        words = ["self-test", "--json", "--host", "openrouter", "--base-url", base_url, *TEXTS]
        ran = _run_by_itself(words, {"OPENROUTER_API_KEY": KEY, "NO_PROXY": "127.0.0.1"})
    report = json.loads(ran.stdout)
    assert (b"", 0, True) == (ran.stderr, ran.returncode, report["ok"])


def test_scout_is_tested_by_its_own_probes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[object] = []

    def chat_self_test(**where: object) -> SelfTest:
        asked.append(where)
        return SelfTest("box", "scout", "chat", (Finding("answer", "ok", "yes"),))

    probes = ModuleType("chat_probes")
    probes.chat_self_test = chat_self_test  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "llama_guard_core.self_test.chat_probes", probes)
    assert 0 == main(["self-test", "--chat", "--host", "vllm", "--model", "scout"])
    assert [{"host": "vllm", "base_url": None, "model": "scout"}] == asked
    assert "answer  ok  yes" in capsys.readouterr().out


def _run_by_itself(words: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "llama_guard_core", *words]
    return subprocess.run(command, capture_output=True, env=environment, timeout=60, check=False)
