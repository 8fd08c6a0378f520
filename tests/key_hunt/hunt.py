"""The hunt: each part looks at something, and tells a tally."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from key_hunt import core_things, langchain_things, llamaindex_things
from key_hunt.failing_calls import FAULTS, failed, look_at, nobody, raised
from key_hunt.hosts import FailingHost
from key_hunt.keys import GIVEN, key_in_environment
from key_hunt.places import OBJECT_PLACES
from key_hunt.tally import Tally

LOG = "log at DEBUG, of everybody"
DUMPED = "LangChain: dumps, dumpd"
STORED = "verdict cache: what a store keeps"
FEW = ("api_key=", "environment", "another header")
"""Ways to give a key that differ in more than who takes it up first."""


class _Listener(logging.Handler):
    def __init__(self, tally: Tally) -> None:
        super().__init__(logging.DEBUG)
        self._tally = tally

    def emit(self, record: logging.LogRecord) -> None:
        logger = record.name.partition(".")[0]
        told = f"{self.format(record)} {record.args!r}"
        self._tally.look(LOG, logger, told, record.msg)


@contextmanager
def listening(tally: Tally) -> Iterator[None]:
    """Look at all that is logged, by anybody."""
    root, listener = logging.getLogger(), _Listener(tally)
    level = root.level
    root.addHandler(listener)
    root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.removeHandler(listener)
        root.setLevel(level)


def objects(way: str) -> Tally:
    """Look at everything that was made with a key given in one way, and was used."""
    tally = Tally()
    with FailingHost().serve() as host, key_in_environment(), listening(tally):
        settings = GIVEN[way](host.url)
        for half in (core_things, langchain_things, llamaindex_things):
            things = half.used_things(settings)
            for name, thing in things.items():
                look_at_object(tally, thing, name, way)
            if half is langchain_things:
                for name, text in langchain_things.dumped(things):
                    tally.look(DUMPED, name, text, way)
            core_things.close(things)
        for told in (langchain_things.told_by_runs, llamaindex_things.told_by_runs):
            for place, name, text in told(settings):
                tally.look(place, name, text, way)
    return tally


def look_at_object(tally: Tally, thing: Any, kind: str, how: str = "") -> None:
    """Look for the key in an object, wherever it may be written out."""
    for place, written in OBJECT_PLACES.items():
        tally.look(place, kind, written(thing), how)


def caches() -> Tally:
    """Look at verdict caches that are signed with the key, or reach their store with it; and at what is stored."""
    tally = Tally()
    with FailingHost().serve() as host, core_things.stored_verdicts(host.url) as (things, stored), listening(tally):
        for name, thing in things.items():
            look_at_object(tally, thing, name)
        tally.look(STORED, "SQLiteStore", stored())
    return tally


Calls = dict[str, Callable[[], Any]]


def calls(way: str) -> Tally:
    """Look at what failing calls raise, with a key given in one way."""
    tally = Tally()
    with FailingHost().serve() as host, nobody() as elsewhere, key_in_environment(), listening(tally):
        makers = [core_things.failing_calls]
        if way in FEW:
            makers += [
                core_things.through_a_client_of_ones_own,
                langchain_things.failing_calls,
                llamaindex_things.failing_calls,
            ]
        for make in makers:
            here, there = make(GIVEN[way](host.url)), make(GIVEN[way](elsewhere))
            for fault in FAULTS if way == FEW[0] else _QUICK:
                for name, call in (there if fault == "connection refused" else here).items():
                    if fault == "cancelled" and not _is_async(name):
                        continue
                    error = failed(host, fault, call)
                    if error is None:
                        tally.missed.append(f"{name}, {way}, {fault}")
                    else:
                        slowly = way == FEW[0] and name in _SLOWLY and fault in _SLOW_FAULTS
                        look_at(tally, error, name, f"{way}, {fault}", slowly=slowly)
                    del error
        waiting = {} if way == "a list of hosts" else core_things.waiting_calls(GIVEN[way](host.url))
        for name, call in waiting.items():
            if isinstance(error := failed(host, "cancelled before a repetition", call), asyncio.CancelledError):
                look_at(tally, error, name, f"{way}, cancelled before a repetition")
            else:
                tally.missed.append(f"{name}, {way}, cancelled before a repetition")
            del error
    return tally


_QUICK = tuple(
    fault
    for fault in FAULTS
    if fault not in ("stall", "500", "malformed", "web page", "redirect", "400 that quotes it in plain text")
)


_SLOWLY = (
    "LlamaGuard.check",
    "AsyncChatClients.stream",
    "LlamaGuard, unknown host",
    "Host, address",
    "ChatLlamaScout, misspelt setting",
    "LlamaScout, misspelt setting",
)
_SLOW_FAULTS = ("401 that quotes the key", "KeyboardInterrupt at write")


def _is_async(name: str) -> bool:
    return any(word in name.lower() for word in (".a", "async", "acheck"))


def settings() -> Tally:
    """Look at what is raised about settings that are wrong."""
    tally = Tally()
    with listening(tally):
        for half in (core_things, langchain_things, llamaindex_things):
            for name, make in half.WRONG.items():
                if (error := raised(make)) is None:
                    tally.missed.append(name)
                else:
                    look_at(tally, error, name, "setting", slowly=name in _SLOWLY)
                del error
    return tally
