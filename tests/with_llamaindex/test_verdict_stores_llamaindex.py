"""Verdicts in LlamaIndex's key-value stores: what is true of every store, and what is theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from core.verdict_stores.contract import ENTRY, KEY, OTHER, StoreContract
from llama_index.core.storage.kvstore import SimpleKVStore

from llamaindex_llama_guard import KVStoreVerdicts

COLLECTION = "llama_guard_verdicts"


class Broken(SimpleKVStore):
    def get(self, *_: Any, **__: Any) -> dict[str, Any] | None:
        raise OSError

    def put(self, *_: Any, **__: Any) -> None:
        raise OSError


class InMemory:
    expires = False
    copies_share = False
    pickles = True

    def __init__(self) -> None:
        self.inner = SimpleKVStore()

    def open(self) -> KVStoreVerdicts:
        return KVStoreVerdicts(self.inner)

    def unreachable(self) -> KVStoreVerdicts:
        return KVStoreVerdicts(Broken())

    def corrupt(self, key: str) -> None:
        self.inner.put(key, {"entry": 1}, collection=COLLECTION)


class TestSimpleKVStore(StoreContract):
    @pytest.fixture
    def kind(self) -> InMemory:
        return InMemory()


def test_what_was_persisted_is_read_again(tmp_path: Path) -> None:
    inner = SimpleKVStore()
    KVStoreVerdicts(inner).put(KEY, ENTRY, max_age=60)
    inner.persist(str(tmp_path / "kv.json"))
    assert ENTRY == KVStoreVerdicts(SimpleKVStore.from_persist_path(str(tmp_path / "kv.json"))).get(KEY)


def test_collections_keep_verdicts_apart() -> None:
    inner = SimpleKVStore()
    KVStoreVerdicts(inner).put(KEY, ENTRY)
    KVStoreVerdicts(inner, collection="mine").put(OTHER, ENTRY)
    assert {COLLECTION: [KEY], "mine": [OTHER]} == {name: [*kept] for name, kept in inner.to_dict().items()}


@pytest.mark.parametrize("wrong", [{}, {"entry": None}, {"entry": b"bytes"}, {"entry": "\xe9"}, {"other": "text"}])
async def test_what_is_no_entry_is_a_miss(wrong: dict[str, Any]) -> None:
    inner = SimpleKVStore()
    inner.put(KEY, wrong, collection=COLLECTION)
    store = KVStoreVerdicts(inner)
    assert store.get(KEY) is None
    assert await store.aget(KEY) is None
