"""A host of a guard with faults: which row meets which is told by its text, and a row that may be judged is in the end."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fake_provider import FakeProvider, Fault

_PASSING = (
    Fault.status(429, retry_after=0.02),
    Fault.status(503, retry_after=0.02),
    Fault.status(500),
    Fault.cut("in_body"),
    Fault.empty(),
)
_LASTING = (Fault.prose(), Fault.status(400))


class FaultyHost:
    """Judges rows such as `row 17 BOMB`, after a while, and in part only when asked again.

    Args:
        latency: seconds until an answer.

    Attributes:
        asked: how often each row was asked about.
        answered: how often each row was answered with what settles it.
    """

    def __init__(self, latency: float = 0.0) -> None:
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self._latency = latency
        self._lock = threading.Lock()

    @contextmanager
    def serve(self) -> Iterator[str]:
        """Serve on a port of this machine; gives the base URL."""
        with FakeProvider(guard=self).serve() as base_url:
            yield base_url

    def __call__(self, _: str, text: str) -> Any:
        """What is said of a text: a verdict or a fault."""
        chance = hashlib.sha256(text.encode()).digest()
        with self._lock:
            self.asked[text] += 1
            time_asked = self.asked[text]
        time.sleep(self._latency * (0.5 + chance[0] / 255))
        if chance[1] < 8:  # 3 %: no verdict, however often it is asked
            self._settle(text)
            return _LASTING[chance[2] % len(_LASTING)]
        if chance[1] < 48 and time_asked <= 1 + chance[3] % 2:  # 16 %: once or twice
            return _PASSING[chance[2] % len(_PASSING)]
        self._settle(text)
        return "unsafe\nS9" if "BOMB" in text else "safe"

    def _settle(self, text: str) -> None:
        with self._lock:
            self.answered[text] += 1
