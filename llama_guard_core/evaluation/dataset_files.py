"""Which files a data set is in, and their rows."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from glob import glob
from itertools import islice
from pathlib import Path
from typing import Any

from llama_guard_core.bulk.tables import read_rows
from llama_guard_core.errors import ConfigurationError
from llama_guard_core.evaluation.parts import Part

_SUFFIXES = {".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet"}
_ROWS_LOOKED_AT = 100
_WILDCARDS = "*?["
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Data:
    """The files that were given.

    Attributes:
        root: the folder that patterns and pictures are relative to.
        paths: the files, in alphabetical order.
        whole: whether a folder was given, so that each pattern of a mapping must find something.
    """

    root: Path
    paths: tuple[Path, ...]
    whole: bool = False

    def name_of(self, path: Path) -> str:
        """The path of a file below the root, with forward slashes on all systems."""
        return path.relative_to(self.root).as_posix()


def data_in(given: str | Path | Sequence[str | Path]) -> Data:
    """The files of a folder (those below it too), a pattern, a path, or several paths.

    Raises:
        ConfigurationError: if there are none.
    """
    if not isinstance(given, (str, Path)):
        paths = sorted(Path(each).absolute() for each in given)
        missing = [path for path in paths if not path.is_file()]
        if missing or not paths:
            msg = f"there is no data file {missing[0]}: check its path" if missing else "no data file is given"
            raise ConfigurationError(msg)
        return Data(Path(os.path.commonpath([path.parent for path in paths])), tuple(paths))
    path = Path(given).absolute()
    if path.is_dir():
        return Data(path, tuple(sorted(filter(_is_data, path.rglob("*")))), whole=True)
    if path.is_file():
        return Data(path.parent, (path,))
    found = sorted(Path(each) for each in glob(str(path), recursive=True) if Path(each).is_file())  # noqa: PTH207 - an absolute one
    if not found:
        msg = f"there is no data at {given}: give a file, a folder or a pattern such as 'data/*.csv'"
        raise ConfigurationError(msg)
    return Data(Path(*path.parts[: _first_wildcard(path)]), tuple(found))


def files_of(data: Data, parts: Sequence[Part]) -> list[tuple[Part, tuple[Path, ...]]]:
    """The files that each part of a mapping is about.

    Raises:
        ConfigurationError: if none is found for a part, or at all.
    """
    chosen = [(part, _files(data, part, alone=len(parts) == 1)) for part in parts]
    for part, paths in chosen:
        if not paths and (data.whole or not any(found for _, found in chosen)):
            names = [data.name_of(path) for path in data.paths]
            there = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
            wanted = f"is {' or '.join(part.files)}" if part.files else f"has the column {part.first_column}"
            msg = f"no data file in {data.root} {wanted}: name them in files; there are {there or 'none'}"
            raise ConfigurationError(msg)
    return chosen


def rows_of(path: Path, part: Part) -> Iterator[Mapping[str, Any]]:
    """The rows of a file.

    Raises:
        ConfigurationError: if it is not what the mapping says; nothing of it is quoted.
    """
    if part.format == "lines":
        return _lines(path, header=part.header)
    if part.format == "texts_by_label":
        return _texts_by_label(path)
    return read_rows(path, format=part.format, header=part.header, records=part.records)


def _is_data(path: Path) -> bool:
    return path.is_file() and path.name != "mapping.json" and not path.name.startswith(".")


def _first_wildcard(path: Path) -> int:
    return next(at for at, step in enumerate(path.parts) if any(letter in step for letter in _WILDCARDS))


def _files(data: Data, part: Part, *, alone: bool) -> tuple[Path, ...]:
    if part.files:
        matching = tuple(p for p in data.paths if any(fnmatchcase(data.name_of(p), pattern) for pattern in part.files))
        return matching or (data.paths if alone and len(data.paths) == 1 and not data.whole else ())
    if not data.whole:
        return data.paths
    return tuple(path for path in data.paths if _can_be_read(path) and _has_text(path, part))


def _can_be_read(path: Path) -> bool:
    return Path(path.name.removesuffix(".gz")).suffix.lower() in _SUFFIXES


def _has_text(path: Path, part: Part) -> bool:
    try:
        first = list(islice(rows_of(path, part), _ROWS_LOOKED_AT))
    except ConfigurationError:  # a file of another kind, beside the data
        return False
    return any(part.first_column in row for row in first)


def _lines(path: Path, *, header: bool) -> Iterator[dict[str, Any]]:
    lines = [line for line in _text_of(path).splitlines() if line.strip()]
    name = lines[0].strip() if header and lines else "0"
    yield from ({name: line} for line in lines[header:])


def _texts_by_label(path: Path) -> Iterator[dict[str, Any]]:
    try:
        read = json.loads(_text_of(path))
    except ValueError:
        read = None
    lists = read.values() if isinstance(read, dict) else [None]
    if not all(isinstance(texts, list) for texts in lists):
        msg = f"{path.name} is no JSON object of lists of texts: its format is not texts_by_label"
        raise ConfigurationError(msg)
    yield from ({"label": label, "text": text} for label, texts in read.items() for text in texts)


def _text_of(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        kind = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        msg = f"{path.name} cannot be read: {kind}"
    raise ConfigurationError(msg)


def columns_missing(part: Part, seen: Iterable[str]) -> list[str]:
    """The columns that a part names and that no row has."""
    there = set(seen)
    missing = [column for column in part.columns if column not in there]
    any_of = getattr(part.gold, "any_of", ())
    return [*missing, *(any_of if any_of and not there.intersection(any_of) else ())]
