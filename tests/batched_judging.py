"""Rows that go through a fake Batch API, and what comes of them in words that can be compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fake_provider.batches import FakeBatches

from llama_guard_core.bulk.batch_record import BatchRecord
from llama_guard_core.bulk.batched_checks import ajudged_in_batches
from llama_guard_core.bulk.batching import Batching
from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.errors import GuardUnavailable
from llama_guard_core.guardrail.screening import Check, check_of
from llama_guard_core.messages import as_conversation

TEXTS = ["a BOMB", "a walnut tree", "a KNIFE", "an oak", "a HEIST"]
OF_TWO = {"requests_per_job": 2}


def check(text: object) -> Check:
    return check_of(as_conversation(text))


def numbered(texts: list[str]) -> list[tuple[int, Check]]:
    return [(row, check(text)) for row, text in enumerate(texts)]


def guard_at(batches: FakeBatches, **settings: Any) -> LlamaGuard:
    given = {"api_key": "sk-or-v1-0123456789", "max_retries": 0, "cache": False, **settings}
    return LlamaGuard(http_async_client=batches.async_client(), **given)


async def judged(
    batches: FakeBatches, record: Path, rows: Any = None, guard: LlamaGuard | None = None, **batching: Any
) -> dict[int, Any]:
    """What came of each row, by its place; a row that comes twice fails the test."""
    outcomes: dict[int, Any] = {}
    at_once = Batching(**{"first_pause": 0.0, "longest_pause": 0.0, **batching})
    stream = ajudged_in_batches(
        guard or guard_at(batches),
        numbered(TEXTS) if rows is None else rows,
        record=BatchRecord(record),
        batching=at_once,
    )
    async for row, outcome in stream:
        assert row not in outcomes
        outcomes[row] = outcome
    assert [] == batches.violations
    return outcomes


def said(outcome: Any) -> str:
    if isinstance(outcome, GuardUnavailable):
        return outcome.reason
    return ",".join(category.code for category in outcome.categories) or "safe"


def words(outcomes: dict[int, Any]) -> list[str]:
    return [said(outcomes[row]) for row in sorted(outcomes)]


ALL = ["S9", "safe", "S1", "safe", "S1,S2"]
