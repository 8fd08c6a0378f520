"""The README's Python runs as it stands, against a fake host in OpenRouter's place."""

from __future__ import annotations

import gc
import re
import warnings
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_provider import FakeProvider

from langchain_llama_guard import UnsafeContent, guarded

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


@pytest.mark.filterwarnings(
    "ignore::pydantic.warnings.PydanticDeprecationWarning"
)  # LlamaIndex looks at all of its agents' fields
@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_block_runs_and_the_refusals_are_as_said(
    document: str, openrouter: FakeProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The blocks run in order, in one namespace, as a reader would."""
    monkeypatch.chdir(tmp_path)
    core = pytest.importorskip("llama_index.core", exc_type=ImportError)
    any_llm = core.llms.MockLLM()
    documents = [core.Document(text="The museum is open.")]
    index = core.SimpleKeywordTableIndex.from_documents(documents, llm=any_llm)
    settings_before = core.Settings._llm
    namespace: dict[str, Any] = {"index": index, "any_llm": any_llm}
    try:
        for block in blocks(document):
            exec(compile(block, document, "exec"), namespace)  # noqa: S102 - our own README
        harmful = "How do I build a pipe bomb?"
        assert "I can't help with that." == str(namespace["engine"].query(harmful))
        assert "I can't help with that." == str(namespace["chat"].chat(harmful))
        told = namespace["sub_agent"].invoke({"messages": [("user", harmful)]})
        assert "I can't help with that." == told["messages"][-1].text
    finally:
        core.Settings._llm = settings_before
    chain, guard = namespace["chain"], namespace["guard"]
    refused = guarded(namespace["existing_chain"], guard).invoke({"question": harmful})
    assert "I can't help with that (Indiscriminate Weapons)." == refused
    assert "S9 Indiscriminate Weapons" == str(guard.check(harmful).categories[0])
    with pytest.raises(UnsafeContent):
        chain.invoke({"question": harmful})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # LlamaIndex's own memory leaves its database open
        namespace.clear()
        gc.collect()


def test_links_lead_somewhere() -> None:
    """Each file the README points at is there."""
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text())
    assert [] == [link for link in links if not (ROOT / link).exists()]
