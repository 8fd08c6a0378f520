"""Samples that nobody disturbed: on a machine that others use, too, one is taken again until they were quiet."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.measuring import Measurement, Sample

_OTHERS_AT_MOST = 0.12  # of the time of all processors
_LOOKED_FOR = 0.5  # seconds
_IDLE = slice(3, 5)  # in /proc/stat: idle, and waiting for a disk
_GUESTS = 8  # of virtual machines: counted before already
_GROUP, _USED = 2, slice(11, 15)  # in /proc/PID/stat, behind the name: the process group; its time and its children's


def undisturbed(measure: Measurement) -> Measurement:
    """A measurement that waits until others are quiet, and counts only if they were so all the while.

    Others are the processes outside this one's process group. It needs Linux, and lasts as long as they do.
    """

    async def measured() -> Mapping[str, Sample]:
        while True:
            while _Use().share_of_others(after=_LOOKED_FOR) > _OTHERS_AT_MOST:
                pass
            use = _Use()
            samples = await measure()
            if use.share_of_others() <= _OTHERS_AT_MOST:
                return samples

    return measured


class _Use:
    """The use of the machine from when this is made."""

    def __init__(self) -> None:
        self._before = _ticks()

    def share_of_others(self, *, after: float = 0.0) -> float:
        """Which part of the time of all processors others used until then."""
        time.sleep(after)
        passed, busy, ours = (now - before for now, before in zip(_ticks(), self._before, strict=True))
        return (busy - ours) / passed if passed else 0.0


def _ticks() -> tuple[int, int, int]:
    """All that passed, what of it was used, and what of that by our process group."""
    counted = [int(each) for each in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1 : 1 + _GUESTS]]
    return sum(counted), sum(counted) - sum(counted[_IDLE]), sum(map(_used_by, Path("/proc").glob("[0-9]*")))


def _used_by(process: Path) -> int:
    try:
        after_name = (process / "stat").read_text().rsplit(")", 1)[1].split()
    except OSError:  # it has ended
        return 0
    return sum(map(int, after_name[_USED])) if int(after_name[_GROUP]) == os.getpgrp() else 0
