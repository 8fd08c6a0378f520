"""Where the stores under test keep things."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from core.verdict_stores.contract import SECRETS
from core.verdict_stores.redis_server import RedisServer

from llama_guard_core.verdict_stores import SQLiteStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a file may be made."""
    (tmp_path / SECRETS[1]).mkdir()
    return tmp_path / SECRETS[1] / "verdicts.db"


@pytest.fixture
def file_store(path: Path) -> Iterator[SQLiteStore]:
    """A store in that file."""
    with closing(SQLiteStore(path)) as store:
        yield store


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that stays up."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()
