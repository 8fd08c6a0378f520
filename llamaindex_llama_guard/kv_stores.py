"""Verdicts kept in LlamaIndex's key-value stores, behind a `VerdictCache`."""

from __future__ import annotations

from typing import Any

from llama_index.core.storage.kvstore.types import BaseKVStore

_FIELD = "entry"


class KVStoreVerdicts:
    """Keeps the entries of a `VerdictCache` in any key-value store of LlamaIndex.

    Such a store knows no expiry: an outdated entry stays there, and the cache, which reads the time in the entry,
    passes over it. Nothing is ever deleted, so it grows with the questions asked. A `SimpleKVStore` is in memory; it
    can be written to a file with its own `persist`. The store is yours to close.

    Args:
        kvstore: the store, such as `SimpleKVStore` or one of LlamaIndex's integrations.
        collection: where entries are put in it.

    Example:
        ```python
        guard = LlamaGuard(cache=VerdictCache(store=KVStoreVerdicts(SimpleKVStore())))
        ```
    """

    def __init__(self, kvstore: BaseKVStore, *, collection: str = "llama_guard_verdicts") -> None:
        self.kvstore = kvstore
        self.collection = collection

    def get(self, key: str) -> bytes | None:
        """The entry kept under a key; None if there is none, or something else."""
        return _written_in(self.kvstore.get(key, collection=self.collection))

    async def aget(self, key: str) -> bytes | None:
        """The entry kept under a key; None if there is none, or something else."""
        return _written_in(await self.kvstore.aget(key, collection=self.collection))

    def put(self, key: str, entry: bytes, *, max_age: float | None = None) -> None:  # noqa: ARG002 (it has no expiry)
        """Keep an entry, in place of an older one."""
        self.kvstore.put(key, {_FIELD: entry.decode("ascii")}, collection=self.collection)

    async def aput(self, key: str, entry: bytes, *, max_age: float | None = None) -> None:  # noqa: ARG002 (as above)
        """Keep an entry, in place of an older one."""
        await self.kvstore.aput(key, {_FIELD: entry.decode("ascii")}, collection=self.collection)

    def close(self) -> None:
        """Do nothing: the store is yours."""

    async def aclose(self) -> None:
        """Do nothing: the store is yours."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({type(self.kvstore).__name__}, collection={self.collection!r})"


def _written_in(value: Any) -> bytes | None:
    text = value.get(_FIELD) if isinstance(value, dict) else None
    return text.encode("ascii") if isinstance(text, str) and text.isascii() else None
