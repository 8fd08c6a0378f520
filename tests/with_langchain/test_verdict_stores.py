"""Verdicts in LangChain's byte stores and in LangGraph's store: what is true of every store, and what is theirs."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from core.verdict_stores.contract import ENTRY, KEY, SECRETS, StoreContract
from langchain_core.stores import BaseStore, InMemoryByteStore
from langgraph.store.base import GetOp, PutOp
from langgraph.store.memory import InMemoryStore

from langchain_llama_guard import ByteStoreVerdicts, GraphStoreVerdicts


class FolderStore(BaseStore[str, bytes]):
    """As strict about keys as LangChain's `LocalFileStore`, and as it keeps each entry in a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        return [self._read(key) for key in keys]

    def mset(self, key_value_pairs: Sequence[tuple[str, bytes]]) -> None:
        for key, value in key_value_pairs:
            self._path(key).parent.mkdir(exist_ok=True)
            self._path(key).write_bytes(value)

    def mdelete(self, keys: Sequence[str]) -> None:
        raise NotImplementedError

    def yield_keys(self, *, prefix: str | None = None) -> Iterator[str]:
        raise NotImplementedError

    def _read(self, key: str) -> bytes | None:
        try:
            return self._path(key).read_bytes()
        except FileNotFoundError:
            return None

    def _path(self, key: str) -> Path:
        assert re.fullmatch(r"[a-zA-Z0-9_.\-/]+", key)
        return self.folder / key


class Broken(InMemoryByteStore):
    def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        raise OSError

    amget = mset = amset = mget  # type: ignore[assignment]


class InMemory:
    expires = False
    copies_share = False
    pickles = True

    def __init__(self) -> None:
        self.inner = InMemoryByteStore()

    def open(self) -> ByteStoreVerdicts:
        return ByteStoreVerdicts(self.inner)

    def unreachable(self) -> ByteStoreVerdicts:
        return ByteStoreVerdicts(Broken())

    def corrupt(self, key: str) -> None:
        self.inner.store[f"llama-guard-verdicts/{key}"] = "a text"  # type: ignore[assignment]


class InFiles:
    expires = False
    copies_share = True
    pickles = True

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self) -> ByteStoreVerdicts:
        return ByteStoreVerdicts(FolderStore(self.folder))

    def unreachable(self) -> ByteStoreVerdicts:
        (self.folder / "no-folder").touch()
        return ByteStoreVerdicts(FolderStore(self.folder / "no-folder"))

    def corrupt(self, key: str) -> None:
        (self.folder / "llama-guard-verdicts" / key).symlink_to(self.folder / "nowhere")


class InAGraphsStore:
    expires = False
    copies_share = False
    pickles = False

    def __init__(self, inner: InMemoryStore) -> None:
        self.inner = inner

    def open(self) -> GraphStoreVerdicts:
        return GraphStoreVerdicts(self.inner)

    def unreachable(self) -> GraphStoreVerdicts:
        return GraphStoreVerdicts(self.inner, namespace=("no.name",))

    def corrupt(self, key: str) -> None:
        self.inner.put(("llama_guard_verdicts",), key, {"entry": ["no", "text"]})


class TestByteStore(StoreContract):
    @pytest.fixture
    def kind(self) -> InMemory:
        return InMemory()


class TestFiles(StoreContract):
    @pytest.fixture
    def kind(self, tmp_path: Path) -> InFiles:
        (tmp_path / SECRETS[1]).mkdir()
        return InFiles(tmp_path / SECRETS[1])


class TestGraphStore(StoreContract):
    @pytest.fixture
    def kind(self) -> InAGraphsStore:
        return InAGraphsStore(InMemoryStore())


class Forgetful(InMemoryStore):
    """Supports expiry, as LangGraph's database stores do, and writes down what it is asked to do."""

    supports_ttl = True

    def __init__(self) -> None:
        super().__init__()
        self.ages: list[float | None] = []
        self.refreshed: list[bool] = []

    def batch(self, ops: Any) -> Any:
        self.ages += [op.ttl for op in ops if isinstance(op, PutOp)]
        self.refreshed += [op.refresh_ttl for op in ops if isinstance(op, GetOp)]
        return super().batch(ops)

    async def abatch(self, ops: Any) -> Any:
        return self.batch(ops)


async def test_a_graphs_store_is_told_minutes_which_reading_does_not_prolong() -> None:
    inner = Forgetful()
    store = GraphStoreVerdicts(inner)
    store.put(KEY, ENTRY, max_age=90)
    await store.aput(KEY, ENTRY, max_age=None)
    assert ENTRY == store.get(KEY) == await store.aget(KEY)
    assert ([1.5, None], [False, False]) == (inner.ages, inner.refreshed)


def test_a_graphs_store_finds_no_verdicts_by_meaning() -> None:
    embedded: list[str] = []

    def embed(texts: Sequence[str]) -> list[list[float]]:
        embedded.extend(texts)
        return [[0.0] for _ in texts]

    GraphStoreVerdicts(InMemoryStore(index={"dims": 1, "embed": embed})).put(KEY, ENTRY)
    assert [] == embedded


def test_keys_may_have_a_prefix_of_ones_own() -> None:
    inner = InMemoryByteStore()
    ByteStoreVerdicts(inner, prefix="mine-").put(KEY, ENTRY)
    assert {f"mine-{KEY}": ENTRY} == inner.store


def test_other_text_than_ascii_is_no_entry() -> None:
    inner = InMemoryStore()
    inner.put(("llama_guard_verdicts",), KEY, {"entry": "\xe9"})
    assert GraphStoreVerdicts(inner).get(KEY) is None


def test_it_is_there_without_langgraph() -> None:
    code = "import sys; sys.modules['langgraph'] = None; from langchain_llama_guard import GraphStoreVerdicts"
    assert 0 == subprocess.run([sys.executable, "-c", code], check=False).returncode
