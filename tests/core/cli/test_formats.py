"""Whatever the format of the input and of the output, the same rows get the same verdicts, in the order of the input."""

from __future__ import annotations

import base64
import datetime as dt
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from core.cli.commands import SECRET, Command, judged, records_in, right, rows, said_by, write_json_lines
from fake_provider import FakeProvider

from llama_guard_core.bulk.tables import read_rows, write_records

READ = ["jsonl", "jsonl.gz", "ndjson", "csv", "csv.gz", "tsv", "tsv.gz", "json", "parquet"]
WRITTEN = ["jsonl", "jsonl.gz", "csv", "csv.gz", "tsv", "tsv.gz", "parquet"]
ROWS = [
    *rows(4),
    {"id": 'say "a, b"', "prompt": f"{SECRET}, with commas,\r\nlines\tand ünïcödé 🦙 BOMB"},
    {"id": "last", "prompt": f'{SECRET} "quoted"'},
]
WANTED = [*right(4), (4, False), (5, True)]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same rows in every format."""
    folder = tmp_path_factory.mktemp("inputs")
    paths = {suffix: folder / f"in.{suffix}" for suffix in READ}
    for suffix, path in paths.items():
        if suffix == "json":
            path.write_text(json.dumps(ROWS), encoding="utf-8")
        else:
            write_records(path, ROWS, format="jsonl" if suffix == "ndjson" else None)
    return paths


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    with FakeProvider().serve() as base_url:
        yield base_url


@pytest.mark.parametrize("written", WRITTEN)
def test_every_format_gives_the_same_output(
    written: str, inputs: dict[str, Path], base_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    command, outputs = Command(FakeProvider(), base_url, capsys), {}
    for suffix, source in inputs.items():
        said = command(source, "-o", tmp_path / f"of-{suffix}.{written}")
        assert (0, "") == (said.code, said.out)
        outputs[suffix] = (tmp_path / f"of-{suffix}.{written}").read_bytes()

    assert 1 == len(set(outputs.values()))
    records = [*read_rows(tmp_path / f"of-csv.{written}")]
    assert [row["id"] for row in ROWS] == [record["id"] for record in records]
    assert WANTED == [(int(record["row"]), record["safe"] in (True, "true")) for record in records]
    assert [record["safe"] in (False, "false") for record in records] == [
        record["categories"] in (["S9"], "S9") for record in records
    ]


def test_formats_can_be_said_where_suffixes_do_not(command: Command, tmp_path: Path):
    source, output = tmp_path / "in", tmp_path / "out"
    write_records(source, ROWS, format="tsv.gz")

    said = command(source, "-o", output, "--input-format", "tsv.gz", "--output-format", "csv")

    assert 0 == said.code
    assert b"row,id,outcome,stage,safe" == output.read_bytes()[:25]
    assert WANTED == [(int(row["row"]), row["safe"] == "true") for row in read_rows(output, format="csv")]


@pytest.mark.parametrize(("option", "name"), [("--input-format", "xls"), ("--output-format", "json")])
def test_an_unknown_format_is_refused_before_anything_is_asked(
    option: str, name: str, command: Command, source: Path, output: Path
):
    said = command(source, "-o", output, option, name)

    assert (2, [], 1) == (said.code, command.asked, said.err.count("\n"))
    assert "JSON Lines" in said.err or "jsonl" in said.err
    assert [source] == [*source.parent.iterdir()]


def test_a_suffix_that_is_none_of_a_table_is_refused(command: Command, source: Path, tmp_path: Path):
    assert 2 == command(source, "-o", tmp_path / "out.xls").code
    assert [] == command.asked


@pytest.mark.parametrize("form", ["jsonl", "csv", "tsv"])
def test_standard_output_has_the_records_of_a_file_and_nothing_else(
    form: str, command: Command, source: Path, tmp_path: Path
):
    file = tmp_path / f"out.{form}"
    command(source, "-o", file)
    said = command(source, "--output-format", form)

    assert (0, file.read_bytes().decode()) == (said.code, said.out)


def test_standard_output_cannot_be_parquet(command: Command, source: Path):
    said = command(source, "--output-format", "parquet")

    assert (2, "", []) == (said.code, said.out, command.asked)
    assert "-o" in said.err


def test_standard_input_is_read_as_json_lines_or_as_is_said(
    command: Command, source: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(source.read_bytes())))
    assert right(10) == judged(command("-").records)

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"prompt\r\nSECRET KNIFE\r\n")))
    assert [(0, False)] == judged(command("-", "--input-format", "csv").records)


def test_a_pipe_is_read_once(command: Command, source: Path, output: Path):
    said = said_by(command.alone("-"), source.read_bytes())
    assert (0, right(10)) == (said.code, judged(said.records))

    said = said_by(command.alone("/dev/stdin", "--input-format", "jsonl", "-o", output), source.read_bytes())
    assert (0, right(10)) == (said.code, judged(records_in(output)))


def test_rows_are_judged_while_others_are_yet_to_come(command: Command):
    process = command.alone("-")
    assert process.stdin
    assert process.stdout
    for number in range(3):
        process.stdin.write(f'{{"prompt": "{SECRET} {number}"}}\n'.encode())
        process.stdin.flush()
        assert number == json.loads(process.stdout.readline())["row"]

    assert 0 == said_by(process).code


def test_kept_cells_are_the_same_in_a_file_and_on_standard_output(command: Command, output: Path, tmp_path: Path):
    source = tmp_path / "in.parquet"
    import pyarrow as pa  # noqa: PLC0415 - slow to load
    from pyarrow import parquet  # noqa: PLC0415

    day, picture = dt.datetime(2026, 11, 27, 12, 30, tzinfo=dt.timezone.utc), b"\x00\xff"
    columns = {"prompt": [SECRET], "day": [day], "picture": [picture], "n": [3], "x": [float("nan")]}
    parquet.write_table(pa.table(columns), source)
    keep = [word for name in ("day", "picture", "n", "x") for word in ("--keep", name)]

    said = command(source, *keep)
    command(source, *keep, "-o", output)

    assert said.out == output.read_text()
    told = {name: said.records[0][name] for name in ("day", "picture", "n", "x")}
    assert {"day": day.isoformat(), "picture": base64.b64encode(picture).decode(), "n": 3, "x": None} == told


def test_ragged_json_lines_are_judged_each_by_what_it_has(command: Command, output: Path, tmp_path: Path):
    lines = [{"prompt": f"{SECRET} 0"}, {"id": "b", "reply": f"{SECRET} BOMB"}, {"prompt": f"{SECRET} 2", "id": "c"}]
    source = write_json_lines(tmp_path / "in.jsonl", lines)

    assert 0 == command(source, "-o", output).code
    told = [(record["id"], record["stage"], record["safe"]) for record in records_in(output)]
    assert [(None, "prompt", True), ("b", "reply", False), ("c", "prompt", True)] == told
