"""Calls one behind the other on connections that the host closes under them: each has its own verdict, or none."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from fault_matrix.core_points import LostError
from fault_matrix.failures import Failure
from fault_matrix.marks import UNSAFE_MARK
from fault_matrix.points import Point
from fault_matrix.racing_hosts import NAMES
from fault_matrix.stand import Stand
from fault_matrix.watch import Seen
from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.errors import GuardUnavailable

_CALLS = 6
_ALL_WELL = "each had its own verdict, or none"


def _texts(stand: Stand) -> list[tuple[str, bool]]:
    """Texts, harmless and unsafe in turn, with whether they are safe."""
    number = stand.script.number
    return [(f"About {UNSAFE_MARK if at % 2 else 'item'}{number}, {at}.", at % 2 == 0) for at in range(_CALLS)]


def _asked(stand: Stand, text: str, *, is_safe: bool) -> bool:
    """Whether there was a verdict; if so, it is the text's own."""
    try:
        verdict = stand.guard.check(text)
    except GuardUnavailable:
        return False
    return _is_own(verdict.safe, is_safe)


async def _aasked(stand: Stand, text: str, *, is_safe: bool) -> bool:
    try:
        verdict = await stand.guard.acheck(text)
    except GuardUnavailable:
        return False
    return _is_own(verdict.safe, is_safe)


def _is_own(told: bool, expected: bool) -> bool:
    if told != expected:
        msg = "the verdict is another text's"
        raise LostError(msg)
    return True


def _judged(outcomes: Iterable[bool], seen: Seen) -> None:
    """What failed has taken its connection along, so the call that follows it is a connection's first."""
    told = list(outcomes)
    if any(not first and not second for first, second in itertools.pairwise(told)):
        raise LostError
    seen.give(_ALL_WELL, f"; {told.count(False)} had none")


def check(stand: Stand, seen: Seen) -> None:
    _judged([_asked(stand, text, is_safe=is_safe) for text, is_safe in _texts(stand)], seen)


async def acheck(stand: Stand, seen: Seen) -> None:
    _judged([await _aasked(stand, text, is_safe=is_safe) for text, is_safe in _texts(stand)], seen)


def check_at_once(stand: Stand, seen: Seen) -> None:
    """All at the same time, twice, so that several kept connections are closed under their next calls."""
    with ThreadPoolExecutor(_CALLS) as threads:
        for again in ("", " Again."):
            list(threads.map(lambda asked: _asked(stand, asked[0] + again, is_safe=asked[1]), _texts(stand)))  # noqa: B023
    seen.give(_ALL_WELL)


async def acheck_at_once(stand: Stand, seen: Seen) -> None:
    for again in ("", " Again."):
        await asyncio.gather(*(_aasked(stand, text + again, is_safe=is_safe) for text, is_safe in _texts(stand)))
    seen.give(_ALL_WELL)


POINT = Point(
    "LlamaGuard, on a kept connection",
    "prompt",
    LlamaGuard,
    {"sync plain": check, "async plain": acheck, "sync at once": check_at_once, "async at once": acheck_at_once},
    lambda seen: _ALL_WELL in seen.said,
)
FAILURES = [Failure(name, "kept connection", dead_host=name) for name in NAMES]
