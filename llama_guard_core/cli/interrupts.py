"""Ctrl-C, and the signal to end: what is under way is finished first; a second one ends at once."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from llama_guard_core.cli.printing import tell

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopping_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """While this lasts, a first signal calls `stop`, and a second one interrupts.

    On Windows, whose event loops know no signals, the first one interrupts.
    """
    loop = asyncio.get_running_loop()
    before = {each: signal.getsignal(each) for each in _SIGNALS}

    def first() -> None:
        tell("stopping: what is under way is finished first (once more to leave at once)")
        restore()
        stop()

    def restore() -> None:
        for each in _SIGNALS:
            loop.remove_signal_handler(each)
            signal.signal(each, before[each])

    with contextlib.suppress(NotImplementedError):
        for each in _SIGNALS:
            loop.add_signal_handler(each, first)
    try:
        yield
    finally:
        with contextlib.suppress(NotImplementedError):
            restore()
