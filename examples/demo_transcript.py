"""The demo's transcript: who said what, what was decided, tokens and time."""

from __future__ import annotations

from typing import Any

from llama_guard_core import Verdict


def show_line(who: str, what: str, tokens: str = "", seconds: float | None = None) -> None:
    """One line of the transcript."""
    took = f"{seconds * 1000:5.0f} ms" if seconds is not None else ""
    print(f"  {who:<7} {what:<58} {tokens:>14} {took:>9}".rstrip())


def show_decision(record: dict[str, Any]) -> None:
    """What was decided about a text, as it stands in a message's metadata."""
    verdict = record["verdict"]
    if verdict is None:
        show_line("guard", f"{record['stage']}: NO VERDICT ({record['no_verdict']}), {record['action']}d")
        return
    hazards = ", ".join(f"{category['code']} {category['name']}" for category in verdict["categories"])
    outcome = "safe" if verdict["safe"] else f"UNSAFE {hazards}"
    show_line("guard", f"{record['stage']}: {outcome}", f"{verdict['tokens']} tokens", verdict["latency"])


def show_verdict(verdict: Verdict) -> None:
    """What the guard said of a text, when it said it."""
    outcome = "safe" if verdict.safe else f"UNSAFE {', '.join(map(str, verdict.categories))}"
    tokens = f"{verdict.usage.total_tokens} tokens" if verdict.usage else ""
    show_line("guard", f"{verdict.stage.value}: {outcome}", tokens, verdict.latency)
