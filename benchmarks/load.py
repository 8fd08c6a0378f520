"""A thousand guarded calls at once on one guard object, and what they leave behind: `python -m benchmarks.load`.

It ends with 1 if anything is wrong: a verdict that is not the caller's, a failure, a limit that was passed, something
that was left.
"""

from __future__ import annotations

import os
import resource
import sys
from datetime import datetime, timezone

from benchmarks.__main__ import MISLEADING
from benchmarks.load_callers import LOOPS, asked_at_once
from benchmarks.load_cases import Case, RecordedPace
from benchmarks.load_host import LoadHost
from benchmarks.load_report import as_markdown, what_is_wrong

_MOST = 32  # requests at once of each client
_RATE, _BURST = 250.0, 25
_WARM_UP, _ROUNDS = 3, 5
_FILES = 8192  # open at once


def _cases() -> list[Case]:
    filled = _MOST * (1 + len(LOOPS))
    free = Case("no limits", held=asked_at_once())
    limited = Case(f"max_connections={_MOST}", most=_MOST, held=filled)
    left = Case("the same, every fifth task cancelled", most=_MOST, held=filled, cancels=True)
    paced = Case(f"Pace({_RATE:g}, burst={_BURST})", pace=RecordedPace(_RATE, _BURST))
    with LoadHost() as host:
        free.run(host, rounds=_ROUNDS, warm_up=_WARM_UP)
        limited.run(host)
        left.run(host, rounds=2)
        paced.run(host)
    return [free, limited, left, paced]


def main() -> int:
    """Call, print, and say whether all was right."""
    for name in [name for name in os.environ if name.lower() in MISLEADING]:
        del os.environ[name]
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_FILES, most), most))
    cases = _cases()
    print(f"`python -m benchmarks.load` of {datetime.now(tz=timezone.utc):%Y-%m-%d}\n")
    print(as_markdown(cases))
    wrong = what_is_wrong(cases)
    for each in wrong:
        print(f"WRONG: {each}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
