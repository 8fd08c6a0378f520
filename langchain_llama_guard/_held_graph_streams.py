"""What code inside a guarded chain writes to the streams of the LangGraph graph around it, withheld like its callbacks.

A nested graph writes to the outer one's streams, and `get_stream_writer()` gives anybody a way to: past all callbacks.
LangGraph hands both down in the config, so that is where they are replaced, without importing it. It may be absent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain_core.runnables import RunnableConfig

_STREAM = "__pregel_stream"
_RUNTIME = "__pregel_runtime"


class HeldGraphStreams:
    """Writes down what is written to a graph's streams, and writes it there later or never."""

    def __init__(self) -> None:
        self._written: list[tuple[Callable[[Any], None], Any]] = []

    def config(self, config: RunnableConfig) -> RunnableConfig:
        """The config for the chain under guard, with these streams in the place of the graph's own."""
        configurable = config.get("configurable", {})
        held: dict[str, Any] = {}
        if stream := configurable.get(_STREAM):
            held[_STREAM] = type(stream)(self._instead_of(stream), stream.modes)
        if runtime := configurable.get(_RUNTIME):
            held[_RUNTIME] = runtime.override(stream_writer=self._instead_of(runtime.stream_writer))
        return {**config, "configurable": {**configurable, **held}} if held else config

    def release(self) -> None:
        """Write what was written."""
        while self._written:
            write, thing = self._written.pop(0)
            write(thing)

    def forget(self) -> None:
        """Let go of what was not released."""
        self._written.clear()

    def _instead_of(self, write: Callable[[Any], None]) -> Callable[[Any], None]:
        return lambda thing: self._written.append((write, thing))
