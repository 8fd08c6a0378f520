"""The Python in the documents about stores and failures runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from langchain_core.stores import InMemoryByteStore

from langchain_llama_guard import Host

DOCUMENTS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("document", ["verdict-cache.md", "reliability.md"])
def test_its_blocks_run(document: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (DOCUMENTS / document).read_text(), re.DOTALL)
    assert blocks
    namespace = {"any_byte_store": InMemoryByteStore(), "Host": Host}
    for block in blocks:
        exec(compile(block, document, "exec"), namespace)  # noqa: S102 - our own documents
