"""Whatever a guard is attached to, in whichever framework: the same scenario has the same outcome."""

from __future__ import annotations

import inspect
from importlib import import_module
from itertools import product
from typing import Any

import pytest
from agreement.scenarios import SCENARIOS, Outcome, Staged

from llama_guard_core import GuardUnavailable, UnsafeContent

COLUMNS = {
    "core": "core",
    **dict.fromkeys(["ChatLlamaScout", "guarded model", "guarded chain"], "langchain"),
    **dict.fromkeys(["LlamaScout", "GuardedLLM", "GuardedQueryEngine"], "llamaindex"),
}
"""Who is asked, and which of the `columns_*` modules knows how."""

FRAMEWORKS = {"langchain": "langchain_core", "llamaindex": "llama_index.core"}
TEXT_ALONE = {"GuardedQueryEngine"}
WAYS = ["plain", "aplain", "streamed", "astreamed"]

CASES = [
    (scenario, column, way)
    for scenario, column, way in product(SCENARIOS, COLUMNS, WAYS)
    if column not in TEXT_ALONE or SCENARIOS[scenario].said.is_text_alone
]


@pytest.mark.parametrize(("scenario", "column", "way"), CASES)
async def test_everywhere_the_outcome_is_the_same(scenario: str, column: str, way: str) -> None:
    if framework := FRAMEWORKS.get(COLUMNS[column]):
        pytest.importorskip(framework)
    columns = import_module(f"agreement.columns_{COLUMNS[column]}")
    staged = Staged(SCENARIOS[scenario], columns.GUARD)
    asked = columns.COLUMNS[column](staged)
    try:
        told = getattr(asked, way)()
        shown, records = await told if inspect.isawaitable(told) else told
    except (UnsafeContent, GuardUnavailable) as error:
        shown, records = type(error).__name__, []
    assert staged.scenario.outcome == Outcome(shown, tuple(map(_noted, records)), asked.calls)
    assert [] == staged.provider.violations
    assert 0 == staged.provider.responses_open


def _noted(record: dict[str, Any]) -> str:
    notes = [*record.get("flagged", []), "overruled" if record.get("overruled") else None, record["no_verdict"]]
    return " ".join(filter(None, [record["stage"], record["action"], *notes]))
