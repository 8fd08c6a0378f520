"""What a verdict cache asks of whatever keeps its entries."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class VerdictStore(Protocol):
    """Keeps bytes under keys, for more than one process or for longer than one lives.

    It understands nothing of what it keeps. `VerdictCache` writes the entries, tells whether one may still be used, and
    takes whatever a store raises as a miss. So a store may lose entries, give outdated or damaged ones, and fail. It
    must not wait long, and it must be safe for threads.

    A key is 64 hexadecimal characters: a digest. An entry is a few hundred bytes of ASCII.
    """

    def get(self, key: str) -> bytes | None:
        """The entry kept under a key; None if there is none."""

    async def aget(self, key: str) -> bytes | None:
        """The entry kept under a key; None if there is none."""

    def put(self, key: str, entry: bytes, *, max_age: float | None) -> None:
        """Keep an entry, in place of an older one.

        Args:
            key: what it is kept under.
            entry: what is kept.
            max_age: seconds for which it is worth keeping; None for ever. A store that knows no expiry passes over it.
        """

    async def aput(self, key: str, entry: bytes, *, max_age: float | None) -> None:
        """Keep an entry, in place of an older one."""

    def close(self) -> None:
        """Close what sync calls have opened. The next call opens it again."""

    async def aclose(self) -> None:
        """Close what async calls of the running event loop have opened. The next call opens it again."""
