"""What the tests of the LangChain half share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_tests.conftest import base_vcr_config
from pytest_asyncio import is_async_test
from pytest_benchmark.fixture import BenchmarkFixture


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
