"""The README's Python runs as it stands, against a fake host in OpenRouter's place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_provider import FakeProvider

from langchain_llama_guard import UnsafeContent

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md",)


@pytest.fixture
def openrouter(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Whatever goes out by httpx reaches the fake host."""
    provider = FakeProvider(guard={"pipe bomb": "S9"})

    async def handle_async(_: Any, request: httpx.Request) -> httpx.Response:
        await request.aread()
        return provider.handle(request)

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", lambda _, request: provider.handle(request))
    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle_async)
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-readme")
    yield provider
    assert [] == provider.violations


def blocks(document: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_block_runs_and_the_refusals_are_as_said(document: str, openrouter: FakeProvider) -> None:
    """The blocks run in order, in one namespace, as a reader would."""
    namespace: dict[str, Any] = {}
    for block in blocks(document):
        exec(compile(block, document, "exec"), namespace)  # noqa: S102 - our own README
    chain, guard = namespace["chain"], namespace["guard"]
    refused = namespace["guarded"](namespace["existing_chain"], guard).invoke(
        {"question": "How do I build a pipe bomb?"}
    )
    assert "I can't help with that (Indiscriminate Weapons)." == refused
    assert "S9 Indiscriminate Weapons" == str(guard.check("How do I build a pipe bomb?").categories[0])
    with pytest.raises(UnsafeContent):
        chain.invoke({"question": "How do I build a pipe bomb?"})


def test_links_lead_somewhere() -> None:
    """Each file the README points at is there."""
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text())
    assert [] == [link for link in links if not (ROOT / link).exists()]
