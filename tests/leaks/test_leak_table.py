"""No channel sees a character of a streamed reply that no safe verdict covers; a guard behind the model would show."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("langgraph", reason="LangGraph is not installed")
pytest.importorskip("langchain.agents", reason="langchain, which has create_agent, is not installed")

from leaks import langchain_rows, llamaindex_rows
from leaks.__main__ import AHEAD, OPTIMISTIC, POLICIES
from leaks.counting import REFUSAL, WORDS, Seen

pytestmark = [
    pytest.mark.filterwarnings("ignore:The .*:langchain_core._api.LangChainBetaWarning"),
    # LlamaIndex's agents look at deprecated attributes of their own: of their models, and of their context.
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step"),
]
HALVES = (langchain_rows, llamaindex_rows)
both_colours = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])


def _rows(table: str) -> list[Any]:
    return [pytest.param(half, row, id=name) for half in HALVES for name, row in getattr(half, table).items()]


@both_colours
@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize(("half", "row"), _rows("GUARDED"))
async def test_no_channel_sees_what_no_verdict_covers(half: Any, row: Any, policy: Any, asynchronous: bool) -> None:
    seen: Seen = await half.streamed(row, policy, asynchronous=asynchronous)
    assert dict.fromkeys(seen.texts, 0) == seen.leaked()
    shown = [channel for channel in seen.texts if REFUSAL in seen.text(channel)]
    assert shown
    if policy.streaming.hold != "whole" and any(map(seen.texts.get, ("pieces", "messages", "shown"))):
        assert WORDS[0].strip() in "".join(map(seen.text, shown)), "it does stream"


@both_colours
@pytest.mark.parametrize(("half", "row"), _rows("GUARDED"))
async def test_an_optimistic_stream_is_ahead_by_no_more_than_it_says(half: Any, row: Any, asynchronous: bool) -> None:
    (policy,) = OPTIMISTIC.values()
    seen: Seen = await half.streamed(row, policy, asynchronous=asynchronous)
    assert max(seen.leaked().values()) <= AHEAD


@both_colours
@pytest.mark.parametrize(("half", "row"), _rows("BEHIND_THE_MODEL"))
async def test_the_table_shows_the_leaks_of_a_guard_behind_the_model(half: Any, row: Any, asynchronous: bool) -> None:
    seen: Seen = await half.streamed(row, POLICIES["window"], asynchronous=asynchronous)
    leaking = {channel for channel, leaked in seen.leaked().items() if leaked}
    assert leaking >= {"callbacks"}
    assert len(leaking) > 1
