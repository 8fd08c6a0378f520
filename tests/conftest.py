"""What every test may ask for. Only this machine can be reached."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fake_provider import FakeProvider


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    """A fake host that holds the test to the real API's rules."""
    provider = FakeProvider()
    yield provider
    assert [] == provider.violations
    assert 0 == provider.responses_open


@pytest.fixture(autouse=True)
def _no_key_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key in the environment would send tests to a real host, and LangSmith's would send their texts away."""
    for variable in ("OPENROUTER_API_KEY", "LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2", "LANGSMITH_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
