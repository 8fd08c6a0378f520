"""What other processes write: a crash, its workers, and pytest as it is used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from key_hunt.hosts import FailingHost
from key_hunt.keys import VARIABLE
from key_hunt.tally import Tally

ROOT = Path(__file__).parents[2]
CRASH = "crash of a process and of its workers: all it writes"
PYTEST = "pytest --showlocals -vv --log-level=DEBUG: all it writes"
_FAULT = "401 that quotes the key"


def crash(host: FailingHost, *, planted: bool = False) -> str:
    """What a process writes that crashes, and whose workers do."""
    host.fault = _FAULT
    written = _run("-W", "ignore", "-m", "key_hunt.workers", host.url, "planted" if planted else "")
    for must_be_there in ("check, environment", "BrokenProcessPool", "holds no key", "GuardUnavailable"):
        assert must_be_there in written, written
    return written


def by_pytest(host: FailingHost, *, planted: bool = False) -> str:
    """What pytest writes of tests that fail."""
    host.fault = _FAULT
    options = ("-p", "no:cacheprovider", "-c", os.devnull, "--showlocals", "-vv", "--log-level=DEBUG")
    which = ("-k", "planted" if planted else "not planted")
    written = _run("-m", "pytest", *options, *which, str(Path(__file__).with_name("failing_tests.py")), url=host.url)
    assert ("1 failed" if planted else "4 failed") in written, written
    return written


def _run(*arguments: str, url: str = "") -> str:
    clean = {name: value for name, value in os.environ.items() if name not in (VARIABLE, "PYTEST_ADDOPTS")}
    environment = {**clean, "PYTHONPATH": f"{ROOT / 'tests'}{os.pathsep}{ROOT}", "KEY_HUNT_URL": url, "COLUMNS": "1000"}
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, env=environment, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return done.stdout


def processes() -> Tally:
    """Look at all of it."""
    tally = Tally()
    with FailingHost().serve() as host:
        tally.look(CRASH, "three ways to give a key", crash(host))
        tally.look(PYTEST, "guard, model", by_pytest(host))
    return tally
