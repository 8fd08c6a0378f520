"""Everything a caller, a log or an observer comes to see in one case, and what Python complains about on the way."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fault_matrix.marks import MARK
from llama_guard_core.errors import LlamaGuardError

_DEEPEST = 12


class Enough(Exception):
    """Somebody leaves a stream who has seen enough of it."""


class Seen:
    """What one case showed, by channel.

    Attributes:
        given: what the caller was given, piece by piece.
        error: what it raised.
    """

    def __init__(self) -> None:
        self.given: list[Any] = []
        self.error: BaseException | None = None
        self.marked: set[str] = set()
        self._fragments = ""

    def give(self, *pieces: Any) -> None:
        """Note what the caller was given."""
        self.given.extend(pieces)
        self.note("given", *pieces)

    def note(self, channel: str, *things: Any) -> None:
        """Note in which channel the text under test turned up."""
        if any(MARK in _told(thing) for thing in things):
            self.marked.add(channel)

    def join(self, channel: str, *fragments: str) -> None:
        """Note fragments, such as those of a tool call, whose sum tells what none of them does."""
        self._fragments += "".join(fragments)
        self.note(channel, self._fragments)

    def reading(self, stream: Any) -> Any:
        """The stream that is read; nobody else holds it, so whoever leaves it drops it."""
        return stream

    def fail(self, error: BaseException) -> None:
        """Note what was raised."""
        self.error = error
        self.note("exception", error)

    @property
    def said(self) -> str:
        """All that was given, as one text."""
        return "".join(piece if isinstance(piece, str) else repr(piece) for piece in self.given)


def _told(thing: Any) -> str:
    if isinstance(thing, str):
        return thing
    return _exception_text(thing) if isinstance(thing, BaseException) else repr(thing)


def _exception_text(error: BaseException | None, depth: int = 0) -> str:
    if error is None or depth > _DEEPEST:
        return ""
    own = f"{error} {error!r} {error.args!r} {vars(error)!r} {getattr(error, '__notes__', '')}"
    grouped = getattr(error, "exceptions", ())
    return own + "".join(_exception_text(each, depth + 1) for each in (error.__cause__, error.__context__, *grouped))


class Watch(logging.Handler):
    """Listens to logs, warnings, unraisable errors and threads that die, for as long as it is open."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.seen = Seen()
        self.complaints: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Take a log record."""
        error = record.exc_info[1] if record.exc_info else None
        self.seen.note("log", record.getMessage(), *([error] if error else []))
        if record.name == "asyncio" and record.levelno >= logging.ERROR:
            self._complain(f"asyncio: {record.getMessage()} {error!r}")

    @contextmanager
    def open(self) -> Iterator[Watch]:
        """Listen."""
        root = logging.getLogger()
        before = root.level, warnings.showwarning, sys.unraisablehook, threading.excepthook
        root.addHandler(self)
        root.setLevel(logging.DEBUG)
        logging.raiseExceptions = False
        warnings.showwarning = self._warned
        sys.unraisablehook = self._not_raised
        threading.excepthook = self._died
        try:
            with warnings.catch_warnings():
                warnings.showwarning = self._warned
                warnings.simplefilter("ignore")
                warnings.simplefilter("always", ResourceWarning)
                warnings.filterwarnings("always", ".*never awaited", RuntimeWarning)
                yield self
        finally:
            root.removeHandler(self)
            root.setLevel(before[0])
            warnings.showwarning, sys.unraisablehook, threading.excepthook = before[1:]

    def collected(self) -> list[str]:
        """What was complained of since the last time, when all that nobody refers to is gone."""
        gc.collect()
        complaints, self.complaints = self.complaints, []
        return complaints

    def _not_raised(self, it: Any) -> None:
        # Of a stream that is left, LangChain's sequences read the model to its end, where nobody hears of its failure.
        if not (isinstance(it.exc_value, LlamaGuardError) and "RunnableSequence" in repr(it.object)):
            self._complain(f"unraisable: {it.exc_value!r} in {it.object!r}")

    def _died(self, it: threading.ExceptHookArgs) -> None:
        # LlamaIndex's chat engines write their memory in a thread, and raise there again what they tell the caller.
        if not isinstance(it.exc_value, LlamaGuardError):
            self._complain(f"thread died: {it.exc_value!r}")

    def _warned(self, message: Any, category: Any, filename: str, lineno: int, *_: Any) -> None:
        self._complain(f"{category.__name__}: {message} ({filename}:{lineno})")

    def _complain(self, what: str) -> None:
        self.complaints.append(what)
