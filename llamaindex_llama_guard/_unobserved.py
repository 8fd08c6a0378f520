"""Calls that LlamaIndex's instrumentation and callbacks do not see.

A model tells its observers what it wrote before anybody outside can judge it: each endpoint dispatches events
and spans from inside itself. LlamaIndex has no switch for that: dispatchers are global, and no handler can stop
another. So the few methods through which everything is told are made to ask first, once for the process,
whether this context is hidden. In every other context they do what they always did.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeVar

from llama_index.core.callbacks import CallbackManager
from llama_index_instrumentation.dispatcher import Dispatcher

T = TypeVar("T")
_hidden: ContextVar[bool] = ContextVar("llama_guard_hidden", default=False)
_END: Final = object()


@contextmanager
def unobserved() -> Iterator[None]:
    """Keep what happens inside, in this context, from event handlers, span handlers and callback handlers.

    It does not reach what an inner model's own client or SDK tells observers of its own.
    """
    token = _hidden.set(True)
    try:
        yield
    finally:
        _hidden.reset(token)


def unobserved_iteration(source: Iterator[T]) -> Generator[T, None, None]:
    """The items of `source`, each made unobserved; in between, the consumer's own context holds."""
    try:
        while True:
            with unobserved():
                item: Any = next(source, _END)
            if item is _END:
                return
            yield item
    finally:
        if close := getattr(source, "close", None):
            with unobserved():
                close()


async def aunobserved_iteration(source: AsyncIterator[T]) -> AsyncGenerator[T, None]:
    """The items of `source`, each made unobserved; in between, the consumer's own context holds."""
    try:
        while True:
            with unobserved():
                item: Any = await anext(source, _END)
            if item is _END:
                return
            yield item
    finally:
        if close := getattr(source, "aclose", None):
            with unobserved():
                await close()


def _unless_hidden(tell: Callable[..., T], hidden_result: Callable[..., T]) -> Callable[..., T]:
    @functools.wraps(tell)
    def ask_first(self: Any, *args: Any, **kwargs: Any) -> T:
        return (hidden_result if _hidden.get() else tell)(self, *args, **kwargs)

    return ask_first


def _nothing(*_: Any, **__: Any) -> None:
    return None


async def _nothing_later(*_: Any, **__: Any) -> None:
    return None


def _event_id(_: Any, event_type: Any, payload: Any = None, event_id: str | None = None, **__: Any) -> str:  # noqa: ARG001 - as the method it stands in for
    return event_id or "hidden"


for _name in ("event", "span_enter", "span_exit", "span_drop"):
    setattr(Dispatcher, _name, _unless_hidden(getattr(Dispatcher, _name), _nothing))
for _name in ("on_event_end", "start_trace", "end_trace"):
    setattr(CallbackManager, _name, _unless_hidden(getattr(CallbackManager, _name), _nothing))
setattr(Dispatcher, "aevent", _unless_hidden(Dispatcher.aevent, _nothing_later))  # noqa: B010 - as those above
setattr(CallbackManager, "on_event_start", _unless_hidden(CallbackManager.on_event_start, _event_id))  # noqa: B010
