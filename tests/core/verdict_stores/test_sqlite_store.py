"""Verdicts in a file: what is true of every store, and what is this one's own."""

from __future__ import annotations

import stat
from contextlib import closing
from pathlib import Path

import pytest
from core.verdict_stores.contract import ENTRY, KEY, StoreContract
from core.verdict_stores.sqlite_files import key, raw, rows

from llama_guard_core.errors import ConfigurationError
from llama_guard_core.verdict_stores import SQLiteStore


class InAFile:
    expires = True
    copies_share = True
    pickles = True

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self) -> SQLiteStore:
        return SQLiteStore(self._path)

    def unreachable(self) -> SQLiteStore:
        taken = self._path.with_name("taken.db")
        taken.mkdir()
        return SQLiteStore(taken)

    def corrupt(self, key: str) -> None:
        with raw(self._path) as connection:
            connection.execute("INSERT INTO verdicts (key, entry) VALUES (?, 'a text')", (key,))


class TestEveryStore(StoreContract):
    @pytest.fixture
    def kind(self, path: Path) -> InAFile:
        return InAFile(path)


@pytest.mark.parametrize("path", ["", ":memory:"])
def test_what_is_no_file_is_refused(path: str) -> None:
    with pytest.raises(ConfigurationError, match="path of a file"):
        SQLiteStore(path)


@pytest.mark.parametrize("wrong", [{"max_entries": 0}, {"patience": -1}, {"patience": float("nan")}])
def test_wrong_settings_are_refused(path: Path, wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        SQLiteStore(path, **wrong)  # type: ignore[arg-type]


def test_a_constructor_makes_no_file(path: Path) -> None:
    SQLiteStore(path)
    assert not path.exists()


def test_a_relative_path_stays_where_it_was_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(SQLiteStore("here.db")) as store:
        monkeypatch.chdir("/")
        store.put(KEY, ENTRY)
    assert (tmp_path / "here.db").exists()


def test_only_the_owner_can_read_what_is_made(path: Path, file_store: SQLiteStore) -> None:
    file_store.put(KEY, ENTRY)
    made = list(path.parent.iterdir())
    assert {"verdicts.db", "verdicts.db-wal", "verdicts.db-shm"} == {file.name for file in made}
    assert {0o600} == {stat.S_IMODE(file.stat().st_mode) for file in made}


def test_the_rights_of_a_file_that_was_there_are_left(path: Path, file_store: SQLiteStore) -> None:
    path.touch()
    path.chmod(0o640)
    file_store.put(KEY, ENTRY)
    assert 0o640 == stat.S_IMODE(path.stat().st_mode)


def test_a_folder_that_is_missing_is_not_made(path: Path) -> None:
    with pytest.raises(OSError):
        SQLiteStore(path.parent / "none" / "verdicts.db").get(KEY)


def test_later_puts_delete_what_has_expired(path: Path, file_store: SQLiteStore) -> None:
    for number in range(5):
        file_store.put(key(number), ENTRY, max_age=-1)
    file_store.put(KEY, ENTRY, max_age=60)
    assert 1 == rows(path)


def test_the_latest_writes_are_kept_up_to_the_limit(path: Path) -> None:
    with closing(SQLiteStore(path, max_entries=10)) as store:
        for number in range(25):
            store.put(key(number), ENTRY)
        assert list(range(15, 25)) == [number for number in range(25) if store.get(key(number)) is not None]
    assert 10 == rows(path)


def test_what_was_written_again_is_a_late_write(path: Path) -> None:
    with closing(SQLiteStore(path, max_entries=2)) as store:
        for number in (0, 1, 0, 2):
            store.put(key(number), ENTRY)
        assert [ENTRY, None, ENTRY] == [store.get(key(number)) for number in range(3)]


def test_a_lower_limit_takes_effect_bit_by_bit(path: Path, file_store: SQLiteStore) -> None:
    for number in range(200):
        file_store.put(key(number), ENTRY)
    with closing(SQLiteStore(path, max_entries=10)) as lower:
        counts = []
        for number in range(5):
            lower.put(key(200 + number), ENTRY)
            counts.append(rows(path))
    assert [137, 74, 11, 10, 10] == counts


def test_it_may_grow_without_a_limit(path: Path) -> None:
    with closing(SQLiteStore(path, max_entries=None)) as store:
        for number in range(50):
            store.put(key(number), ENTRY)
    assert 50 == rows(path)


def test_one_that_is_forgotten_is_closed(path: Path) -> None:
    store = SQLiteStore(path)
    store.put(KEY, ENTRY)
    del store
    assert ["verdicts.db"] == [file.name for file in path.parent.iterdir()]
