"""The four ways a caller runs something, each giving the text that was shown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable
from with_langchain.four_ways import ALL, Ask

Run = Callable[[Runnable[Any, Any], Any, dict[str, Any]], Awaitable[str]]


def _showing(ask: Ask) -> Run:
    async def run(runnable: Runnable[Any, Any], value: Any, config: dict[str, Any]) -> str:
        shown = await ask(runnable, value, config=config)
        return shown.text if isinstance(shown, BaseMessage) else str(shown)

    return run


WAYS = {name: _showing(ask) for name, ask in ALL.items()}
"""Sync and async, plain and streamed."""
