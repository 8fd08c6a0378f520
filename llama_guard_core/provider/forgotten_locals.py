"""Takes the local variables out of tracebacks that lead through the making and sending of a request.

The HTTP library's functions have the key among their variables, and ours have a host's reply, which may quote it.
Whoever writes tracebacks with locals (rich, pytest, an error tracker) would write it out. Which lines the exception
came through stays in the traceback.

It does not protect from a debugger, a tracing function or a core dump, which see a function while it runs, nor from
what an HTTP client of the user's logs by itself.
"""

from __future__ import annotations

import sys
import traceback
from types import TracebackType
from typing import TypeVar

E = TypeVar("E", bound=BaseException)


def without_locals(error: E, known: BaseException | None = None) -> E:
    """The same exception, its traceback and those of its causes without the variables of what has ended.

    Args:
        error: the exception.
        known: one that was being handled before: it and its causes are somebody else's.
    """
    waiting: list[BaseException | None] = [error]
    seen = {id(known)}
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            traceback.clear_frames(one.__traceback__)
            waiting += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
    return error


class LocalsForgotten:
    """Lets every exception out without the variables of the functions that were called within, whatever it is."""

    __slots__ = ("_known",)

    def __enter__(self) -> None:
        self._known = sys.exc_info()[1]

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is not None:
            without_locals(error, self._known)
