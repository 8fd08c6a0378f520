"""All that is fuzzed, and how many cases each gets for so many answers of the guard."""

from __future__ import annotations

from collections.abc import Callable

from hostile_text import (
    agent_calls,
    event_streams,
    guard_answers,
    langchain_conversations,
    llamaindex_conversations,
    streamed_chunks,
    terminals,
    tool_values,
)
from hostile_text.counting import Row

_MOST = 20_000  # of what takes a hundred times as long as to read an answer
_MOST_TIMES = 5


def _scaled(rows: Callable[[int, int], list[Row]], share: int, most: int = _MOST) -> Callable[[int, int], list[Row]]:
    return lambda seed, cases: rows(seed, min(most, max(1, cases // share)))


FUZZERS: dict[str, Callable[[int, int], list[Row]]] = {
    "answers": guard_answers.rows,
    "event streams": _scaled(event_streams.rows, 40),
    "LangChain conversations": _scaled(langchain_conversations.rows, 20),
    "LlamaIndex conversations": _scaled(llamaindex_conversations.rows, 20),
    "streamed chunks": _scaled(streamed_chunks.rows, 40, _MOST // 2),
    "tools": _scaled(tool_values.rows, 20_000, _MOST_TIMES),
    "agents": _scaled(agent_calls.rows, 20_000, _MOST_TIMES),
    "terminals": _scaled(terminals.rows, 40, _MOST // 4),
}
"""By name: from a seed and a number of cases to what came of them."""
