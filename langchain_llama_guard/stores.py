"""Verdicts kept in LangChain's byte stores and in LangGraph's store, behind a `VerdictCache`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.stores import BaseStore

if TYPE_CHECKING:
    from langgraph.store.base import BaseStore as GraphStore

_FIELD = "entry"


class _YoursToClose:
    def close(self) -> None:
        """Do nothing: the store is yours."""

    async def aclose(self) -> None:
        """Do nothing: the store is yours."""


class ByteStoreVerdicts(_YoursToClose):
    """Keeps the entries of a `VerdictCache` in any `BaseStore[str, bytes]` of LangChain, also called a `ByteStore`.

    Such a store knows no expiry: an outdated entry stays there, and the cache, which reads the time in the entry,
    passes over it. Nothing is ever deleted, so it grows with the questions asked. An async call is as async as the
    store's `amget` and `amset`; those it has not made itself run in LangChain's threads. The store is yours to close.

    Args:
        store: the store, such as `InMemoryByteStore`, `LocalFileStore`, or `RedisStore` of langchain-community.
        prefix: what keys begin with. The default makes a folder of its own in a `LocalFileStore`.

    Example:
        ```python
        guard = LlamaGuard(cache=VerdictCache(store=ByteStoreVerdicts(LocalFileStore("verdicts"))))
        ```
    """

    def __init__(self, store: BaseStore[str, bytes], *, prefix: str = "llama-guard-verdicts/") -> None:
        self.store = store
        self.prefix = prefix

    def get(self, key: str) -> bytes | None:
        """The entry kept under a key; None if there is none, or something else."""
        return _entry(*self.store.mget([self.prefix + key]))

    async def aget(self, key: str) -> bytes | None:
        """The entry kept under a key; None if there is none, or something else."""
        return _entry(*await self.store.amget([self.prefix + key]))

    def put(self, key: str, entry: bytes, *, max_age: float | None = None) -> None:  # noqa: ARG002 (it has no expiry)
        """Keep an entry, in place of an older one."""
        self.store.mset([(self.prefix + key, entry)])

    async def aput(self, key: str, entry: bytes, *, max_age: float | None = None) -> None:  # noqa: ARG002 (as above)
        """Keep an entry, in place of an older one."""
        await self.store.amset([(self.prefix + key, entry)])

    def __repr__(self) -> str:
        return f"{type(self).__name__}({type(self.store).__name__}, prefix={self.prefix!r})"


class GraphStoreVerdicts(_YoursToClose):
    """Keeps the entries of a `VerdictCache` in a LangGraph `BaseStore`, the one a graph's long-term memory is in.

    Where the store supports it, an entry goes when it is too old. Entries are not indexed for search. Some async stores
    refuse sync calls from their own event loop, which is a miss; use `acheck` there. The store is yours to close.

    Args:
        store: the store, such as `InMemoryStore` or `PostgresStore` of LangGraph.
        namespace: where entries are put in it.
    """

    def __init__(self, store: GraphStore, *, namespace: tuple[str, ...] = ("llama_guard_verdicts",)) -> None:
        self.store = store
        self.namespace = namespace

    def get(self, key: str) -> bytes | None:
        """The entry kept under a key; None if there is none, or something else."""
        return _written_in(self.store.get(self.namespace, key, refresh_ttl=False))

    async def aget(self, key: str) -> bytes | None:
        """The entry kept under a key; None if there is none, or something else."""
        return _written_in(await self.store.aget(self.namespace, key, refresh_ttl=False))

    def put(self, key: str, entry: bytes, *, max_age: float | None = None) -> None:
        """Keep an entry, in place of an older one."""
        self.store.put(self.namespace, key, {_FIELD: entry.decode("ascii")}, index=False, ttl=self._minutes(max_age))

    async def aput(self, key: str, entry: bytes, *, max_age: float | None = None) -> None:
        """Keep an entry, in place of an older one."""
        value = {_FIELD: entry.decode("ascii")}
        await self.store.aput(self.namespace, key, value, index=False, ttl=self._minutes(max_age))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({type(self.store).__name__}, namespace={self.namespace!r})"

    def _minutes(self, seconds: float | None) -> float | None:
        return seconds / 60 if seconds is not None and self.store.supports_ttl else None


def _entry(value: object) -> bytes | None:
    return value if isinstance(value, bytes) else None


def _written_in(item: Any) -> bytes | None:
    text = item.value.get(_FIELD) if item is not None and isinstance(item.value, dict) else None
    return text.encode("ascii") if isinstance(text, str) and text.isascii() else None
