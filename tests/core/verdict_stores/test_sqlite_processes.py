"""Verdicts in a file that several processes have open: together, killed, forked."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from core.verdict_stores.contract import ENTRY, KEY
from core.verdict_stores.sqlite_files import key, process, raw

from llama_guard_core.verdict_stores import SQLiteStore

WRITE_200 = """
store = SQLiteStore(sys.argv[1], patience=60)
for number in range(int(sys.argv[2]), int(sys.argv[2]) + 200):
    store.put(f"{number:064x}", b"-")
store.close()
"""

WRITE_FOR_EVER = """
store, number = SQLiteStore(sys.argv[1]), 0
while True:
    store.put(f"{number:064x}", b"-")
    print(number, flush=True)
    number += 1
"""

FORK = """
store = SQLiteStore(sys.argv[1], patience=60)
store.put("parent", b"-")
children = []
for number in range(4):
    if (child := os.fork()) == 0:
        assert store._connection is None
        assert b"-" == store.get("parent")
        for nth in range(50):
            store.put(f"{number} {nth}", b"-")
        os._exit(0) if number % 2 else sys.exit(0)
    children.append(child)
    store.put(f"parent {number}", b"-")
assert [0] * 4 == [os.waitpid(child, 0)[1] for child in children]
assert all(store.get(f"{number} {nth}") for number in range(4) for nth in range(50))
assert all(store.get(f"parent {number}") for number in range(4))
store.close()
"""


def intact(path: Path) -> bool:
    with raw(path) as connection:
        return [("ok",)] == connection.execute("PRAGMA integrity_check").fetchall()


def test_processes_that_write_at_once_lose_nothing(path: Path, file_store: SQLiteStore) -> None:
    with process(WRITE_200, path, 0) as one, process(WRITE_200, path, 200) as other:
        assert (0, 0) == (one.wait(60), other.wait(60))
    assert all(b"-" == file_store.get(key(number)) for number in range(400))


def test_a_writer_that_is_killed_leaves_all_it_has_put(path: Path, file_store: SQLiteStore) -> None:
    for lines in (1, 60):
        with process(WRITE_FOR_EVER, path) as writer:
            assert writer.stdout is not None
            for _ in range(lines):
                last = int(writer.stdout.readline())
            os.kill(writer.pid, signal.SIGKILL)
        assert -signal.SIGKILL == writer.returncode
        assert all(b"-" == file_store.get(key(number)) for number in range(last + 1))
        file_store.put(KEY, ENTRY)
    assert intact(path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_forked_children_and_their_parent_open_the_file_anew(path: Path, file_store: SQLiteStore) -> None:
    with process(FORK, path) as parent:
        assert 0 == parent.wait(60)
    assert b"-" == file_store.get("3 49")
    assert intact(path)
