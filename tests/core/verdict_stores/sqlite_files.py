"""Looking into an SQLite file past its store, and working on it from other processes."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[3]
IN_A_PROCESS = "import os, sys\nfrom llama_guard_core.verdict_stores import SQLiteStore\n"


@contextmanager
def raw(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection:
        yield connection


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """Somebody else, in the middle of a transaction."""
    with raw(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


def rows(path: Path) -> int:
    with raw(path) as connection:
        (count,) = connection.execute("SELECT count(*) FROM verdicts").fetchone()
        return count


def process(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", "-c", IN_A_PROCESS + code, *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def key(number: int) -> str:
    return f"{number:064x}"
