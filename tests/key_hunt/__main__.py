"""Print where the key was looked for, and what was found."""

from __future__ import annotations

import datetime as dt
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial

from key_hunt import hunt
from key_hunt.controls import planted, planted_elsewhere
from key_hunt.files import files
from key_hunt.keys import GIVEN
from key_hunt.processes import processes
from key_hunt.tally import Tally, table


def parts() -> Iterator[Callable[[], Tally]]:
    """All parts of the hunt."""
    for way in GIVEN:
        yield partial(hunt.objects, way)
        yield partial(hunt.calls, way)
    yield from (hunt.caches, hunt.settings, processes, files)


def main() -> int:
    """Print the table; 1 if a key was found, or a planted one was not."""
    begun, whole, write = time.monotonic(), Tally(), sys.stdout.write
    for part in parts():
        whole.merge(part())
    control = planted()
    control.merge(planted_elsewhere())
    seen = {place: bool(control.found_in(place)) for place in whole.looked}
    write(f"A key is given in {len(GIVEN)} ways: {', '.join(GIVEN)}.\n\n")
    write(table(whole, seen))
    write("".join(f"\n- {place}: {what}" for place, what in whole.found))
    write("".join(f"\n- did not fail: {call}" for call in whole.missed))
    seconds = time.monotonic() - begun
    told = f"{sum(whole.looked.values())} texts looked through, the key found in {len(whole.found)}"
    write(f"\n\nIn all: {told}; {seconds:.0f} seconds, {dt.datetime.now(dt.timezone.utc):%Y-%m-%d}.\n")
    return 0 if not whole.found and not whole.missed and all(seen.values()) else 1


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(main())
