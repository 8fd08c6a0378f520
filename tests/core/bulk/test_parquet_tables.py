"""Tables in Parquet: each column has a type, and rows are in groups."""

from __future__ import annotations

from dataclasses import fields
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from llama_guard_core.bulk.judgements import Judgement
from llama_guard_core.bulk.tables import read_rows, write_records
from llama_guard_core.errors import ConfigurationError


def through_file(folder: Path, records: Any) -> list[dict[str, Any]]:
    write_records(folder / "table.parquet", records)
    return list(read_rows(folder / "table.parquet"))


def test_every_part_of_a_judgement_has_its_type_in_parquet(tmp_path: Path) -> None:
    judged = Judgement(row=0, outcome="judged", safe=False, categories=("S1", "S9"), score=1, kept={"id": "a"})
    failed = Judgement(row=1, outcome="unavailable", reason="timeout", kept={"id": "b"})
    records = [judged.as_dict(), failed.as_dict()]
    assert records == through_file(tmp_path, records)
    schema = parquet.read_schema(tmp_path / "table.parquet")
    types = {name: str(schema.field(name).type) for name in schema.names}
    assert {"row", "id", *(each.name for each in fields(Judgement))} - {"kept"} == set(types)
    assert ("int64", "bool", "double", "int64") == tuple(types[n] for n in ("row", "safe", "cost", "input_tokens"))
    assert types["categories"].startswith("list<")
    assert "string" == types["generation_id"]


@pytest.mark.parametrize(
    ("given_values", "expected"),
    [
        ([1, None, 2], [1, None, 2]),
        ([1, 2.5], [1.0, 2.5]),
        ([True, False], [True, False]),
        ([True, 1], ["true", "1"]),
        (["a", 1, None], ['"a"', "1", None]),
        ([["a"], []], [["a"], []]),
        ([{"a": [1]}, None], ['{"a":[1]}', None]),
        ([2**70, 1], [str(2**70), "1"]),
        ([date(2026, 1, 2)], ["2026-01-02"]),
        ([None], [None]),
    ],
)
@pytest.mark.parametrize("as_given", [list, iter])
def test_a_kept_column_has_the_type_of_all_its_values(
    tmp_path: Path, given_values: list[Any], expected: list[Any], as_given: Any
) -> None:
    rows = through_file(tmp_path, as_given([{"kept": value} for value in given_values]))
    assert expected == [row["kept"] for row in rows]


def test_a_part_of_a_verdict_of_another_type_is_refused_without_being_quoted(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="column safe holds something") as raised:
        write_records(tmp_path / "a.parquet", [{"safe": "zebra"}])
    assert raised.value.__context__ is None
    assert [] == list(tmp_path.iterdir())


def test_parquet_is_written_in_groups(tmp_path: Path) -> None:
    write_records(tmp_path / "a.parquet", ({"row": number} for number in range(50_001)))
    assert 2 == parquet.ParquetFile(tmp_path / "a.parquet").num_row_groups
