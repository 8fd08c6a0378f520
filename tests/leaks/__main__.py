"""Print the leak table: attach points by channels, characters that were seen and that no safe verdict covers."""

from __future__ import annotations

import asyncio
import sys
import warnings
from typing import Any

from leaks import langchain_rows, llamaindex_rows
from leaks.counting import worst
from llama_guard_core import Policy

AHEAD = 40
POLICIES = {
    "window": Policy(),
    "whole": Policy(streaming="whole"),
    "parallel": Policy(prompt_check="parallel"),
    "sentences": Policy(streaming={"unit": "sentences"}),
    "tight": Policy(streaming={"window": 5, "growth": 1}),
}
OPTIMISTIC = {f"optimistic, {AHEAD} ahead": Policy(streaming={"hold": "optimistic", "ahead": AHEAD})}


async def leaks_of(half: Any, row: Any, policy: Policy) -> dict[str, int]:
    """The most that leaked into each channel, sync or async."""
    return worst([await half.streamed(row, policy, asynchronous=each) for each in (False, True)])


def _printed(title: str, rows: dict[str, dict[str, int]]) -> int:
    channels = list(dict.fromkeys(channel for row in rows.values() for channel in row))
    width = max(map(len, rows))
    print(f"\n### {title}\n")
    print(f"| {'attach point':{width}} | {' | '.join(channels)} |")
    print(f"|{'-' * (width + 2)}|{'|'.join('-' * (len(channel) + 2) for channel in channels)}|")
    for name, row in rows.items():
        cells = (str(row.get(channel, "")).rjust(len(channel)) for channel in channels)
        print(f"| {name:{width}} | {' | '.join(cells)} |")
    return sum(sum(row.values()) for row in rows.values())


async def _table(half: Any, policies: dict[str, Policy], rows: dict[str, Any]) -> dict[str, dict[str, int]]:
    return {
        f"{name} [{how}]".replace("|", "\\|"): await leaks_of(half, row, policy)
        for name, row in rows.items()
        for how, policy in policies.items()
    }


async def main() -> int:
    """Print all tables; the number of characters that leaked where none may."""
    print("Characters seen in each channel that no safe verdict covers; the worse of sync and async.")
    total = 0
    for half, title in ((langchain_rows, "LangChain"), (llamaindex_rows, "LlamaIndex")):
        total += _printed(title, await _table(half, POLICIES, half.GUARDED))
        _printed(f"{title}, optimistic: at most {AHEAD}", await _table(half, OPTIMISTIC, half.GUARDED))
        behind = await _table(half, {"window": Policy()}, half.BEHIND_THE_MODEL)
        _printed(f"{title}, a guard behind the model: this is what a leak looks like", behind)
    print(f"\nLeaked by guards inside the model or around it, in all: {total} characters.")
    return total


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.exit(1 if asyncio.run(main()) else 0)
