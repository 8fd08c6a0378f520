"""The guard of the core: whoever asks it shows the text if, and only if, the verdict is safe."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from fault_matrix.marks import UNSAFE_MARK
from fault_matrix.points import Point
from fault_matrix.stand import Stand
from fault_matrix.watch import Seen
from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.errors import LlamaGuardError
from llama_guard_core.guardrail.verdict import Verdict


def _asked(stand: Stand) -> list[dict[str, Any]]:
    script = stand.script
    turns = [{"role": "user", "content": script.prompt}, {"role": "assistant", "content": script.reply}]
    match stand.stage:
        case "prompt":
            return turns[:1]
        case "reply":
            return turns
        case "tool call":
            call = {"name": "search", "arguments": f'{{"query": "{script.query}"}}'}
            calls = [{"id": "c1", "type": "function", "function": call}]
            return [turns[0], {"role": "assistant", "content": None, "tool_calls": calls}]
        case "tool result":
            call = {"name": "search", "arguments": "{}"}
            calls = [{"id": "c1", "type": "function", "function": call}]
            result = {"role": "tool", "tool_call_id": "c1", "content": script.result}
            return [turns[0], {"role": "assistant", "content": None, "tool_calls": calls}, result]
    return [{"role": "user", "content": script.documents[1]}]


def _stage(stand: Stand) -> str | None:
    return "document" if stand.stage == "document" else None


def _acted_on(verdict: Verdict, stand: Stand, seen: Seen) -> None:
    seen.give(verdict.as_dict(), "shown: " + repr(_asked(stand)) if verdict.safe else "a verdict: unsafe")


def check(stand: Stand, seen: Seen) -> None:
    _acted_on(stand.guard.check(_asked(stand), stage=_stage(stand)), stand, seen)


async def acheck(stand: Stand, seen: Seen) -> None:
    _acted_on(await stand.guard.acheck(_asked(stand), stage=_stage(stand)), stand, seen)


def _let_hang_up(stand: Stand) -> None:
    """A host that closes a connection just as it is used again is a race that nobody wins: let it be closed by then."""
    stand.hosts.provider.wait_for_connections(0, within=0.01)


def _next(stand: Stand) -> str:
    return f"About {UNSAFE_MARK}{stand.script.number}."


class LostError(Exception):
    """The next call failed though the host was well again."""


def then_check(stand: Stand, seen: Seen) -> None:
    """Ask again behind the failure, on the connections it has left: the verdict has to be the second text's own."""
    with suppress(LlamaGuardError):
        stand.guard.check(_asked(stand))
    _let_hang_up(stand)
    try:
        verdict = stand.guard.check(_next(stand))
    except LlamaGuardError as error:
        raise LostError from error
    _acted_on(verdict, stand, seen)


async def then_acheck(stand: Stand, seen: Seen) -> None:
    with suppress(LlamaGuardError):
        await stand.guard.acheck(_asked(stand))
    _let_hang_up(stand)
    await asyncio.sleep(0)
    try:
        verdict = await stand.guard.acheck(_next(stand))
    except LlamaGuardError as error:
        raise LostError from error
    _acted_on(verdict, stand, seen)


def _says_unsafe(seen: Seen) -> bool:
    return "a verdict: unsafe" in seen.said


NEXT_CALL = Point(
    "LlamaGuard, the call after",
    "prompt",
    LlamaGuard,
    {"sync plain": then_check, "async plain": then_acheck},
    _says_unsafe,
)
"""The call that follows a failure on the same guard."""

POINTS = [
    Point(
        "LlamaGuard.check, acheck",
        stage,
        LlamaGuard,
        {"sync plain": check, "async plain": acheck},
        is_refused=_says_unsafe,
    )
    for stage in ("prompt", "reply", "tool call", "tool result", "document")
]
