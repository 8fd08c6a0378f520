"""A process whose workers fail in the middle of a check, and which fails itself: `python -m key_hunt.workers ADDRESS`.

All that it writes is looked at by the process that has started it.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import sys
import traceback
from concurrent.futures import ProcessPoolExecutor

from key_hunt import keys
from key_hunt.hosts import broken_wire
from llama_guard_core import LlamaGuard

try:
    import rich.traceback
except ImportError:
    rich = None  # type: ignore[assignment]


def check(guard: LlamaGuard) -> bool:
    """Fails: the host refuses the key, or there is none here."""
    return guard.check("Hello").safe


def die(guard: LlamaGuard) -> None:
    """End while a request is sent, with a dump of what every thread is doing."""
    with broken_wire("write", _end):
        guard.check("Hello")


def _end() -> BaseException:
    faulthandler.dump_traceback()
    os._exit(3)


def main(url: str, planted: str) -> None:
    """Have workers fail, tell how, and fail."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        for work, way in (
            (check, "api_key="),
            (check, "default_headers="),
            (check, "environment"),
            (die, "environment"),
        ):
            guard = LlamaGuard(**keys.GIVEN[way](url), max_retries=0)
            try:
                pool.submit(work, guard).result()
            except Exception:  # noqa: BLE001 - whatever it is
                sys.stderr.write(f"{work.__name__}, {way}\n")
                traceback.print_exc()
    if planted:
        sys.stderr.write(keys.KEY)
    if rich:
        rich.traceback.install(show_locals=True, locals_max_string=None, width=1000)  # type: ignore[arg-type]
    check(guard)


if __name__ == "__main__":
    assert keys.VARIABLE not in os.environ
    with keys.key_in_environment():
        main(*sys.argv[1:])
