"""One process at a time at work on a file."""

from __future__ import annotations

from pathlib import Path

from llama_guard_core.errors import ConfigurationError


def keep_others_out(file: int, path: Path) -> None:
    """Lock an open file. The lock is the process's: it ends with it, however that ends. There is none on Windows.

    Raises:
        ConfigurationError: if another process has it.
    """
    try:
        import fcntl  # noqa: PLC0415 (not on Windows)
    except ImportError:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        msg = f"another process is at work on {path}: wait until it is done, or stop it"
        raise ConfigurationError(msg) from None
