"""The Python in the document about batches runs as it stands, against a fake Batch API in OpenRouter's place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_provider import FakeProvider
from fake_provider.batches import FakeBatches

DOCUMENT = Path(__file__).parents[2] / "docs" / "batch.md"


@pytest.fixture
def openrouter(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Whatever goes out by httpx reaches the fake host, and nothing is waited for."""
    batches = FakeBatches(FakeProvider(guard={"pipe bomb": "S9"}))

    async def handle_async(_: Any, request: httpx.Request) -> httpx.Response:
        await request.aread()
        return batches.handle(request)

    async def at_once(_: float) -> None:
        pass

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", lambda _, request: batches.handle(request))
    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle_async)
    monkeypatch.setattr("llama_guard_core.provider.batch_client.sleep", lambda _: None)
    monkeypatch.setattr("llama_guard_core.bulk.batched_checks.asleep", at_once)
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-document")
    yield batches
    assert [] == batches.violations


def test_every_block_runs(
    openrouter: FakeBatches, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("langchain_core")
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert 3 == len(blocks)
    for block in blocks:
        exec(compile(block, "batch.md", "exec"), namespace)  # noqa: S102 - our own document
    assert 3 == len(openrouter.jobs)
    assert 2 == capsys.readouterr().out.count("Verdict(safe=True")
    assert {"first", "second"} == {result.custom_id for result in namespace["results"]}
    assert "I can't help with that" in namespace["replies"]["second"].text
