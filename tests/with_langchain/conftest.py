"""What the tests of the LangChain half share."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from fake_provider import FakeProvider
from langchain_tests.conftest import base_vcr_config
from pytest_asyncio import is_async_test
from pytest_benchmark.fixture import BenchmarkFixture

from langchain_llama_guard import ChatLlamaScout


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Classes that say so run in one event loop; a mark on them would be refused for their sync tests."""
    for item in items:
        if getattr(getattr(item, "cls", None), "one_event_loop", False) and is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture
def benchmark(benchmark: BenchmarkFixture) -> BenchmarkFixture:
    """The standard suites' benchmarks are run once, for what they do and not for how long it takes."""
    benchmark.disabled = True
    return benchmark


@pytest.fixture(scope="session")
def vcr_config() -> dict[str, Any]:
    """Cassettes hold no key. Delete them, and the next run records them again, from the fake host."""
    return {**base_vcr_config(), "cassette_library_dir": str(Path(__file__).parent / "cassettes")}


@pytest.fixture
def scout(provider: FakeProvider) -> Callable[..., ChatLlamaScout]:
    """Makes models that reach the fake host without a socket."""

    def make(**settings: Any) -> ChatLlamaScout:
        clients = {"http_client": provider.client(), "http_async_client": provider.async_client()}
        return ChatLlamaScout(**{"api_key": "sk-or-v1-test", **clients, **settings})

    return make


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that would have been waited; the clock does not wait."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(time, "sleep", waited.append)
    monkeypatch.setattr(anyio, "sleep", sleep)
    return waited
