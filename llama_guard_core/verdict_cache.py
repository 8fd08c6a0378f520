"""Verdicts that were given before, so that nothing is asked twice.

An agent shows the guard the same history at every step, and a guard in front of a model asks what the model's own guard
asks again. Same guard model, same host, same question: same verdict.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from threading import Lock
from time import monotonic
from typing import Any

from pydantic import SecretStr
from pydantic_core import to_json

from llama_guard_core.guardrail.verdict import Verdict
from llama_guard_core.provider.deadlines import moving_on_at
from llama_guard_core.provider.local_secret import local_secret
from llama_guard_core.verdict_entries import read_entry, store_key, written_entry
from llama_guard_core.verdict_stores.verdict_store import VerdictStore

_log = logging.getLogger(__name__)
_OF_THIS_PROCESS = ("_entries", "_lock", "_store_rests_until")
_STORE_REST = 5.0  # seconds: each question would wait for a store that is down, and each leave a warning


class VerdictCache:
    """The verdicts that were used last, in this process and, with a store, in others. Guards and threads may share it.

    It holds no judged text: entries are looked up by a digest of the host's address and of everything that was asked. A
    failure is not a verdict and is never kept, nor is a verdict on a part of what was asked, or one whose list of
    hazards may be incomplete. What a policy made of a verdict, in monitor mode or any other, is not kept either.

    Behind the memory of this process there may be a store: a file (`SQLiteStore`), a server (`RedisStore`), one of
    LangChain's or LlamaIndex's. What comes out of it is checked: an entry that is not exactly what was written, that
    was put under another question or is too old counts for nothing, and the guard is asked. A store that fails or
    takes too long is passed over, with a warning in the log; no verdict depends on it.

    **Whoever can write to a store without `secret` decides verdicts**, and whoever can read it can try whether a text
    that he guesses was judged. With `secret`, entries and their keys are authenticated (HMAC-SHA256): others can lose
    them, and put an old one in its own place again, and nothing else. That a cached verdict comes sooner tells anybody
    who can ask and measure that the same text was asked about before.

    Args:
        max_entries: verdicts kept in this process; the one that was used least recently goes first.
        max_age: seconds after which a verdict is asked for again, here and in the store; `None` for never.
        store: where they are kept besides. You close it.
        secret: what entries of the store are signed with; the same for all who share it. A copy made by pickle holds no
            secret, and so does without the store: make the cache where it is used.
        patience: seconds that async code waits for the store. Sync code waits as long as the store does.
    """

    def __init__(
        self,
        *,
        max_entries: int = 4096,
        max_age: float | None = None,
        store: VerdictStore | None = None,
        secret: SecretStr | str | None = None,
        patience: float = 0.5,
    ) -> None:
        self.max_entries = max_entries
        self.max_age = max_age
        self.store = store
        self.patience = patience
        self._secret = local_secret(secret)
        self._entries: OrderedDict[str, tuple[float, Verdict]] = OrderedDict()
        self._lock = Lock()
        self._store_rests_until = float("-inf")

    @classmethod
    def of(cls, given: VerdictCache | VerdictStore | bool) -> VerdictCache | None:  # noqa: FBT001 (a setting's value)
        """The cache somebody chose: one of its own, none, or one with this store behind it."""
        if isinstance(given, bool):
            return cls() if given else None
        return given if isinstance(given, VerdictCache) else cls(store=given)

    def get(self, key: str) -> Verdict | None:
        """The verdict kept under a key, marked as cached; it has cost nothing."""
        if (verdict := self.remembered(key)) is not None or (store := self._awake_store()) is None:
            return verdict
        try:
            entry = store.get(self._store_key(key))
        except Exception as error:  # noqa: BLE001 - whatever a store raises: the guard is asked
            entry = self._passed_over(error)
        return self._from_store(key, entry)

    async def aget(self, key: str) -> Verdict | None:
        """The verdict kept under a key; see `get`."""
        if (verdict := self.remembered(key)) is not None or (store := self._awake_store()) is None:
            return verdict
        with moving_on_at(monotonic() + self.patience):
            try:
                entry = await store.aget(self._store_key(key))
            except Exception as error:  # noqa: BLE001 - as above
                entry = self._passed_over(error)
            return self._from_store(key, entry)
        self._passed_over(TimeoutError())
        return None

    def put(self, key: str, verdict: Verdict) -> None:
        """Keep a verdict."""
        self._remember(key, verdict)
        if (store := self._awake_store()) is not None and (entry := self._written(key, verdict)) is not None:
            try:
                store.put(self._store_key(key), entry, max_age=self.max_age)
            except Exception as error:  # noqa: BLE001 - as above
                self._passed_over(error)

    async def aput(self, key: str, verdict: Verdict) -> None:
        """Keep a verdict."""
        self._remember(key, verdict)
        if (store := self._awake_store()) is not None and (entry := self._written(key, verdict)) is not None:
            with moving_on_at(monotonic() + self.patience):
                try:
                    await store.aput(self._store_key(key), entry, max_age=self.max_age)
                except Exception as error:  # noqa: BLE001 - as above
                    self._passed_over(error)
                return
            self._passed_over(TimeoutError())

    def remembered(self, key: str) -> Verdict | None:
        """The verdict that this process keeps under a key, whatever the store has; marked as cached."""
        with self._lock:
            made, verdict = self._entries.get(key, (0.0, None))
            if verdict is None:
                return None
            if self.max_age is not None and monotonic() - made > self.max_age:
                del self._entries[key]
                return None
            self._entries.move_to_end(key)
        return as_shared(verdict)

    def clear(self) -> None:
        """Forget what this process keeps. The store keeps what it has."""
        with self._lock:
            self._entries.clear()

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        behind = "" if self.store is None else f", store={self.store!r}"
        return f"{type(self).__name__}(max_entries={self.max_entries}, max_age={self.max_age}{behind})"

    def __getstate__(self) -> dict[str, Any]:
        """A copy begins with an empty memory and the same store."""
        return {name: value for name, value in vars(self).items() if name not in _OF_THIS_PROCESS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _entries=OrderedDict(), _lock=Lock(), _store_rests_until=float("-inf"))
        if self._secret is not None and self._secret.is_left_behind and self.store is not None:
            _log.warning("a copy of a VerdictCache made by pickle holds no secret: it does without the store")
            self.store = None

    def _remember(self, key: str, verdict: Verdict, age: float = 0.0) -> None:
        with self._lock:
            self._entries[key] = (monotonic() - age, verdict)
            self._entries.move_to_end(key)
            while len(self._entries) > self.max_entries:
                self._entries.popitem(last=False)

    def _from_store(self, key: str, entry: bytes | None) -> Verdict | None:
        if entry is None:
            return None
        read = read_entry(key, entry, secret=self._key_bytes, now=time.time())
        if read is None:
            _log.warning("an entry of the verdict store is not what was written: the guard is asked")
            return None
        age, verdict = read
        if self.max_age is not None and age > self.max_age:
            return None
        self._remember(key, verdict, age)
        return as_shared(verdict)

    def _written(self, key: str, verdict: Verdict) -> bytes | None:
        return written_entry(key, verdict, secret=self._key_bytes, now=time.time())

    def _store_key(self, key: str) -> str:
        return store_key(key, self._key_bytes)

    @property
    def _key_bytes(self) -> bytes | None:
        return None if self._secret is None else self._secret.get_secret_value().encode()

    def _awake_store(self) -> VerdictStore | None:
        return self.store if monotonic() >= self._store_rests_until else None

    def _passed_over(self, error: Exception) -> bytes | None:
        self._store_rests_until = monotonic() + _STORE_REST
        # Its class alone: the message of a store may quote its address, and that its password.
        _log.warning("the verdict store failed (%s): the guard is asked", type(error).__name__)
        return None


def as_shared(verdict: Verdict) -> Verdict:
    """A verdict as it is told to somebody else than who asked for it: for them it took no time and cost nothing."""
    return replace(verdict, cached=True, latency=None, usage=None)


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
    try:
        written = to_json(value)
    except ValueError:  # half a surrogate pair
        written = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return hashlib.sha256(written).hexdigest()
