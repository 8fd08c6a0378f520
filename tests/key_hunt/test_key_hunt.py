"""No key shows anywhere: not in an object, an exception, a traceback with locals, a log, a trace, a pickle or a file."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("langgraph", reason="LangGraph is not installed")
pytest.importorskip("langchain.agents", reason="langchain, which has create_agent, is not installed")
pytest.importorskip("llama_index.core", reason="LlamaIndex is not installed")

from key_hunt.__main__ import parts
from key_hunt.controls import planted
from key_hunt.places import EXCEPTION_PLACES, OBJECT_PLACES
from key_hunt.tally import Tally, table

pytestmark = pytest.mark.filterwarnings("ignore")


def _named(part: Callable[[], Tally]) -> str:
    return " ".join([getattr(part, "func", part).__name__, *getattr(part, "args", ())])


@pytest.mark.parametrize("part", [pytest.param(part, id=_named(part)) for part in parts()])
def test_the_key_is_nowhere(part: Callable[[], Tally]) -> None:
    tally = part()
    assert [] == tally.found
    assert [] == tally.missed
    assert tally.looked


def test_a_planted_key_is_found_in_every_place_that_is_looked_at() -> None:
    """What other processes write is planted by the command alone: it takes its time."""
    tally = planted()
    assert {*OBJECT_PLACES, *EXCEPTION_PLACES} <= set(tally.looked)
    assert [] == [place for place in tally.looked if not tally.found_in(place)]


def test_tracebacks_by_rich_and_pickles_by_cloudpickle_were_looked_at() -> None:
    pytest.importorskip("rich")
    pytest.importorskip("cloudpickle")
    assert "cloudpickle" in OBJECT_PLACES
    assert "traceback by rich, with locals" in EXCEPTION_PLACES


def test_the_table_says_what_was_found_and_what_the_control_says() -> None:
    tally = Tally()
    tally.look("here", "a thing", "nothing")
    tally.look("here", "a thing", "its key, over two lines: quill4\n  harbour")
    row = table(tally, {"here": False}).splitlines()[-1]
    assert ["here", "1", "2", "1", "NO"] == [cell.strip() for cell in row.strip("|").split("|")]
