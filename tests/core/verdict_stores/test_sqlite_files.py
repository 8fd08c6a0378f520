"""What locks and strange files do to a store of verdicts."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from threading import Thread

import pytest
from core.verdict_stores.contract import ENTRY, KEY, NEWER, OTHER
from core.verdict_stores.sqlite_files import key, raw, rows, writing

from llama_guard_core.verdict_stores import SQLiteStore


def test_a_get_does_not_wait_for_somebody_who_writes(path: Path, file_store: SQLiteStore) -> None:
    file_store.put(KEY, ENTRY)
    with writing(path) as connection:
        connection.execute("DELETE FROM verdicts")
        assert ENTRY == file_store.get(KEY)


@pytest.mark.parametrize("patience", [0, 0.05])
def test_a_put_gives_up_when_its_patience_is_over(path: Path, patience: float) -> None:
    with closing(SQLiteStore(path, patience=patience)) as store:
        store.put(KEY, ENTRY)
        with writing(path):
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                store.put(KEY, NEWER)
            assert ENTRY == store.get(KEY)
        store.put(KEY, NEWER)
        assert NEWER == store.get(KEY)


def test_a_file_that_is_locked_whole_is_given_up_too(path: Path) -> None:
    with raw(path) as connection, closing(SQLiteStore(path, patience=0.05)) as store:
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("CREATE TABLE other (a)")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            store.get(KEY)


def test_a_put_waits_until_somebody_has_written(path: Path) -> None:
    with closing(SQLiteStore(path, patience=60)) as store:
        store.put(KEY, ENTRY)
        with writing(path) as connection:
            waiting = Thread(target=store.put, args=(KEY, NEWER))
            waiting.start()
            waiting.join(0.05)
            assert waiting.is_alive()
            assert ENTRY == store.get(KEY), "and nobody else waits with it"
            connection.execute("COMMIT")
        waiting.join(30)
        assert not waiting.is_alive()
        assert NEWER == store.get(KEY)


async def test_the_event_loop_goes_on_while_a_put_waits(path: Path) -> None:
    with closing(SQLiteStore(path, patience=60)) as store:
        await store.aput(KEY, ENTRY)
        with writing(path) as connection:
            waiting = asyncio.create_task(store.aput(KEY, NEWER))
            await asyncio.sleep(0.02)
            assert not waiting.done()
            connection.execute("COMMIT")  # which the loop could not do if it were held
        await waiting
        assert NEWER == await store.aget(KEY)


async def test_a_put_that_is_cancelled_leaves_nothing_locked(path: Path) -> None:
    with closing(SQLiteStore(path, patience=60)) as store:
        store.put(KEY, ENTRY)
        with writing(path):
            waiting = asyncio.create_task(store.aput(KEY, NEWER))
            await asyncio.sleep(0.01)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        store.put(OTHER, ENTRY)
        assert ENTRY == store.get(KEY)


@pytest.mark.parametrize("statement", ["CREATE TABLE mine (a)", "PRAGMA user_version = 1", "PRAGMA application_id = 7"])
def test_a_file_of_somebody_else_is_left_as_it_is(path: Path, file_store: SQLiteStore, statement: str) -> None:
    with raw(path) as connection:
        connection.execute(statement)
    before = path.read_bytes()
    with pytest.raises(sqlite3.DatabaseError, match="choose another path"):
        file_store.put(KEY, ENTRY)
    assert before == path.read_bytes()


def test_a_file_of_another_version_is_left_as_it_is(path: Path) -> None:
    with closing(SQLiteStore(path)) as store:
        store.put(KEY, ENTRY)
    with raw(path) as connection:
        connection.execute("PRAGMA user_version = 2")
    with pytest.raises(sqlite3.DatabaseError, match="another version"):
        SQLiteStore(path).get(KEY)
    assert 1 == rows(path)


def test_a_file_that_is_no_database_is_left_as_it_is(path: Path, file_store: SQLiteStore) -> None:
    path.write_bytes(b"something else entirely " * 400)
    before = path.read_bytes()
    for _ in range(2):
        with pytest.raises(sqlite3.DatabaseError):
            file_store.put(KEY, ENTRY)
    assert before == path.read_bytes()


@pytest.mark.parametrize("page", range(1, 6))
def test_a_damaged_file_gives_what_was_written_or_nothing_or_an_error(path: Path, page: int) -> None:
    with closing(SQLiteStore(path)) as store:
        for number in range(60):
            store.put(key(number), ENTRY)
    with path.open("r+b") as file:
        file.seek(4096 * page)
        file.write(b"\xa5" * 4096)
    with closing(SQLiteStore(path)) as store:
        for number in range(60):
            with suppress(sqlite3.Error):
                assert store.get(key(number)) in {ENTRY, None}


def test_after_an_error_it_opens_again(path: Path, file_store: SQLiteStore) -> None:
    with raw(path) as connection:
        connection.execute("CREATE TABLE mine (a)")
        with pytest.raises(sqlite3.DatabaseError):
            file_store.get(KEY)
        connection.execute("DROP TABLE mine")
    file_store.put(KEY, ENTRY)
    assert ENTRY == file_store.get(KEY)
