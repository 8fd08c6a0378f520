"""Verdicts that were given before, so that nothing is asked twice.

An agent shows the guard the same history at every step, and a guard in front of a model asks what the model's own guard
asks again. Same guard model, same host, same question: same verdict.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from threading import Lock
from time import monotonic
from typing import Any

from llama_guard_core.guardrail.verdict import Verdict


class VerdictCache:
    """The verdicts of this process that were used last. Safe to share between guards and threads.

    It holds no judged text: entries are looked up by a digest of the host's address and of everything that was asked. A
    failure is not a verdict and is never kept. It is not shared between processes, and a copy of a guard that was
    pickled begins with an empty one.

    Args:
        max_entries: verdicts kept; the one that was used least recently goes first.
        max_age: seconds after which a verdict is asked for again; `None` for never.
    """

    def __init__(self, *, max_entries: int = 4096, max_age: float | None = None) -> None:
        self.max_entries = max_entries
        self.max_age = max_age
        self._entries: OrderedDict[str, tuple[float, Verdict]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: str) -> Verdict | None:
        """The verdict kept under a key, marked as cached; it has cost nothing."""
        with self._lock:
            made, verdict = self._entries.get(key, (0.0, None))
            if verdict is None:
                return None
            if self.max_age is not None and monotonic() - made > self.max_age:
                del self._entries[key]
                return None
            self._entries.move_to_end(key)
        return replace(verdict, cached=True, latency=None, usage=None)

    def put(self, key: str, verdict: Verdict) -> None:
        """Keep a verdict."""
        with self._lock:
            self._entries[key] = (monotonic(), verdict)
            self._entries.move_to_end(key)
            while len(self._entries) > self.max_entries:
                self._entries.popitem(last=False)

    def clear(self) -> None:
        """Forget all of them."""
        with self._lock:
            self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(max_entries={self.max_entries}, max_age={self.max_age})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _empty, (type(self), self.max_entries, self.max_age)


def question_key(host: str, requests: Sequence[Mapping[str, Any]], *, read_as: Sequence[str] = ()) -> str:
    """What a question is looked up by: a digest of where, of everything that is asked, and of how answers are read."""
    asked = [
        {**request, "messages": [_digest_of(**message) for message in request.get("messages", ())]}
        for request in requests
    ]
    return _digest([host, list(read_as), *asked])


def _digest_of(role: str, content: Any) -> str:
    """A message's digest. Of text it is remembered: each message of a history is in every later question."""
    return _digest_of_text(role, content) if isinstance(content, str) else _digest([role, content])


@lru_cache(maxsize=1024)
def _digest_of_text(role: str, content: str) -> str:
    return _digest([role, content])


def _digest(value: Any) -> str:
    written = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return hashlib.sha256(written).hexdigest()


def _empty(kind: type[VerdictCache], max_entries: int, max_age: float | None) -> VerdictCache:
    return kind(max_entries=max_entries, max_age=max_age)
