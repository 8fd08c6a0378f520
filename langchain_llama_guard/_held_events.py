"""The callback events of a chain under guard, withheld until its output may be seen.

A guard around somebody's chain comes too late for callbacks: the chain's own model has told them each
token already. So the chain runs with one handler that only writes down what happened; if the output may be
shown, the application's handlers are told then, in order, under the same run ids. If not, they never are.

Handlers that stamp the time themselves see the whole run happen at its end.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

from langchain_core.callbacks import AsyncCallbackManagerForChainRun, BaseCallbackHandler, CallbackManagerForChainRun
from langchain_core.callbacks.base import BaseCallbackManager
from langchain_core.callbacks.manager import ahandle_event, handle_event
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import patch_config, var_child_runnable_config

from langchain_llama_guard._held_graph_streams import HeldGraphStreams

T = TypeVar("T")
RunManager = CallbackManagerForChainRun | AsyncCallbackManagerForChainRun

_IGNORED_BY = {
    "on_llm_start": "ignore_llm",
    "on_chat_model_start": "ignore_chat_model",
    "on_llm_new_token": "ignore_llm",
    "on_stream_event": "ignore_llm",
    "on_llm_end": "ignore_llm",
    "on_llm_error": "ignore_llm",
    "on_chain_start": "ignore_chain",
    "on_chain_end": "ignore_chain",
    "on_chain_error": "ignore_chain",
    "on_agent_action": "ignore_agent",
    "on_agent_finish": "ignore_agent",
    "on_tool_start": "ignore_agent",
    "on_tool_end": "ignore_agent",
    "on_tool_error": "ignore_agent",
    "on_retriever_start": "ignore_retriever",
    "on_retriever_end": "ignore_retriever",
    "on_retriever_error": "ignore_retriever",
    "on_retry": "ignore_retry",
    "on_text": None,
    "on_custom_event": "ignore_custom_event",
}
"""LangChain's events, and the handler's attribute by which it asks not to be told."""


Event = tuple[list[BaseCallbackHandler], str, tuple[Any, ...], dict[str, Any]]
"""Who is to be told, of what, and how it was told."""


class OnlyHandler(BaseCallbackHandler):
    """Hears nothing, and sees to it that no handler beside it hears anything either.

    LangChain adds handlers to a run from many places: the model's `callbacks`, `with_config`, context hooks, the
    environment, debug mode. All of them go through `add_handler`, which leaves out a handler that is there
    already: this one passes for each of them.
    """

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return id(self)

    def on_chat_model_start(self, *_: Any, **__: Any) -> None:
        """Hear nothing; without this, LangChain writes all messages out as text for `on_llm_start`."""


class HeldEvents(OnlyHandler):
    """Writes down what happens in a run, and tells the application's handlers later or never."""

    run_inline = True

    def __init__(self, run_manager: RunManager) -> None:
        self.told = run_manager.inheritable_handlers
        self.events: list[Event] = []
        self.graph_streams = HeldGraphStreams()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, _HeldForOne):
            return False
        from langchain_core.tracers.stdout import ConsoleCallbackHandler  # noqa: PLC0415 - slow to import

        # A console handler is debug mode's: the application has one of its own, which is told what is written here.
        if isinstance(other, BaseCallbackHandler) and not isinstance(other, OnlyHandler | ConsoleCallbackHandler):
            # Who is being compared knows neither the run nor its manager; `add_handler`, which compares, does.
            self._hold_for(other, sys._getframe(1).f_locals)
        return True

    __hash__ = OnlyHandler.__hash__

    def config(self, config: RunnableConfig, run_manager: RunManager) -> RunnableConfig:
        """The config for the chain under guard: everything of the application's but its handlers."""
        child = run_manager.get_child()
        child.handlers, child.inheritable_handlers = [self], [self]
        return self.graph_streams.config(patch_config(config, callbacks=child))

    def forget(self) -> None:
        """Let go of what was not told: it holds errors, and these the frames of streams that were cut."""
        self.events.clear()
        self.graph_streams.forget()

    def release(self) -> None:
        """Tell the handlers what happened."""
        self.graph_streams.release()
        for handlers, name, arguments, named in self._taken():
            handle_event(handlers, name, _IGNORED_BY[name], *arguments, **named)

    async def arelease(self) -> None:
        """Tell the handlers what happened."""
        self.graph_streams.release()
        for handlers, name, arguments, named in self._taken():
            await ahandle_event(handlers, name, _IGNORED_BY[name], *arguments, **named)

    def _hold_for(self, handler: BaseCallbackHandler, adding: Mapping[str, Any]) -> None:
        """Put a recorder where a handler was to be added: to a part of the chain, and maybe to all below it."""
        manager = adding.get("self")
        if not isinstance(manager, BaseCallbackManager) or any(handler is told for told in self.told):
            return
        held = _HeldForOne(handler, self.events)
        for handlers in (manager.handlers, manager.inheritable_handlers)[: 2 if adding.get("inherit") else 1]:
            if not any(isinstance(other, _HeldForOne) and other.told == [handler] for other in handlers):
                handlers.append(held)

    def _taken(self) -> list[Event]:
        events = self.events.copy()
        self.events.clear()
        return events


class _HeldForOne(BaseCallbackHandler):
    """Writes down what a handler attached inside the chain is to be told."""

    run_inline = True

    def __init__(self, handler: BaseCallbackHandler, events: list[Event]) -> None:
        self.told = [handler]
        self.events = events


def _without_frames(told: Any) -> Any:
    """What was told; of the end of a stream that was left, without the traceback, which would keep the stream open."""
    if isinstance(told, BaseException) and not isinstance(told, Exception):
        return type(told)(*told.args)
    return told


def _writes_down(name: str) -> Callable[..., None]:
    def hear(self: HeldEvents | _HeldForOne, *arguments: Any, **named: Any) -> None:
        self.events.append((self.told, name, tuple(map(_without_frames, arguments)), named))

    hear.__name__ = name
    return hear


for _name in _IGNORED_BY:
    setattr(HeldEvents, _name, _writes_down(_name))
    setattr(_HeldForOne, _name, _writes_down(_name))


@contextmanager
def unobserved(config: RunnableConfig | None = None) -> Iterator[None]:
    """Keep LangChain from observing the runs inside with anything the application has attached.

    It finds tracers, usage counters and collectors in context variables and the environment whatever callbacks a
    call is given, and the callbacks themselves in the context where a call is given none.

    Args:
        config: what a call inside that is given no config goes by; left out, what the context says, unheard.
    """
    # Tracing is slow to import, and most programs with LangChain have no guarded chain to run.
    from langchain_core.tracers import context as tracing  # noqa: PLC0415
    from langsmith.run_helpers import tracing_context  # noqa: PLC0415

    inside = config or RunnableConfig(**{**(var_child_runnable_config.get() or {}), "callbacks": [OnlyHandler()]})
    hooks = [hook[0] for hook in getattr(tracing, "_configure_hooks", ())]
    hidden = [(variable, variable.set(None)) for variable in (*hooks, tracing.tracing_v2_callback_var)]
    tokens = [*hidden, (var_child_runnable_config, var_child_runnable_config.set(inside))]
    try:
        with tracing_context(enabled=False):
            yield
    finally:
        for variable, token in reversed(tokens):
            variable.reset(token)


def unobserved_iteration(
    source: Iterator[T], config: RunnableConfig | None = None, *, hidden: bool = True
) -> Generator[T, None, None]:
    """The items of `source`, each made unobserved if `hidden`; in between, the consumer's own context holds."""
    nothing = object()
    try:
        while True:
            with unobserved(config) if hidden else nullcontext():
                item: Any = next(source, nothing)
            if item is nothing:
                return
            yield item
    finally:
        if close := getattr(source, "close", None):
            close()


async def aunobserved_iteration(
    source: AsyncIterator[T], config: RunnableConfig | None = None, *, hidden: bool = True
) -> AsyncGenerator[T, None]:
    """The items of `source`, each made unobserved if `hidden`; in between, the consumer's own context holds."""
    nothing = object()
    try:
        while True:
            with unobserved(config) if hidden else nullcontext():
                item: Any = await anext(source, nothing)
            if item is nothing:
                return
            yield item
    finally:
        if close := getattr(source, "aclose", None):
            await close()
