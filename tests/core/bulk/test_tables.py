"""Tables are read lazily and quote nothing; they are written whole or not at all."""

from __future__ import annotations

import gzip
import io
import json
import os
from collections.abc import Iterator
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_guard_core.bulk.tables import read_rows, record_lines, table_format, write_records
from llama_guard_core.errors import ConfigurationError

HOSTILE = (
    "",
    " ",
    "\n",
    "\r",
    "\r\n",
    '"',
    '""',
    ",",
    ";",
    "\t",
    "\0",
    "\u2028",
    "\ufeff",
    "'",
    "\\",
    "=1+1",
    "\U0001f600",
)
texts = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(HOSTILE)
values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
names_of_columns = texts.filter(lambda name: not name.startswith("\ufeff"))  # a file's byte order mark, if it is first
nested = st.recursive(
    values, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2), max_leaves=3
)


def read(content: bytes, kind: str = "jsonl", **settings: Any) -> list[dict[str, Any]]:
    return list(read_rows(io.BytesIO(content), format=kind, **settings))


def error_without_quote(content: bytes, kind: str = "jsonl", **settings: Any) -> str:
    with pytest.raises(ConfigurationError) as raised:
        read(content, kind, **settings)
    assert raised.value.__context__ is None
    assert "zebra" not in str(raised.value).lower()
    return str(raised.value)


def through_file(folder: Path, suffix: str, records: Any) -> list[dict[str, Any]]:
    write_records(folder / f"table.{suffix}", records)
    return list(read_rows(folder / f"table.{suffix}"))


@given(st.lists(st.dictionaries(texts, nested, max_size=3), max_size=3))
def test_what_is_written_as_json_lines_is_read_as_it_was(records: list[dict[str, Any]]) -> None:
    lines = list(record_lines(records))
    assert len(records) == len(lines) == b"".join(lines).count(b"\n")
    assert records == read(b"".join(lines))


@pytest.mark.parametrize("kind", ["csv", "tsv"])
@given(
    st.lists(names_of_columns, min_size=1, max_size=3, unique=True).flatmap(
        lambda names: st.lists(st.fixed_dictionaries(dict.fromkeys(names, texts)), max_size=3)
    )
)
def test_texts_written_as_csv_are_read_as_they_were(kind: str, records: list[dict[str, Any]]) -> None:
    assert records == read(b"".join(record_lines(records, kind)), kind)


def test_half_a_character_is_written_and_read_as_a_replacement(tmp_path: Path) -> None:
    half = {"a": "x\ud800", "b": ["\udc00"]}
    whole = [{"a": "x\ufffd", "b": ["\ufffd"]}]
    assert whole == read(rb'{"a": "x\ud800", "b": ["\udc00"]}') == read(b"".join(record_lines([half])))
    assert whole == through_file(tmp_path, "parquet", [half])
    assert [{"a": "x\ufffd", "b": "\ufffd"}] == through_file(tmp_path, "csv", [half])


def test_values_that_are_no_texts_have_one_form_each_in_csv() -> None:
    row = {"t": True, "f": False, "n": None, "i": 3, "x": 0.1, "nan": float("nan"), "l": ["S1", "S10"], "e": []}
    row |= {"o": {"a": 1}, "m": [1, "a"], "s": ["a;b"], "d": date(2026, 1, 2), "b": b"\0", "true": "true"}
    header, line = b"".join(record_lines([row], "csv")).splitlines()
    assert b"t,f,n,i,x,nan,l,e,o,m,s,d,b,true" == header
    assert b'true,false,,3,0.1,,S1;S10,,"{""a"":1}","[1,""a""]","[""a;b""]",2026-01-02,AA==,true' == line


def test_json_lines_are_compact_and_hold_nothing_that_is_no_json() -> None:
    record = {"a": "é", "nan": [float("inf")], "d": datetime(2026, 1, 2, tzinfo=timezone.utc)}
    assert '{"a":"é","nan":[null],"d":"2026-01-02T00:00:00+00:00"}\n'.encode() == b"".join(record_lines([record]))


def test_a_record_with_a_new_column_is_refused_where_the_header_is_written() -> None:
    with pytest.raises(ConfigurationError, match="record 2 has a column"):
        list(record_lines([{"a": 1}, {"a": 1, "zebra": 2}], "csv"))
    assert b"a,b\r\n1,2\r\n,3\r\n" == b"".join(record_lines([{"a": 1, "b": 2}, {"b": 3}], "csv"))


def test_what_has_no_lines_is_not_put_out_by_line() -> None:
    with pytest.raises(ConfigurationError, match="as jsonl, csv or tsv, not parquet"):
        record_lines([], "parquet")


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        ("jsonl", b'{"a": "1"}\n\n \r\n{"a": "2"}'),
        ("ndjson", b'{"a": "1"}\r\n{"a": "2"}\r\n'),
        ("csv", b"a\r\n1\r\n\r\n2"),
        ("TSV", b'a\n"1"\n2\n'),
        ("json", b'[{"a": "1"}, {"a": "2"}]'),
    ],
)
@pytest.mark.parametrize("gz", [False, True])
def test_each_format_of_text_is_read_by_suffix_and_from_a_stream(
    tmp_path: Path, suffix: str, content: bytes, gz: bool, bom: bytes
) -> None:
    path = tmp_path / f"a.{suffix}{'.gz' if gz else ''}"
    path.write_bytes(gzip.compress(bom + content) if gz else bom + content)
    rows = [{"a": "1"}, {"a": "2"}]
    assert rows == list(read_rows(path)) == list(read_rows(str(path)))
    assert rows == read(path.read_bytes(), path.name[2:])


def test_a_stream_is_json_lines_and_stays_open() -> None:
    for kind, content in ((None, b'{"a": "1"}'), ("csv", b"a\n1"), ("csv.gz", gzip.compress(b"a\n1"))):
        stream = io.BytesIO(content)
        assert [{"a": "1"}] == list(read_rows(stream, format=kind))
        assert not stream.closed


def test_rows_are_read_as_they_are_asked_for() -> None:
    rows = read_rows(io.BytesIO(b'{"a": 1}\nno JSON'))
    assert {"a": 1} == next(rows)


def test_only_the_columns_asked_for_are_given(tmp_path: Path) -> None:
    for suffix in ("jsonl", "parquet"):
        write_records(tmp_path / f"a.{suffix}", [{"a": 1, "b": 2, "c": 3}])
        assert [{"a": 1, "c": 3}] == list(read_rows(tmp_path / f"a.{suffix}", columns=["a", "c", "d"]))


def test_columns_without_header_have_numbers() -> None:
    assert [{"0": "a", "1": "b"}] == read(b"a,b\n", "csv", header=False)


def test_a_comma_without_quotes_cuts_nothing_off_a_table_of_one_column() -> None:
    assert [{"a": "b"}, {"a": "c, d"}] == read(b"a\nb\nc, d\n", "csv")


def test_a_field_may_be_larger_than_the_csv_module_likes() -> None:
    assert [{"a": "x" * 200_000}] == read(b"a\n" + b"x" * 200_000, "csv")


def test_a_member_of_a_json_object_may_be_the_list() -> None:
    content = b'{"data": {"rows": [{"a": 1}]}, "zebra is what this one is called": 1}'
    assert [{"a": 1}] == read(content, "json", records="data.rows")
    assert "no member data.row: there are rows" in error_without_quote(content, "json", records="data.row")
    assert "its members are data, (column 2)" in error_without_quote(content, "json")
    assert "holds no list" in error_without_quote(content, "json", records="data")


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        ("jsonl", b'{"a": 1}\n\n{"zebra"', "the input, line 3, is no JSON"),
        ("jsonl", b'["zebra"]', "line 1, is no JSON object"),
        ("jsonl", b"[" * 99_999, "line 1, is no JSON"),
        ("jsonl", b'{"a": "zebra\xff"}', "line 1, is not UTF-8"),
        ("jsonl", '{"a": "zebra"}'.encode("utf-16"), "line 1, is not UTF-8"),
        ("json", b'[{"a": 1}, "zebra"]', "record 2, is no JSON object"),
        ("json", b'[{"zebra": 1}', "is no JSON, or a part of one"),
        ("csv", b"a,b\n1,2\nzebra\n", "row 2 (ends on line 3), has 1 fields where the first row has 2"),
        ("csv", b'a,b\n"1\n1",2\nzebra,2,3\n', "row 2 (ends on line 4), has 3 fields where the first row has 2"),
        ("csv", b'a,b\n1,"zebra\n2,3\n', "row 1, is not quoted"),
        ("csv", b'a,b\n1,"ze"bra\n', "row 1, is not quoted"),
        ("csv", b"a,b\n1,zebra\xff\n", "is not UTF-8"),
        ("csv", b"a,zebra,zebra\n", "names columns 2 and 3 alike"),
        ("jsonl.gz", b'{"zebra": 1}', "is not whole as a gzip file"),
        ("jsonl.gz", gzip.compress(b'{"a": 1}\n')[:-12], "is not whole as a gzip file"),
        ("parquet", b"zebra", "is no Parquet file"),
    ],
)
def test_a_file_that_is_not_what_it_should_be_is_named_by_its_place(kind: str, content: bytes, message: str) -> None:
    assert message in error_without_quote(content, kind)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("missing.csv", {}, "there is no file .*missing.csv: check its path"),
        ("a.xlsx", {}, "a.xlsx: a table's suffix is one of jsonl, ndjson, csv, tsv, json, parquet"),
        ("a", {}, "a: a table's suffix is one of"),
        ("a.parquet.gz", {}, "all but parquet may have .gz"),
        ("a.csv", {"format": "excel"}, "a table's format is one of"),
        ("a.csv", {"records": "data"}, "read as csv: leave it out"),
    ],
)
def test_what_cannot_be_read_is_said_at_once(tmp_path: Path, name: str, settings: Any, message: str) -> None:
    for there in ("a.xlsx", "a", "a.parquet.gz", "a.csv"):
        (tmp_path / there).touch()
    with pytest.raises(ConfigurationError, match=message):
        read_rows(tmp_path / name, **settings)


def test_a_folder_is_no_table_and_parquet_is_not_read_from_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        list(read_rows(tmp_path / "a.csv"))
    reading, writing = map(os.fdopen, os.pipe(), ("rb", "wb"))
    with reading, writing, pytest.raises(ConfigurationError, match="give the file's path"):
        read_rows(reading, format="parquet")


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "tsv.gz", "jsonl.gz", "parquet"])
def test_what_was_there_stays_until_all_of_the_new_is_written(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(b"old")
    seen = []

    def records() -> Iterator[dict[str, Any]]:
        for number in range(20_000):
            if number % 5_000 == 0:
                seen.append(path.read_bytes())
            yield {"row": number, "outcome": "judged"}

    write_records(path, records())
    assert [b"old"] * 4 == seen
    assert [path] == list(tmp_path.iterdir())
    assert 20_000 == sum(1 for _ in read_rows(path))


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("suffix", ["jsonl", "csv.gz", "parquet"])
def test_a_table_that_fails_half_way_leaves_nothing(tmp_path: Path, suffix: str, error: type[BaseException]) -> None:
    def records() -> Iterator[dict[str, Any]]:
        for number in range(10_000):
            yield {"row": number}
        raise error

    with pytest.raises(error):
        write_records(tmp_path / f"a.{suffix}", records())
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ["jsonl.gz", "csv", "parquet"])
def test_the_same_records_are_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    """However they come: twice as a list, once as an iterator."""
    records = [{"row": 1, "when": date(2026, 1, 2), "mixed": 1.5}, {"row": 2, "mixed": float("nan")}]
    written = set()
    for name, given_records in (("a", records), ("b", iter(records))):
        write_records(tmp_path / f"{name}.{suffix}", given_records)
        written.add((tmp_path / f"{name}.{suffix}").read_bytes())
    assert 1 == len(written)


def test_a_written_file_is_as_readable_as_others_and_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "a.jsonl")
    write_records(tmp_path / "link.jsonl", [{"a": 1}])
    assert (tmp_path / "link.jsonl").is_symlink()
    assert (tmp_path / "other").stat().st_mode == (tmp_path / "a.jsonl").stat().st_mode


@pytest.mark.parametrize(
    ("name", "message"),
    [("a.json", "written as one of jsonl, csv"), ("no/a.csv", "make its folder"), ("folder.csv", "is no file")],
)
def test_where_no_table_can_be_written_is_said(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ConfigurationError, match=message):
        write_records(tmp_path / name, [{"a": 1}])


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_a_table_without_rows_can_be_written_and_read(tmp_path: Path, suffix: str) -> None:
    assert [] == through_file(tmp_path, suffix, [])


def test_a_format_has_one_name_whatever_the_suffix() -> None:
    assert ("jsonl", True) == table_format("a/b.c.NDJSON.gz")
    assert ("jsonl", False) == table_format(io.BytesIO())
    assert json.loads(b"".join(record_lines([{"a": 1}]))) == {"a": 1}
