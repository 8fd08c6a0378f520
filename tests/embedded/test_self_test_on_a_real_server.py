"""The self-test against llama.cpp's server with the stand-in guard, which knows `walnut` and none of Meta's hazards."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from llama_guard_core import LlamaGuard
from llama_guard_core.__main__ import main
from llama_guard_core.provider.embedded import Embedded
from llama_guard_core.self_test.guard_probes import ProbeTexts
from llama_guard_core.self_test.report import SelfTest

KNOWN = ProbeTexts(harmless="which wood is this", harmful="this is walnut wood", refusal="this is oak")


def statuses(report: SelfTest) -> list[str]:
    return [finding.status for finding in report.findings]


@pytest.mark.parametrize(("raw_prompt", "prompt"), [(None, "published"), (False, "the host's template")])
async def test_with_words_it_knows_all_is_well(tiny_guard: Embedded, raw_prompt: bool | None, prompt: str) -> None:
    """Prompts and replies are told apart, scores agree, and that there are no pictures is told as no fault."""
    async with LlamaGuard(host=tiny_guard, raw_prompt=raw_prompt) as guard:
        for report in (guard.self_test(KNOWN), await guard.aself_test(KNOWN)):
            assert ["ok", "ok", "ok", "ok", "not offered", "ok"] == statuses(report)
            assert report.ok
            assert report.prompt.startswith(prompt)
        guard.close()


def test_with_words_it_does_not_know_everything_is_safe(tiny_guard: Embedded) -> None:
    """A guard that misses what is harmful cannot be told from one that sees nothing; the remedy names both."""
    with LlamaGuard(host=tiny_guard) as guard:
        report = guard.self_test()
    assert ["ok", "wrong", "wrong", "ok"] == statuses(report)[:4]
    assert "ProbeTexts(" in report.findings[1].remedy


def test_a_wrong_key_is_found(tiny_guard: Embedded) -> None:
    host = replace(tiny_guard.host, server=None, base_url=tiny_guard.base_url, api_key="wrong", adds_bos=False)
    with LlamaGuard(host=host, model=tiny_guard.model, max_retries=0) as guard:
        report = guard.self_test(KNOWN)
    assert ["wrong", *["unknown"] * 5] == statuses(report)
    assert "api_key=" in report.findings[0].remedy


def test_a_context_that_is_too_short_is_found(tiny_guard_path: Path) -> None:
    texts = ProbeTexts(harmless="which wood is this " * 200)
    with Embedded(tiny_guard_path, model="llama-guard-4", context_tokens=512) as host, LlamaGuard(host=host) as guard:
        report = guard.self_test(texts)
    assert "context" in report.findings[0].detail
    assert "Embedded(context_tokens=)" in report.findings[0].remedy


def test_the_command_line_serves_a_file_and_tests_it(tiny_guard_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["self-test", "--gguf", str(tiny_guard_path), "--version", "4"]
    told = ["--harmless", KNOWN.harmless, "--harmful", KNOWN.harmful, "--refusal", KNOWN.refusal]
    assert 0 == main([*words, *told, "--json"])
    assert json.loads(capsys.readouterr().out)["ok"]
    assert 1 == main([*words, "--template-prompt"])
    assert "What to do" in capsys.readouterr().out
