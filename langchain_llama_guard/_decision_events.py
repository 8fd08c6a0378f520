"""What the guard decided, told to the application as custom events named `llama_guard`."""

from __future__ import annotations

from collections.abc import Iterable

from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event

from langchain_llama_guard._held_events import RunManager
from llama_guard_core.guardrail.decisions import Allow, Refuse, decision_records

EVENT_NAME = "llama_guard"


def announce(decisions: Iterable[Allow | Refuse], run_manager: RunManager) -> None:
    """Tell the handlers of this run what was decided. No judged text is in it."""
    for decision in decisions:
        for record in decision_records(decision):
            dispatch_custom_event(EVENT_NAME, record, config={"callbacks": run_manager.get_child()})


async def aannounce(decisions: Iterable[Allow | Refuse], run_manager: RunManager) -> None:
    """Tell the handlers of this run what was decided. No judged text is in it."""
    for decision in decisions:
        for record in decision_records(decision):
            await adispatch_custom_event(EVENT_NAME, record, config={"callbacks": run_manager.get_child()})
