"""Tables in Parquet, by pyarrow: read in batches, written in row groups."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Literal, TypeVar

from llama_guard_core.bulk.text_tables import json_lines, json_text, plain_value, utf8, whole_characters
from llama_guard_core.errors import ConfigurationError

Kind = Literal["bool", "int", "float", "text", "texts", "json"]
T = TypeVar("T")

_ROWS_READ_AT_ONCE = 1_000
_ROWS_CONVERTED_AT_ONCE = 5_000
_ROWS_IN_GROUP = 50_000

_OF_JUDGEMENT: Mapping[str, Kind] = {
    "row": "int",
    "outcome": "text",
    "stage": "text",
    "safe": "bool",
    "categories": "texts",
    "all_named": "bool",
    "score": "float",
    "reason": "text",
    "model": "text",
    "provider": "text",
    "host": "text",
    "input_tokens": "int",
    "output_tokens": "int",
    "cost": "float",
    "latency": "float",
    "cached": "bool",
    "generation_id": "text",
}


def parquet_rows(
    source: str | Path | IO[bytes], name: str, columns: Sequence[str] | None = None
) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file, a thousand decoded at a time.

    Args:
        source: a file, or a stream that can be read from any place.
        name: the file's, for errors.
        columns: the only columns to read.

    Raises:
        ConfigurationError: if pyarrow is not there, or the file is damaged or no Parquet.
    """
    pa, parquet = _pyarrow()
    if not isinstance(source, (str, Path)) and not source.seekable():
        msg = "Parquet cannot be read from a pipe, its directory stands at the end: give the file's path"
        raise ConfigurationError(msg)
    return _rows(pa, parquet, source, name, columns)


def _rows(
    pa: Any, parquet: Any, source: str | Path | IO[bytes], name: str, columns: Sequence[str] | None
) -> Iterator[dict[str, Any]]:
    try:
        with parquet.ParquetFile(source) as file:
            for batch in file.iter_batches(_ROWS_READ_AT_ONCE, columns=list(columns) if columns is not None else None):
                yield from batch.to_pylist()
    except (pa.ArrowException, ValueError, OSError):
        msg = f"{name} is no Parquet file, or damaged: get it again, or give its format"
    else:
        return
    raise ConfigurationError(msg)


def write_parquet(file: IO[bytes], records: Iterable[Mapping[str, Any]]) -> None:
    """Write records as Parquet, in groups of 50,000 rows, of which no more than one is in memory.

    The columns of `Judgement` have the types they have there. For any other the records are passed through once more,
    beforehand: it is of truth values, integers (64 bits), numbers, texts or lists of texts where all its values are,
    and else of texts that are the values' JSON, nested ones among them. Dates are texts, as in the other formats.

    Args:
        file: where to; it has a name, whose folder holds the records between the two passes if they are an iterator,
            which can be passed through only once.
        records: flat records.

    Raises:
        ConfigurationError: if pyarrow is not there, or a column of `Judgement`'s holds something else.
    """
    pa, parquet = _pyarrow()
    with ExitStack() as opened:
        if iter(records) is records:
            spool = opened.enter_context(TemporaryFile(dir=Path(file.name).parent))
            kinds = _kinds(_spooled(records, spool))
            records = _spool_rows(spool)
        else:
            kinds = _kinds(records)
        schema = pa.schema([(name, _arrow_type(pa, kind)) for name, kind in kinds.items()])
        writer = opened.enter_context(parquet.ParquetWriter(file, schema))
        batches = (_batch(pa, rows, schema, kinds) for rows in _in_groups(records, _ROWS_CONVERTED_AT_ONCE))
        for group in _in_groups(batches, _ROWS_IN_GROUP // _ROWS_CONVERTED_AT_ONCE):
            writer.write_table(pa.Table.from_batches(group), row_group_size=_ROWS_IN_GROUP)


def _kinds(records: Iterable[Mapping[str, Any]]) -> dict[str, Kind]:
    """What each column holds, in the order in which they come up."""
    found: dict[str, Kind | None] = {}
    for record in records:
        for name, value in record.items():
            if name not in _OF_JUDGEMENT:
                found[name] = _of_both(found.get(name), _kind(value))
            elif name not in found:
                found[name] = _OF_JUDGEMENT[name]
    return {name: kind or "text" for name, kind in found.items()} or dict(_OF_JUDGEMENT)


def _kind(value: Any) -> Kind | None:
    match value:
        case None:
            return None
        case bool():
            return "bool"
        case int():
            return "int" if -(2**63) <= value < 2**63 else "json"
        case float():
            return "float"
        case list() | tuple() | Mapping():
            return "json" if isinstance(value, Mapping) or not all(isinstance(item, str) for item in value) else "texts"
        case _:
            return "text"


def _of_both(one: Kind | None, other: Kind | None) -> Kind | None:
    if one == other or one is None or other is None:
        return one or other
    return "float" if {one, other} == {"int", "float"} else "json"


def _arrow_type(pa: Any, kind: Kind) -> Any:
    types = {"bool": pa.bool_, "int": pa.int64, "float": pa.float64}
    return pa.list_(pa.string()) if kind == "texts" else types.get(kind, pa.string)()


def _batch(pa: Any, rows: Sequence[Mapping[str, Any]], schema: Any, kinds: Mapping[str, Kind]) -> Any:
    columns = []
    for name, kind in kinds.items():
        values = [_as_kind(row.get(name), kind) for row in rows]
        try:
            columns.append(pa.array(values, schema.field(name).type))
            continue
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            msg = (
                f"column {name} holds something that is no {kind}, as a verdict has it there: name the column otherwise"
            )
        raise ConfigurationError(msg)
    return pa.record_batch(columns, schema=schema)


def _as_kind(value: Any, kind: Kind) -> Any:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if kind == "text":
        return whole_characters(value if isinstance(value, str) else plain_value(value))
    if kind == "json":
        return whole_characters(json_text(value))
    return [whole_characters(item) for item in value] if isinstance(value, (list, tuple)) else value


def _spooled(records: Iterable[Mapping[str, Any]], spool: IO[bytes]) -> Iterator[Mapping[str, Any]]:
    for record in records:
        spool.write(utf8(f"{json_text(record)}\n"))
        yield record


def _spool_rows(spool: IO[bytes]) -> Iterator[Mapping[str, Any]]:
    spool.seek(0)
    return json_lines(spool, "the table")


def _in_groups(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while group := list(islice(rest, size)):
        yield group


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra, and slow to load
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        msg = 'Parquet needs pyarrow: pip install "llama-guardrails[bulk]"'
        raise ConfigurationError(msg) from error
    return pa, parquet
