"""Tables of rows: read lazily from JSON Lines, CSV, TSV, JSON and Parquet; written whole or not at all."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, cast

from llama_guard_core.bulk.parquet_tables import parquet_rows, write_parquet
from llama_guard_core.bulk.text_tables import json_lines, json_records, record_lines, separated_rows, utf8
from llama_guard_core.errors import ConfigurationError

__all__ = ["put_on_disk", "read_rows", "record_lines", "table_format", "write_records", "write_text"]

_FORMATS = {"jsonl": "jsonl", "ndjson": "jsonl", "csv": "csv", "tsv": "tsv", "json": "json", "parquet": "parquet"}
_WRITTEN = ("jsonl", "csv", "tsv", "parquet")


def read_rows(
    source: str | Path | IO[bytes],
    *,
    format: str | None = None,  # noqa: A002 - what the option is called
    header: bool = True,
    records: str | None = None,
    columns: Sequence[str] | None = None,
) -> Iterator[dict[str, Any]]:
    """The rows of a table, in its order, read as they are asked for; only JSON is held in memory whole.

    Text is UTF-8, with or without a byte order mark. A blank line is no row. Values have the types of the format:
    in CSV and TSV all are texts, in Parquet dates are dates.

    Args:
        source: a file, or a stream of bytes, which is not closed.
        format: `jsonl`, `csv`, `tsv`, `json` or `parquet`, the first four perhaps with `.gz` after it. Left out, it is
            told by the file's suffix (`.ndjson` is JSON Lines); a stream is JSON Lines.
        header: whether the first row of a CSV or TSV names the columns; if not they are "0", "1", ….
        records: which member of a JSON object holds the list of rows: its name, or a path such as `data.rows`.
        columns: the only columns to give; one that a row has not is left out. Others of a Parquet file are not read.

    Raises:
        ConfigurationError: at once, if there is no such file or its format is not known; at a row, if the file is not
            what its format says: it names the file and the line or row, and quotes nothing.
    """
    kind, gzipped = table_format(source, format)
    name = source.name if isinstance(source, Path) else Path(source).name if isinstance(source, str) else "the input"
    if isinstance(source, (str, Path)) and not Path(source).exists():
        msg = f"there is no file {source}: check its path"
        raise ConfigurationError(msg)
    if records is not None and kind != "json":
        msg = f"records names a member of a JSON file, and {name} is read as {kind}: leave it out"
        raise ConfigurationError(msg)
    if kind == "parquet":
        return parquet_rows(source, name, columns)
    rows = _text_rows(source, kind, name, gzipped=gzipped, header=header, records=records)
    return rows if columns is None else _with_only(rows, columns)


def table_format(
    source: str | Path | IO[bytes],
    format: str | None = None,  # noqa: A002 - as above
) -> tuple[str, bool]:
    """The format of a table and whether it is compressed by gzip: what is given, or what the file's suffix says.

    Raises:
        ConfigurationError: if it is none that can be read.
    """
    is_file = isinstance(source, (str, Path))
    given = format or (Path(cast("str", source)).name if is_file else "jsonl")
    words = given.lower().split(".")
    gzipped = words[-1] == "gz"
    kind = _FORMATS.get(words[-2 if gzipped else -1]) if len(words) > gzipped else None
    if kind is None or (gzipped and kind == "parquet"):
        where = "a table's format" if format else f"{given}: a table's suffix"
        msg = f"{where} is one of {', '.join(_FORMATS)}, and all but parquet may have .gz after it"
        raise ConfigurationError(msg)
    return kind, gzipped


def write_records(
    path: str | Path,
    records: Iterable[Mapping[str, Any]],
    *,
    format: str | None = None,  # noqa: A002 - as above
) -> None:
    """Write a table so that whoever looks sees what was there before, or all of it.

    It is written to a hidden file beside it (`.NAME.….part`), put on disk, and moved into place. If that fails the
    hidden file is removed; a process that is killed leaves it, and nothing reads it.

    Args:
        path: the file; a link is followed, and what was there is replaced.
        records: flat records; see `record_lines` for how values are written as text, and `write_parquet` for the types
            of Parquet, which needs two passes.
        format: `jsonl`, `csv`, `tsv` (each perhaps with `.gz` after it) or `parquet`; told by the suffix if left out.

    Raises:
        ConfigurationError: if the format is not known, the folder is not there or cannot be written to, or `path` is no
            file (a folder, a pipe).
    """
    kind, gzipped = table_format(path, format)
    if kind not in _WRITTEN:
        msg = f"a table is written as one of {', '.join(_WRITTEN)}, not {kind}"
        raise ConfigurationError(msg)
    with _replacing(Path(path)) as file:
        if kind == "parquet":
            write_parquet(file, records)
        elif gzipped:
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:  # the same bytes every time
                packed.writelines(record_lines(records, kind))
        else:
            file.writelines(record_lines(records, kind))


def write_text(path: str | Path, text: str) -> None:
    """Write a text so that whoever looks sees what was there before, or all of it; see `write_records`."""
    with _replacing(Path(path)) as file:
        file.write(utf8(text))


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the place of another when all of it is on disk."""
    path = path.resolve()
    if path.exists() and not path.is_file():
        msg = f"{path} is no file: give a path of a file to be written"
        raise ConfigurationError(msg)
    part = path.with_name(f".{path.name}.{os.urandom(4).hex()}.part")
    try:
        file = part.open("xb")
    except OSError as error:
        msg = f"{path} cannot be written ({error.strerror}): make its folder, or choose another"
        raise ConfigurationError(msg) from None
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    put_on_disk(path.parent)


def put_on_disk(folder: Path) -> None:
    """Have the names of a folder's files survive a power cut: a new file is there only if its folder was written."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows opens no folders
        return
    opened = os.open(folder, os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _text_rows(
    source: str | Path | IO[bytes], kind: str, name: str, *, gzipped: bool, header: bool, records: str | None
) -> Iterator[dict[str, Any]]:
    try:
        with ExitStack() as opened:
            stream = opened.enter_context(Path(source).open("rb")) if isinstance(source, (str, Path)) else source
            if gzipped:
                stream = opened.enter_context(cast("IO[bytes]", gzip.GzipFile(fileobj=stream, mode="rb")))
            if kind == "jsonl":
                yield from json_lines(stream, name)
            elif kind == "json":
                yield from json_records(stream, name, records)
            else:
                yield from separated_rows(stream, name, kind, header=header)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        msg = f"{name} is not whole as a gzip file: get it again, or name it without .gz if it is not compressed"
    except OSError as error:
        msg = f"{name} cannot be read: {error.strerror or type(error).__name__}"
    else:
        return
    raise ConfigurationError(msg)


def _with_only(rows: Iterable[dict[str, Any]], columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield {name: row[name] for name in columns if name in row}
