"""Verdicts in one file, for all processes of a machine and for after they have ended."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from threading import Lock
from time import monotonic, sleep, time
from typing import Any, TypeVar
from weakref import WeakSet

from llama_guard_core.errors import ConfigurationError

T = TypeVar("T")

_PAUSE_SECONDS = 0.002
_MARKS = (0x4C475643, 1)  # "LGVC", and the version of the schema
_UNMARKED = (0, 0)

_SCHEMA = (
    "CREATE TABLE verdicts (written INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, entry BLOB NOT NULL, expires REAL)",
    "CREATE INDEX verdicts_by_expiry ON verdicts (expires) WHERE expires IS NOT NULL",
    f"PRAGMA application_id = {_MARKS[0]}",
    f"PRAGMA user_version = {_MARKS[1]}",
)
_GET = "SELECT entry FROM verdicts WHERE key = ? AND (expires IS NULL OR expires > ?)"
_PUT = "INSERT OR REPLACE INTO verdicts (key, entry, expires) VALUES (?, ?, ?)"
# So many at a time that a put stays short where a million have expired, or where the limit was lowered.
_DROP_EXPIRED = "DELETE FROM verdicts WHERE written IN (SELECT written FROM verdicts WHERE expires <= ? LIMIT 64)"
_DROP_OLDEST = "DELETE FROM verdicts WHERE written IN (SELECT written FROM verdicts WHERE written <= ? LIMIT 64)"


class SQLiteStore:
    """Keeps the entries of a `VerdictCache` in an SQLite file, for threads, event loops and processes of one machine.

    The file is made at the first use, readable by its owner alone; its folder must be there. A file that is something
    else, of another version or damaged is left as it is: every call then raises, which is a miss to the cache. Where
    others may write to the file, give the cache a `secret`: they decide verdicts without one. Not for network drives:
    SQLite's write-ahead log needs the memory of one machine.

    Async calls do the same on the event loop, without threads: a get takes about 10 microseconds and a put about 50,
    with now and then some milliseconds when SQLite moves its log into the file. A get never waits for another
    process's put. A put does, the async one by sleeping on the loop.

    A row that has expired is a miss, and later puts delete it. A file of a million entries of 300 bytes takes half a
    gigabyte; the space of deleted ones is used again and not given back.

    Args:
        path: the file.
        max_entries: how many of the latest writes are kept: the entry that was written longest ago goes first; None
            for no limit. A lower limit than the file's was takes effect over the next puts.
        patience: seconds to wait for another process's lock before `sqlite3.OperationalError`.

    Raises:
        ConfigurationError: a setting is wrong.

    Example:
        ```python
        guard = LlamaGuard(cache=VerdictCache(store=SQLiteStore("verdicts.db")))
        ```
    """

    def __init__(
        self, path: str | os.PathLike[str], *, max_entries: int | None = 1_000_000, patience: float = 0.1
    ) -> None:
        self._connection: sqlite3.Connection | None = None
        if str(path) in {"", ":memory:"}:
            msg = "SQLiteStore needs the path of a file; a VerdictCache without a store is one in memory"
            raise ConfigurationError(msg)
        if max_entries is not None and max_entries < 1:
            msg = "max_entries must be 1 or more, or None for no limit"
            raise ConfigurationError(msg)
        if not patience >= 0:
            msg = "patience is seconds: 0 or more"
            raise ConfigurationError(msg)
        self.path = Path(path).absolute()
        self.max_entries = max_entries
        self.patience = patience
        _stores.add(self)

    def get(self, key: str) -> bytes | None:
        """The entry kept under a key; None if there is none."""
        return _done(self._attempts(partial(_read, key)))

    async def aget(self, key: str) -> bytes | None:
        """The entry kept under a key; None if there is none."""
        return await _adone(self._attempts(partial(_read, key)))

    def put(self, key: str, entry: bytes, *, max_age: float | None = None) -> None:
        """Keep an entry, in place of an older one, for `max_age` seconds at most."""
        _done(self._attempts(partial(_write, key, entry, max_age, self.max_entries)))

    async def aput(self, key: str, entry: bytes, *, max_age: float | None = None) -> None:
        """Keep an entry, in place of an older one, for `max_age` seconds at most."""
        await _adone(self._attempts(partial(_write, key, entry, max_age, self.max_entries)))

    def close(self) -> None:
        """Close the file. The next call opens it again."""
        with _lock:
            self._disconnect()

    async def aclose(self) -> None:
        """Close the file. The next call opens it again."""
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path.name!r}, max_entries={self.max_entries}, patience={self.patience})"

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), max_entries=self.max_entries, patience=self.patience), (self.path,)

    def __del__(self) -> None:
        self._disconnect()

    def _attempts(self, work: Callable[[sqlite3.Connection], T]) -> Generator[float, None, T]:
        """Do something as soon as the file is free; yields the seconds to sleep before the next attempt."""
        deadline = monotonic() + self.patience
        while True:
            try:
                return self._attempt(work)
            except sqlite3.OperationalError as error:
                left = deadline - monotonic()
                if not _is_busy(error) or left <= 0:
                    raise
            yield min(_PAUSE_SECONDS, left)

    def _attempt(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with _lock:
            try:
                if self._connection is None:
                    self._connection = _open(self.path)
                return work(self._connection)
            except sqlite3.Error as error:
                if not _is_busy(error):
                    self._disconnect()
                raise

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _read(key: str, connection: sqlite3.Connection) -> bytes | None:
    row = connection.execute(_GET, (key, time())).fetchone()
    return row[0] if row is not None and isinstance(row[0], bytes) else None


def _write(
    key: str, entry: bytes, max_age: float | None, max_entries: int | None, connection: sqlite3.Connection
) -> None:
    now = time()
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        row = (key, entry, None if max_age is None else now + max_age)
        written = connection.execute(_PUT, row).lastrowid or 0
        connection.execute(_DROP_EXPIRED, (now,))
        if max_entries is not None:
            connection.execute(_DROP_OLDEST, (written - max_entries,))


def _open(path: Path) -> sqlite3.Connection:
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        _prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    if _marks(connection) == _UNMARKED:
        _make_tables(connection)
    if _marks(connection) != _MARKS:
        msg = "the file holds something else than verdicts, or those of another version: choose another path"
        raise sqlite3.DatabaseError(msg)
    connection.execute("PRAGMA synchronous = NORMAL")


def _make_tables(connection: sqlite3.Connection) -> None:
    """Make them where there is nothing yet: another process may be doing the same."""
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
        return
    connection.execute("PRAGMA journal_mode = WAL")
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
            for statement in _SCHEMA:
                connection.execute(statement)


def _marks(connection: sqlite3.Connection) -> tuple[int, int]:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return application, version


def _is_busy(error: sqlite3.Error) -> bool:
    return "locked" in str(error)


def _done(attempts: Generator[float, None, T]) -> T:
    while True:
        try:
            pause = next(attempts)
        except StopIteration as done:
            result: T = done.value
            return result
        sleep(pause)


async def _adone(attempts: Generator[float, None, T]) -> T:
    while True:
        try:
            pause = next(attempts)
        except StopIteration as done:
            result: T = done.value
            return result
        import asyncio  # noqa: PLC0415 (only who has to wait needs it)

        await asyncio.sleep(pause)


# One lock for all stores of the process: it is held for microseconds. It is also held while a file is made and opened,
# since closing any handle of a file takes away all locks that the process has on it, SQLite's too.
_lock = Lock()
_stores: WeakSet[SQLiteStore] = WeakSet()


def _before_fork() -> None:
    """A child must not touch, nor even close, a connection that its parent opened: both open new ones."""
    _lock.acquire()
    for store in list(_stores):
        store._disconnect()  # noqa: SLF001 (it is ours)


def _in_parent() -> None:
    _lock.release()


def _in_child() -> None:
    global _lock  # noqa: PLW0603 (the parent's is held)
    _lock = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)
