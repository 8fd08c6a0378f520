"""The callback events of a chain under guard, withheld until its output may be seen.

A guard around somebody's chain comes too late for callbacks: the chain's own model has told them each
token already. So the chain runs with one handler that only writes down what happened; if the output may be
shown, the application's handlers are told then, in order, under the same run ids. If not, they never are.

Handlers that stamp the time themselves see the whole run happen at its end.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TypeVar

from langchain_core.callbacks import AsyncCallbackManagerForChainRun, BaseCallbackHandler, CallbackManagerForChainRun
from langchain_core.callbacks.manager import ahandle_event, handle_event
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import patch_config
from langchain_core.tracers import context as tracing
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


class HeldEvents(BaseCallbackHandler):
    """Writes down what happens in a run, and tells the application's handlers later or never."""

    run_inline = True

    def __init__(self, run_manager: RunManager) -> None:
        self._handlers = run_manager.handlers
        self._events: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def config(self, config: RunnableConfig, run_manager: RunManager) -> RunnableConfig:
        """The config for the chain under guard: everything of the application's but its handlers."""
        child = run_manager.get_child()
        child.handlers, child.inheritable_handlers = [self], [self]
        return patch_config(config, callbacks=child)

    def release(self) -> None:
        """Tell the application's handlers what happened."""
        for name, arguments, named in self._taken():
            handle_event(self._handlers, name, _IGNORED_BY[name], *arguments, **named)

    async def arelease(self) -> None:
        """Tell the application's handlers what happened."""
        for name, arguments, named in self._taken():
            await ahandle_event(self._handlers, name, _IGNORED_BY[name], *arguments, **named)

    def _taken(self) -> list[tuple[str, tuple[Any, ...], dict[str, Any]]]:
        events, self._events = self._events, []
        return events


def _writes_down(name: str) -> Callable[..., None]:
    def write_down(self: HeldEvents, *arguments: Any, **named: Any) -> None:
        self._events.append((name, arguments, named))

    write_down.__name__ = name
    return write_down


for _name in _IGNORED_BY:
    setattr(HeldEvents, _name, _writes_down(_name))


@contextmanager
def unobserved() -> Iterator[None]:
    """Keep LangChain from adding handlers of its own to the runs inside: tracers, usage counters, collectors.

    It finds those in context variables and the environment, whatever callbacks a call is given.
    """
    hooks = [hook[0] for hook in getattr(tracing, "_configure_hooks", ())]
    tokens = [(variable, variable.set(None)) for variable in (*hooks, tracing.tracing_v2_callback_var)]
    try:
        with tracing_context(enabled=False):
            yield
    finally:
        for variable, token in reversed(tokens):
            variable.reset(token)


def unobserved_iteration(source: Iterator[T], *, hidden: bool = True) -> Generator[T, None, None]:
    """The items of `source`, each made unobserved if `hidden`; in between, the consumer's own context holds."""
    nothing = object()
    try:
        while True:
            with unobserved() if hidden else nullcontext():
                item: Any = next(source, nothing)
            if item is nothing:
                return
            yield item
    finally:
        if isinstance(source, Generator):
            source.close()


async def aunobserved_iteration(source: AsyncIterator[T], *, hidden: bool = True) -> AsyncGenerator[T, None]:
    """The items of `source`, each made unobserved if `hidden`; in between, the consumer's own context holds."""
    nothing = object()
    try:
        while True:
            with unobserved() if hidden else nullcontext():
                item: Any = await anext(source, nothing)
            if item is nothing:
                return
            yield item
    finally:
        if isinstance(source, AsyncGenerator):
            await source.aclose()
