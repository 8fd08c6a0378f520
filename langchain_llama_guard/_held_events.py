"""The callback events of a chain under guard, withheld until its output may be seen.

A guard around somebody's chain comes too late for callbacks: the chain's own model has told them each
token already. So the chain runs with one handler that only writes down what happened; if the output may be
shown, the application's handlers are told then, in order, under the same run ids. If not, they never are.

Handlers that stamp the time themselves see the whole run happen at its end.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, TypeVar
from uuid import UUID

from langchain_core.callbacks import AsyncCallbackManagerForChainRun, BaseCallbackHandler, CallbackManagerForChainRun
from langchain_core.callbacks.manager import ahandle_event, handle_event
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import patch_config, var_child_runnable_config
from langchain_core.tracers import context as tracing
from langchain_core.tracers.stdout import ConsoleCallbackHandler
from langsmith.run_helpers import tracing_context

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
        self._handlers = run_manager.inheritable_handlers
        self._events: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self._local_handlers: dict[UUID, list[BaseCallbackHandler]] = {}

    def __eq__(self, other: object) -> bool:
        # A console handler is debug mode's: the application has one of its own, which is told what is written here.
        if isinstance(other, BaseCallbackHandler) and not isinstance(other, OnlyHandler | ConsoleCallbackHandler):
            _arrived.set((*_arrived.get(), other))
        return True

    __hash__ = OnlyHandler.__hash__

    def config(self, config: RunnableConfig, run_manager: RunManager) -> RunnableConfig:
        """The config for the chain under guard: everything of the application's but its handlers."""
        child = run_manager.get_child()
        child.handlers, child.inheritable_handlers = [self], [self]
        return patch_config(config, callbacks=child)

    def release(self) -> None:
        """Tell the handlers what happened."""
        for name, arguments, named in self._taken():
            handle_event(self._told(named), name, _IGNORED_BY[name], *arguments, **named)

    async def arelease(self) -> None:
        """Tell the handlers what happened."""
        for name, arguments, named in self._taken():
            await ahandle_event(self._told(named), name, _IGNORED_BY[name], *arguments, **named)

    def write_down(self, name: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Take an event; where it starts a run, the handlers that came with that run are for it and all below."""
        if name.endswith("_start"):
            inherited = self._local_handlers.get(named.get("parent_run_id"), [])  # type: ignore[arg-type]
            self._local_handlers[named["run_id"]] = [*inherited, *_arrived.get()]
            _arrived.set(())
        self._events.append((name, arguments, named))

    def _taken(self) -> list[tuple[str, tuple[Any, ...], dict[str, Any]]]:
        events, self._events = self._events, []
        return events

    def _told(self, named: dict[str, Any]) -> list[BaseCallbackHandler]:
        local = self._local_handlers.get(named["run_id"], [])
        return list({id(handler): handler for handler in (*self._handlers, *local)}.values())


_arrived: ContextVar[tuple[BaseCallbackHandler, ...]] = ContextVar("llama_guard_arrived_handlers", default=())
"""Handlers that LangChain meant to add to the run which starts next in this context."""


def _writes_down(name: str) -> Callable[..., None]:
    def hear(self: HeldEvents, *arguments: Any, **named: Any) -> None:
        self.write_down(name, arguments, named)

    hear.__name__ = name
    return hear


for _name in _IGNORED_BY:
    setattr(HeldEvents, _name, _writes_down(_name))


@contextmanager
def unobserved(config: RunnableConfig | None = None) -> Iterator[None]:
    """Keep LangChain from observing the runs inside with anything the application has attached.

    It finds tracers, usage counters and collectors in context variables and the environment whatever callbacks a
    call is given, and the callbacks themselves in the context where a call is given none.

    Args:
        config: what a call inside that is given no config goes by; left out, what the context says, unheard.
    """
    inside = config or RunnableConfig(**{**(var_child_runnable_config.get() or {}), "callbacks": [OnlyHandler()]})
    hooks = [hook[0] for hook in getattr(tracing, "_configure_hooks", ())]
    hidden = [(variable, variable.set(None)) for variable in (*hooks, tracing.tracing_v2_callback_var)]
    tokens: list[tuple[ContextVar[Any], Any]] = [
        *hidden,
        (var_child_runnable_config, var_child_runnable_config.set(inside)),
        (_arrived, _arrived.set(())),
    ]
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
        if isinstance(source, Generator):
            source.close()


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
        if isinstance(source, AsyncGenerator):
            await source.aclose()
