"""How much memory very many checks take, on a host that answers within the process: `python -m benchmarks.bulk_memory`.

The texts are made as they are read, and the verdicts are thrown away. What is left is what `acheck_many` and the cache
hold. One text in a thousand takes a hundred times as long as the others.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

import httpx

from benchmarks.subjects import KEY
from llama_guard_core import LlamaGuard

_TOLD = 10  # times
_LATENCY = 0.002  # seconds
_SLOW, _SLOWER = 1_000, 100
_ANSWER = {"choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": "\n\nsafe"}}]}
_MEMORY = ("VmRSS", "VmHWM")


async def _measured(rows: int, at_once: int, *, as_completed: bool) -> None:
    asked = 0

    async def answer(_: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        await asyncio.sleep(_LATENCY * (1 if asked % _SLOW else _SLOWER))
        return httpx.Response(200, json=_ANSWER)

    texts = (f"Name the river that is number {number} in Switzerland." for number in range(rows))
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        guard = LlamaGuard(base_url="http://localhost/v1", api_key=KEY, http_async_client=client)
        done = 0
        print(f"{done:>9,} rows: {_memory()}")
        async for checked in guard.acheck_many(texts, concurrency=at_once, as_completed=as_completed):
            assert not checked.verdict.cached
            done += 1
            if done % (rows // _TOLD) == 0:
                print(f"{done:>9,} rows: {_memory()}", flush=True)


def _memory() -> str:
    """What is resident, and the most that was."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    resident, most = (int(lines[name].split()[0]) / 1000 for name in _MEMORY)
    return f"{resident:.1f} MB resident, {most:.1f} MB at most"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bulk_memory", description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--as-completed", action="store_true")
    options = parser.parse_args()
    asyncio.run(_measured(options.rows, options.at_once, as_completed=options.as_completed))


if __name__ == "__main__":
    main()
