"""The examples of a data set: what is judged of each row, and what is known of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llama_guard_core.bulk.text_tables import shown_names
from llama_guard_core.errors import ConfigurationError
from llama_guard_core.evaluation.dataset_files import Data, columns_missing, data_in, files_of, rows_of
from llama_guard_core.evaluation.gold import Gold, accepted_codes, labels_in, plain, referred
from llama_guard_core.evaluation.mapping import DatasetMapping, mapping_of
from llama_guard_core.evaluation.parts import Part
from llama_guard_core.evaluation.row_checks import LeftOutByRule, RowLeftOut, check_in, wordings_of
from llama_guard_core.guardrail.verdict import Stage
from llama_guard_core.messages import Conversation

_LANGUAGE = "language"


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One row of a data set with what is known of it.

    Attributes:
        id: unique in the data set: `test.csv:17` for the seventeenth row of a file, `test.csv:17#en` where a row holds
            several; the same each time.
        conversation: what is judged, in its conversation.
        stage: as what it is judged.
        unsafe: the label; `None` if there is none, so that the row is in no recall and no false-positive rate.
        accepted: codes that would be right, best first; empty for safe rows and for those outside the taxonomy; `None`
            if not known, so that there is a binary figure only. May be given for a row without a label: its hazard is
            known, not whether it is unsafe.
        looks_unsafe: safe, and written to look unsafe: the rows of the over-refusal rate.
        outside: labelled unsafe upstream, but outside Llama Guard's taxonomy; `unsafe` is `None` then.
        slices: what figures are broken down by, such as `{"language": "fr"}`.
    """

    id: str
    conversation: Conversation = field(repr=False)
    stage: Stage
    unsafe: bool | None
    accepted: tuple[str, ...] | None
    looks_unsafe: bool = False
    outside: bool = False
    slices: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Dataset:
    """What was read of a data set.

    Attributes:
        mapping: what its files hold.
        examples: in the order of the mapping's parts, of the files' names, of their rows.
        left_out: how many rows are no example, by reason.
        warnings: what may be wrong with the data or the mapping, without anything of the rows.
    """

    mapping: DatasetMapping
    examples: tuple[Example, ...] = field(repr=False)
    left_out: Mapping[str, int]
    warnings: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of the set."""
        return self.mapping.name


def read_examples(
    data: str | Path | Sequence[str | Path], mapping: DatasetMapping | Mapping[str, Any] | str | Path
) -> tuple[Example, ...]:
    """The examples of a data set; see `read_dataset`, which tells too what was left out."""
    return read_dataset(data, mapping).examples


def read_dataset(
    data: str | Path | Sequence[str | Path], mapping: DatasetMapping | Mapping[str, Any] | str | Path
) -> Dataset:
    """Read a data set, which is held in memory with its pictures.

    Args:
        data: a file, a folder, a pattern such as `data/*.csv`, or several paths.
        mapping: what the files hold: a `DatasetMapping`, its keys, the path of a JSON file, or the name of a mapping
            that comes with this package (`shipped_mappings`).

    Raises:
        ConfigurationError: if a file or a column is not there, or the mapping is wrong; no row is quoted.
    """
    mapping = mapping_of(mapping)
    reading = _Reading(data_in(data))
    for part, paths in files_of(reading.data, mapping.groups()):
        reading.read(part, paths)
    if not reading.examples:
        reasons = ", ".join(f"{reason} ({count})" for reason, count in reading.left_out.items())
        msg = f"the data set {mapping.name} has no example: {reasons or 'its files are empty'}"
        raise ConfigurationError(msg)
    return Dataset(mapping, tuple(reading.examples), dict(reading.left_out), tuple(reading.warnings(mapping.items)))


class _Reading:
    """A data set being read."""

    def __init__(self, data: Data) -> None:
        self.data = data
        self.examples: list[Example] = []
        self.left_out: Counter[str] = Counter()
        self._unexpected: Counter[str] = Counter()
        self._unknown_labels: dict[str, Counter[str]] = {}
        self._unnamed_values: Counter[str] = Counter()
        self._ids: set[str] = set()

    def read(self, part: Part, paths: Sequence[Path]) -> None:
        """Read the files of a part."""
        seen: dict[str, None] = {}
        for path in paths:
            name = self.data.name_of(path)
            for number, row in enumerate(rows_of(path, part), 1):
                seen.update(dict.fromkeys(row))
                self._read_row(part, row, f"{name}:{number}", _origin_of(path))
        missing = columns_missing(part, seen)
        if missing and paths:
            where = ", ".join(self.data.name_of(path) for path in paths[:3]) + (", …" if paths[3:] else "")
            msg = f"no row of {where} has the column {' or '.join(missing)}: there are {shown_names(seen)}"
            raise ConfigurationError(msg)

    def _read_row(self, part: Part, row: Mapping[str, Any], place: str, origin: Mapping[str, str]) -> None:
        known: dict[str, Any] | None = None
        for language, columns in wordings_of(part):
            try:
                _check_kept(part, row, origin)
                check = check_in(part, row, columns, origin, self.data.root)
            except RowLeftOut as left_out:
                self.left_out[str(left_out)] += 1
                self._unexpected[str(left_out)] += not left_out.expected
                continue
            known = known or self._known_of(part, row, origin)
            slices = {**({_LANGUAGE: language} if language else {}), **known["slices"]}
            new_id = self._new_id(f"{place}#{language}" if language else place)
            example = Example(
                id=new_id, conversation=check.conversation, stage=check.stage, **{**known, "slices": slices}
            )
            self.examples.append(example)

    def _known_of(self, part: Part, row: Mapping[str, Any], origin: Mapping[str, str]) -> dict[str, Any]:
        """What is known of a row, whatever its language."""
        known = _label_of(part, row, origin)
        if part.label_field and part.categories and known["unsafe"] is not False:
            unknown = [label for label in _labels_of(part, row, origin) if label not in part.categories]
            self._unknown_labels.setdefault(part.label_field, Counter()).update(unknown)
        if isinstance(part.gold, Gold) and _has_unnamed_value(part.gold, row, origin):
            self._unnamed_values[part.gold.column or ""] += 1
        shown = {name: _shown(referred(column, row, origin)) for name, column in part.slices.items()}
        return {**known, "slices": {name: value for name, value in shown.items() if value}}

    def _new_id(self, wanted: str) -> str:
        """An id that no other example has: a file may be in several parts."""
        new, number = wanted, 2
        while new in self._ids:
            new, number = f"{wanted}#{number}", number + 1
        self._ids.add(new)
        return new

    def warnings(self, items: int | None) -> Iterator[str]:
        """What may be wrong."""
        read, left_out = len(self.examples), sum(self.left_out.values())
        if items is not None and items not in {read, read + left_out}:
            yield f"the mapping says {items} items, and {read} examples were read ({left_out} rows left out)"
        for reason, count in self._unexpected.items():
            if count:
                yield f"{count} rows are left out: {reason}"
        for column, labels in self._unknown_labels.items():
            if labels:
                often = f"{sum(labels.values())} times ({len(labels)} labels)"
                yield f"{column} holds what categories does not name, {often}: the hazard of these rows is not known"
        for column, count in self._unnamed_values.items():
            yield f"{count} rows have a value in {column} that gold names neither unsafe nor safe: they have no label"


def _origin_of(path: Path) -> Mapping[str, str]:
    return {"file": path.name.removesuffix(".gz").rpartition(".")[0] or path.name, "folder": path.parent.name}


def _check_kept(part: Part, row: Mapping[str, Any], origin: Mapping[str, str]) -> None:
    for column, values in part.left_out.items():
        if plain(referred(column, row, origin)) in map(plain, values):
            raise LeftOutByRule(column)
    for column, values in part.only.items():
        if plain(referred(column, row, origin)) not in map(plain, values):
            raise LeftOutByRule(column)


def _label_of(part: Part, row: Mapping[str, Any], origin: Mapping[str, str]) -> dict[str, Any]:
    unsafe = _gold_of(part, row, origin)
    if unsafe is False:
        return {"unsafe": False, "accepted": (), "looks_unsafe": _looks_unsafe(part, row, origin)}
    accepted = part.accepted
    if accepted is None and part.categories:
        accepted = accepted_codes(_labels_of(part, row, origin), part.categories)
    if unsafe and accepted == ():
        return {"unsafe": None, "accepted": (), "outside": True}
    return {"unsafe": unsafe, "accepted": accepted}


def _gold_of(part: Part, row: Mapping[str, Any], origin: Mapping[str, str]) -> bool | None:
    if isinstance(part.gold, Gold):
        return part.gold.of(row, referred(part.gold.column, row, origin) if part.gold.column else None)
    return None if part.gold is None else part.gold == "unsafe"


def _has_unnamed_value(gold: Gold, row: Mapping[str, Any], origin: Mapping[str, str]) -> bool:
    """Whether a rule that names values of both kinds says nothing of this row's."""
    if not gold.column or not gold.unsafe or not gold.safe:
        return False
    value = referred(gold.column, row, origin)
    return plain(value) != "" and gold.of(row, value) is None


def _labels_of(part: Part, row: Mapping[str, Any], origin: Mapping[str, str]) -> tuple[str, ...]:
    if part.label_field:
        return labels_in(referred(part.label_field, row, origin))
    return part.gold.positives(row) if isinstance(part.gold, Gold) else ()


def _looks_unsafe(part: Part, row: Mapping[str, Any], origin: Mapping[str, str]) -> bool:
    if isinstance(part.looks_unsafe, bool):
        return part.looks_unsafe
    return any(plain(referred(c, row, origin)) in map(plain, values) for c, values in part.looks_unsafe.items())


def _shown(value: Any) -> str:
    return ", ".join(map(plain, value)) if isinstance(value, (list, tuple)) else plain(value)
