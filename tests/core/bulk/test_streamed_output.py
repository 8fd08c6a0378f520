"""Verdicts to a stream: whole lines, each row in its turn."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_guard_core.bulk.judgements import Judgement
from llama_guard_core.bulk.streamed_output import StreamedOutput
from llama_guard_core.errors import ConfigurationError


def _judgement(row: int, **kept: Any) -> Judgement:
    return Judgement(row=row, outcome="judged", safe=row % 3 != 0, cost=0.5, kept=kept)


def _rows(stream: io.BytesIO) -> list[int]:
    return [json.loads(line)["row"] for line in stream.getvalue().splitlines()]


@settings(deadline=None)  # the machine may be busy
@given(st.permutations(range(12)))
def test_rows_come_out_in_their_order_in_whatever_order_they_are_put_in(order: list[int]):
    stream = io.BytesIO()
    output = StreamedOutput(stream)
    for count, row in enumerate(order, 1):
        output.put(0, _judgement(row))
        assert [*range(next(at for at in range(13) if at not in order[:count]))] == _rows(stream)

    output.finish()
    assert [*range(12)] == _rows(stream)
    assert (12, 4) == (output.tally.rows, output.tally.unsafe)


def test_what_was_held_back_for_rows_that_are_never_done_is_written_in_the_end():
    stream = io.BytesIO()
    output = StreamedOutput(stream)
    for row in (5, 0, 3):
        output.put(0, _judgement(row))
    assert [0] == _rows(stream)

    output.finish()
    assert [0, 3, 5] == _rows(stream)


def test_whoever_reads_has_a_row_as_soon_as_it_is_written():
    class Unflushed(io.BytesIO):
        seen = b""

        def flush(self) -> None:
            self.seen = self.getvalue()

    stream = Unflushed()
    StreamedOutput(stream).put(0, _judgement(0))
    assert b"}\n" == stream.seen[-2:]


def test_a_table_has_one_header():
    stream = io.BytesIO()
    output = StreamedOutput(stream, format="csv")
    for row in range(3):
        output.put(0, _judgement(row, id=f"r{row}"))

    header, *lines = stream.getvalue().decode().splitlines()
    assert "row,id,outcome," == header[:15]
    assert [["0", "r0"], ["1", "r1"], ["2", "r2"]] == [line.split(",")[:2] for line in lines]


@pytest.mark.parametrize("details", [False, True])
def test_details_are_told_if_they_are_asked_for(details: bool):
    stream = io.BytesIO()
    StreamedOutput(stream, details=details).put(0, _judgement(0))

    assert details == ("cost" in json.loads(stream.getvalue()))


def test_no_row_is_done_before_it_is_asked_about():
    output = StreamedOutput(io.BytesIO())
    output.put(7, _judgement(0))

    assert not output.has(0, 7)


def test_a_format_that_is_no_lines_is_refused():
    with pytest.raises(ConfigurationError, match="parquet"):
        StreamedOutput(io.BytesIO(), format="parquet")
