"""Tables that are text: the rows of JSON Lines, CSV, TSV and JSON, and records as lines of these.

No message here quotes a row: it names the file and the line, or the row.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, time
from typing import IO, Any

from pydantic_core import from_json

from llama_guard_core.errors import ConfigurationError
from llama_guard_core.provider.json_text import parse_json
from llama_guard_core.written import printable

Row = dict[str, Any]

_NOT_UTF8 = "is not UTF-8: convert it, for example with iconv -f WINDOWS-1252 -t UTF-8"

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LONGEST_FIELD = 2**31 - 1  # characters; the module's own limit is 131,072, and its C type holds no more on Windows
_LONGEST_NAME, _MOST_WORDS = 40, 3
_DELIMITERS = {"csv": ",", "tsv": "\t"}


def json_lines(stream: IO[bytes], name: str) -> Iterator[Row]:
    """The objects of JSON Lines; blank lines are skipped.

    Half a surrogate pair, which only an escape can hold, is read as U+FFFD.

    Args:
        stream: the bytes; it is not closed.
        name: the file's, for errors.

    Raises:
        ConfigurationError: if a line is not UTF-8 or no JSON object.
    """
    for number, line in enumerate(stream, 1):
        text = line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line
        if not text.strip():
            continue
        row = _json_of(text, f"{name}, line {number},")
        if not isinstance(row, dict):
            msg = f"{name}, line {number}, is no JSON object: JSON Lines have one whole object on each line"
            raise ConfigurationError(msg)
        yield row


def json_records(stream: IO[bytes], name: str, records: str | None) -> Iterator[Row]:
    """The objects of one JSON text, which is held in memory whole.

    Args:
        stream: the bytes; it is not closed.
        name: the file's, for errors.
        records: the path of the list inside it, members joined by dots; None where the text is that list.

    Raises:
        ConfigurationError: if it is not UTF-8 or no JSON, or there is no list of objects at that place.
    """
    found = _json_of(stream.read().removeprefix(_BYTE_ORDER_MARK), name)
    for member in records.split(".") if records is not None else ():
        if not isinstance(found, dict) or member not in found:
            there = f": there are {shown_names(found)}" if isinstance(found, dict) else ""
            msg = f"{name} has no member {records}{there}"
            raise ConfigurationError(msg)
        found = found[member]
    if not isinstance(found, list):
        hint = f"; its members are {shown_names(found)}" if isinstance(found, dict) else ""
        msg = f"{name} holds no list of records there: name the member that does, as records='data'{hint}"
        raise ConfigurationError(msg)
    for number, row in enumerate(found, 1):
        if not isinstance(row, dict):
            msg = f"{name}, record {number}, is no JSON object"
            raise ConfigurationError(msg)
        yield row


def separated_rows(stream: IO[bytes], name: str, kind: str, *, header: bool) -> Iterator[Row]:
    """The rows of CSV or TSV, every value a text; quoted fields may hold line ends.

    In a table of one column a field that has commas and no quotes is read whole, as some public sets have it. A NUL is
    kept, but read as U+FFFD before Python 3.11, whose csv module refuses it.

    Args:
        stream: the bytes; it is not closed.
        name: the file's, for errors.
        kind: `csv` or `tsv`.
        header: whether the first row names the columns; if not they are "0", "1", ….

    Raises:
        ConfigurationError: if it is not UTF-8, a quote is not closed, or a row has more or fewer fields than the first.
    """
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_FIELD))
    with _decoded(stream) as lines:
        reader = csv.reader(_without_nul(lines), delimiter=_DELIMITERS[kind], strict=True)
        names: Sequence[str] | None = None
        for number, fields in _numbered(reader, name, begin=0 if header else 1):
            if names is None:
                names = _header(fields, name) if header else [str(at) for at in range(len(fields))]
                if header:
                    continue
            if len(names) == 1:
                fields = [_DELIMITERS[kind].join(fields)]  # noqa: PLW2901 - what one column holds is cut by no comma
            if len(fields) != len(names):
                where = f"{name}, row {number} (ends on line {reader.line_num})"
                msg = f"{where}, has {len(fields)} fields where the first row has {len(names)}"
                raise ConfigurationError(msg)
            yield dict(zip(names, fields, strict=True))


def shown_names(names: Iterable[str]) -> str:
    """Names of columns for a message; what looks like a text, as where a header is missing, by its number alone."""
    shown = [
        printable(name) if len(name) <= _LONGEST_NAME and len(name.split()) <= _MOST_WORDS else f"(column {at})"
        for at, name in enumerate(map(str, names), 1)
    ]
    return ", ".join(shown) or "none"


def record_lines(records: Iterable[Mapping[str, Any]], kind: str = "jsonl") -> Iterator[bytes]:
    r"""Records as lines of UTF-8, each item one record's whole line or lines.

    JSON Lines are compact and end with `\n`. CSV and TSV end with `\r\n` (RFC 4180) and begin with the names of the
    first record: a list of texts is joined by `;`, a truth value is `true` or `false`, `None` is empty like an empty
    text, other lists and objects are JSON. In all of them dates are in ISO 8601 form, bytes in base64, numbers that are
    not finite nothing, and half a surrogate pair is U+FFFD.

    It does not protect a spreadsheet from cells that it takes for formulas. A byte order mark that begins the name of a
    CSV's first column is taken for the file's when it is read.

    Args:
        records: flat records.
        kind: `jsonl`, `csv` or `tsv`.

    Raises:
        ConfigurationError: for another kind, or if a record has a column that the first of a CSV or TSV has not.
    """
    if kind not in ("jsonl", *_DELIMITERS):
        msg = f"records are put out line by line as jsonl, {' or '.join(_DELIMITERS)}, not {kind}: write a file of it"
        raise ConfigurationError(msg)
    if kind == "jsonl":
        return (utf8(f"{json_text(record)}\n") for record in records)
    return _separated_lines(records, _DELIMITERS[kind])


def json_text(value: Any) -> str:
    """A value as compact JSON."""
    try:
        return _STRICT(value)
    except (ValueError, RecursionError):
        return _STRICT(_finite(value))


def utf8(text: str) -> bytes:
    """A text in UTF-8, with U+FFFD for half a surrogate pair."""
    return whole_characters(text).encode()


def plain_value(value: Any) -> Any:
    """What stands for a value that JSON has no form for: ISO 8601 for dates, base64 for bytes, else its text."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    return value.isoformat() if isinstance(value, (date, time)) else str(value)


def whole_characters(text: str) -> str:
    """The text with U+FFFD for half a surrogate pair, which UTF-8 and Arrow have no form for."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _json_of(text: bytes, where: str) -> Any:
    """The JSON value, or nothing that is an object or a list where it is none."""
    try:
        return from_json(text)
    except ValueError:
        decoded = _text_of(text)
    if decoded is None:
        msg = f"{where} {_NOT_UTF8}"
        raise ConfigurationError(msg)
    try:
        return parse_json(decoded)
    except ValueError:
        msg = f"{where} is no JSON, or a part of one"
    raise ConfigurationError(msg)


def _text_of(text: bytes) -> str | None:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return None


@contextmanager
def _decoded(stream: IO[bytes]) -> Iterator[io.TextIOWrapper]:
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
    try:
        yield text
    finally:
        text.detach()  # or its end would close a stream that is not ours


def _without_nul(lines: Iterable[str]) -> Iterable[str]:
    return (line.replace("\0", "\ufffd") for line in lines) if sys.version_info < (3, 11) else lines


def _numbered(reader: Iterator[list[str]], name: str, begin: int) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank, with their numbers; the header's is 0."""
    number = begin
    while True:
        try:
            fields = next(reader, None)
        except UnicodeDecodeError:
            msg = f"{name}, row {number} or a later one, {_NOT_UTF8}"
            break
        except csv.Error:
            msg = f"{name}, row {number}, is not quoted as CSV is: a field with quotes is quoted, and they are doubled"
            break
        if fields is None:
            return
        if fields:
            yield number, fields
            number += 1
    raise ConfigurationError(msg)


def _header(fields: list[str], name: str) -> list[str]:
    first_place: dict[str, int] = {}
    for at, field in enumerate(fields, 1):
        if first_place.setdefault(field, at) != at:
            msg = f"{name} names columns {first_place[field]} and {at} alike: name each once, or read it without header"
            raise ConfigurationError(msg)
    return fields


def _separated_lines(records: Iterable[Mapping[str, Any]], delimiter: str) -> Iterator[bytes]:
    written = io.StringIO(newline="")
    writer = csv.writer(written, delimiter=delimiter)
    names: list[str] | None = None
    for number, record in enumerate(records, 1):
        if names is None:
            names = list(record)
            writer.writerow(names)
        elif not record.keys() <= set(names):
            msg = f"record {number} has a column that the first has not, and the header is written: give all the same"
            raise ConfigurationError(msg)
        writer.writerow([_cell(record.get(name)) for name in names])
        yield utf8(written.getvalue())
        written.seek(0)
        written.truncate()


def _cell(value: Any) -> str:
    match value:
        case str():
            return value
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case list() | tuple() if all(isinstance(item, str) and ";" not in item for item in value):
            return ";".join(value)
        case list() | tuple() | Mapping():
            return json_text(value)
        case _:
            plain = json_text(value)
            return json.loads(plain) if plain.startswith('"') else plain.removeprefix("null")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


_STRICT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=plain_value).encode
