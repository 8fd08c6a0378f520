"""The four ways to ask a chat model, as one: a test says what is true of each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import reduce
from operator import add
from typing import Any

import pytest
from langchain_core.runnables import Runnable

Ask = Callable[..., Awaitable[Any]]


async def invoke(runnable: Runnable[Any, Any], value: Any, **settings: Any) -> Any:
    return runnable.invoke(value, **settings)


async def ainvoke(runnable: Runnable[Any, Any], value: Any, **settings: Any) -> Any:
    return await runnable.ainvoke(value, **settings)


async def stream(runnable: Runnable[Any, Any], value: Any, **settings: Any) -> Any:
    return reduce(add, list(runnable.stream(value, **settings)))


async def astream(runnable: Runnable[Any, Any], value: Any, **settings: Any) -> Any:
    return reduce(add, [piece async for piece in runnable.astream(value, **settings)])


async def pieces(ask: Ask, runnable: Runnable[Any, Any], value: Any, into: list[Any]) -> None:
    """Stream into a list, which keeps what came before a failure."""
    if ask is stream:
        for piece in runnable.stream(value):
            into.append(piece)  # noqa: PERF402 - a copy would be lost with the failure
    else:
        async for piece in runnable.astream(value):
            into.append(piece)  # noqa: PERF401 - as above


WHOLE: dict[str, Ask] = {"invoke": invoke, "ainvoke": ainvoke}
STREAMED: dict[str, Ask] = {"stream": stream, "astream": astream}
ALL = {**WHOLE, **STREAMED}

every_way = pytest.mark.parametrize("ask", ALL.values(), ids=ALL)
whole_ways = pytest.mark.parametrize("ask", WHOLE.values(), ids=WHOLE)
streamed_ways = pytest.mark.parametrize("ask", STREAMED.values(), ids=STREAMED)
