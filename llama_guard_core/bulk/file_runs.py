"""A file of rows in, a file of verdicts out: what is judged already, what is left, and when the output is whole."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

from llama_guard_core.bulk.columns import Columns, ImageFiles
from llama_guard_core.bulk.journal import Journal, remove_journal
from llama_guard_core.bulk.moderation import Row
from llama_guard_core.bulk.parquet_tables import write_parquet
from llama_guard_core.bulk.tables import read_rows, table_format, write_records
from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.errors import ConfigurationError, GuardUnavailable
from llama_guard_core.guardrail.images import ImageRules
from llama_guard_core.guardrail.screening import Check
from llama_guard_core.guardrail.verdict import Stage

_FIRST_ROWS = 100  # that tell which columns there are: rows of JSON Lines need not have the same


@dataclass(frozen=True, kw_only=True)
class Input:
    """Rows in a file or a stream, and which of their columns hold what is judged.

    Attributes:
        source: a file, or a stream of bytes.
        format: the format of a stream, or of a file whose suffix does not tell.
        columns: names of columns, as `Columns.found` takes them; what is left out is found by its usual name.
        stage: what is judged in each row; told by the row itself if left out.
        images: the folder that paths of images are relative to; the file's own if left out.
        image_rules: which pictures are read; the guard judges them by its own rules.
    """

    source: Path | IO[bytes]
    format: str | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    stage: Stage | None = None
    images: Path | None = None
    image_rules: ImageRules | None = None

    def check(self) -> None:
        """Refuse a file that is not there, or whose first rows hold nothing to judge; a stream is yet to come.

        Raises:
            ConfigurationError: saying why.
        """
        if isinstance(self.source, Path):
            with contextlib.closing(self.rows()) as rows:
                next(rows, None)

    def rows(self) -> Generator[Row, None, None]:
        """The rows, with their questions.

        Raises:
            ConfigurationError: if the file cannot be read, or no column holds anything to judge.
        """
        folder = self.images or (self.source.parent if isinstance(self.source, Path) else None)
        images = ImageFiles(folder, self.image_rules)
        rows = read_rows(self.source, format=self.format)
        # A stream may be long in coming: its first row has to tell.
        first = [*islice(rows, _FIRST_ROWS if isinstance(self.source, Path) else 1)]
        names = dict.fromkeys(name for row in first for name in row)
        if not first:
            return
        columns = Columns.found(list(names), **self.columns)
        for index, values in enumerate(chain(first, rows)):
            if surprising := columns.would_have_found(values.keys() - names.keys()):
                msg = (
                    f"row {index} has a column {surprising!r}, and the first rows have none: say by --prompt, --reply "
                    "--messages and --image which are meant; an empty name is none"
                )
                raise ConfigurationError(msg)
            yield Row(index, self._question(columns, values, images), columns.kept_of(values))

    def _question(self, columns: Columns, values: Mapping[str, Any], images: ImageFiles) -> Check | GuardUnavailable:
        try:
            question = columns.check_of(values, images)
        except GuardUnavailable as error:
            return error
        return question if self.stage is None else replace(question, stage=self.stage)


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where the verdicts go: a file that is there when it is whole, and beside it a journal until then.

    Attributes:
        path: the file; `PATH.journal` is the journal's.
        format: its format, where its suffix does not tell.
        details: whether it also has what differs from run to run: provider, tokens, cost, latency, ids.
    """

    path: Path
    format: str | None = None
    details: bool = False

    @property
    def journal_path(self) -> Path:
        """Where the journal is."""
        return self.path.with_name(self.path.name + ".journal")

    @property
    def batches_path(self) -> Path:
        """Where the ids of its batches are."""
        return self.path.with_name(self.path.name + ".batches")

    def check(self, input_: Input) -> None:
        """Refuse what could not be written in the end, or would take the place of the input.

        Raises:
            ConfigurationError: if the format is not known or needs a library that is missing, there is no folder for
                it, or it is the input itself.
        """
        kind, _ = table_format(self.path, self.format)
        if kind == "json":
            msg = "an output is JSON Lines, CSV, TSV or Parquet: name it so, or give its format"
            raise ConfigurationError(msg)
        if not self.path.parent.is_dir():
            msg = f"there is no folder {self.path.parent}: make it first"
            raise ConfigurationError(msg)
        try:
            is_other_than_file = self.path.exists() and not self.path.is_file()
            taken = [path for path in (self.path, self.journal_path, self.batches_path) if path.exists()]
        except OSError as error:
            msg = f"{self.path} cannot be written ({error.strerror}): name another output"
            raise ConfigurationError(msg) from None
        if is_other_than_file:
            msg = f"{self.path} is no file: name another output"
            raise ConfigurationError(msg)
        for path in taken:
            if isinstance(input_.source, Path) and path.samefile(input_.source):
                msg = f"{path} is the input: name another output"
                raise ConfigurationError(msg)
        if kind == "parquet":
            write_parquet(io.BytesIO(), [])  # which needs a library that may not be there

    def journal(self, guard: LlamaGuard, input_: Input) -> Journal:
        """The journal of a run; to be entered."""
        columns = {name: value for name, value in input_.columns.items() if value}
        stage = input_.stage.value if input_.stage else None
        return Journal(self.journal_path, {**settings_of(guard), "columns": columns, "stage": stage})

    def begin_anew(self) -> None:
        """Forget what was judged before. An output is there until the new one takes its place.

        Raises:
            ConfigurationError: if another process is at work on it.
        """
        remove_journal(self.journal_path)
        self.batches_path.unlink(missing_ok=True)

    def is_whole(self, input_: Input) -> bool:
        """Whether there is nothing to do: an output of this input, and no journal of a run that is yet to end.

        Raises:
            ConfigurationError: if there is an output of something else.
        """
        if self.journal_path.exists() or not self.path.exists():
            return False
        if isinstance(input_.source, Path):
            rows = sum(1 for _ in read_rows(input_.source, format=input_.format))
            is_older = input_.source.stat().st_mtime <= self.path.stat().st_mtime
            if is_older and self._holds_verdicts_of(rows):
                return True
        msg = f"{self.path} is there already, and not of this input as it is now: name another output, or --overwrite"
        raise ConfigurationError(msg)

    def _holds_verdicts_of(self, rows: int) -> bool:
        number = 0
        for number, record in enumerate(read_rows(self.path, format=self.format), 1):
            if "outcome" not in record or str(record.get("row")) != str(number - 1):
                return False
        return number == rows

    def finish(self, journal: Journal) -> None:
        """Write the output. The journal is kept where rows are without a verdict, to ask about them again.

        Raises:
            ConfigurationError: if the input had more rows when the run began, or the output cannot be written.
        """
        if journal.goes_beyond_input:
            msg = "the input has fewer rows than when this run began: put the old one back, or use --overwrite"
            raise ConfigurationError(msg)
        write_records(
            self.path,
            (judgement.as_dict(details=self.details) for judgement in journal.judgements()),
            format=self.format,
        )
        for part in self.path.parent.glob(f".{_literally(self.path.name)}.*.part"):  # of processes that were killed
            with contextlib.suppress(OSError):
                part.unlink()
        self.batches_path.unlink(missing_ok=True)
        if not journal.tally.unjudged:
            self.journal_path.unlink()


def settings_of(guard: LlamaGuard) -> dict[str, Any]:
    """What the verdicts of a guard depend on, as JSON values: not where it is asked, nor how patiently."""
    policy = guard.policy
    return {
        "model": guard.model,
        "excluded_categories": list(policy.excluded_categories),
        "custom_categories": [category.model_dump(mode="json") for category in policy.custom_categories],
        "splitting": guard.splitting.model_dump(mode="json"),
        "hardening": guard.hardening.model_dump(mode="json"),
        "images": guard.images.model_dump(mode="json"),
    }


def _literally(name: str) -> str:
    return "".join(f"[{each}]" if each in "*?[" else each for each in name)
