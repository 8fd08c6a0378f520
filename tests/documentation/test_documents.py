"""The Python in the documents about stores, failures, bulk moderation and evaluation runs as it stands."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fake_provider import FakeProvider
from langchain_core.stores import InMemoryByteStore

from langchain_llama_guard import Host
from llama_guard_core.cli.command_line import parser
from llama_guard_core.evaluation.mapping import DatasetMapping, shipped_mappings

DOCUMENTS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("document", ["verdict-cache.md", "reliability.md"])
def test_its_blocks_run(document: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (DOCUMENTS / document).read_text(), re.DOTALL)
    assert blocks
    namespace = {"any_byte_store": InMemoryByteStore(), "Host": Host}
    for block in blocks:
        exec(compile(block, document, "exec"), namespace)  # noqa: S102 - our own documents


@pytest.fixture
def openrouter(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeProvider]:
    """Whatever goes out by httpx reaches the fake host."""
    provider = FakeProvider()
    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", lambda _, request: provider.handle(request))
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-document")
    yield provider
    assert [] == provider.violations


@pytest.mark.usefixtures("openrouter")
@pytest.mark.parametrize(
    ("document", "shown"),
    [
        ("bulk.md", "0 True\n1 True\n"),
        ("evaluation.md", "1.0 0.20654931437"),
    ],
)
def test_its_blocks_show_what_is_said(
    document: str,
    shown: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for block in re.findall(r"```python\n(.*?)```", (DOCUMENTS / document).read_text(), re.DOTALL):
        exec(compile(block, document, "exec"), {})  # noqa: S102 - our own documents
    assert capsys.readouterr().out.startswith(shown)


def test_the_mapping_in_the_document_is_one() -> None:
    [block] = re.findall(r"```json\n(.*?)```", (DOCUMENTS / "evaluation.md").read_text(), re.DOTALL)
    assert "our replies" == DatasetMapping.from_mapping(json.loads(block)).name


def test_every_public_set_and_every_key_of_a_mapping_is_named_in_the_document() -> None:
    text = (DOCUMENTS / "evaluation.md").read_text()
    assert [] == [name for name in (*shipped_mappings(), *DatasetMapping.model_fields) if f"`{name}`" not in text]


COMMAND = re.compile(r"^(?:[a-z]+ [\w.]+ \| )?llama-guard (.*?)(?:\s+#.*|\s+\|.*)?$", re.MULTILINE)


@pytest.mark.parametrize("document", ["bulk.md", "evaluation.md", "batch.md", "../README.md"])
def test_every_command_is_one_that_is_understood(document: str) -> None:
    blocks = re.findall(r"```bash\n(.*?)```", (DOCUMENTS / document).read_text(), re.DOTALL)
    commands = [command for block in blocks for command in COMMAND.findall(block)]
    assert commands
    for command in commands:
        assert callable(parser().parse_args(shlex.split(command)).run), command
