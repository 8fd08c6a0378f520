"""The journal of a run over a file: a line for each row that is done, so that a run that was killed can go on.

The journal, and not the output, is what a run writes to while it lasts. The output is written from it at the end, whole
and in the order of the input. A process that is killed in the middle of a line leaves half of one at most, at the end,
which the next one cuts off.
"""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from typing_extensions import Self

from llama_guard_core.bulk.file_locks import keep_others_out
from llama_guard_core.bulk.judgements import Judgement
from llama_guard_core.bulk.tally import Tally
from llama_guard_core.bulk.text_tables import plain_value
from llama_guard_core.errors import ConfigurationError
from llama_guard_core.guardrail.screening import Check

_FORMAT = 1
_BEGINS = b'{"journal":'
_ABSENT = -1


def digest_of(question: Check | None) -> int:
    """What tells a question from others: 64 bits; 0 for a row that holds none.

    Whoever has the journal can try whether a row was a text that he guesses.
    """
    if question is None:
        return 0
    asked = json.dumps([question.stage.value, [asdict(message) for message in question.conversation]], sort_keys=True)
    return int.from_bytes(hashlib.sha256(asked.encode("utf-8", "surrogatepass")).digest()[:8], "big")


class Journal:
    """The rows of a run that are done, in a file that one process at a time may have open.

    It holds no judged text but the columns that the caller keeps.

    Args:
        path: the file; made when it is entered (`with`).
        settings: what the verdicts of the run depend on, as JSON values. A journal with rows of others is refused.

    Attributes:
        tally: what came of the rows that are done.

    Raises:
        ConfigurationError: on entering, if another process has it open, it is another run's, or it cannot be written.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.tally = Tally()
        self._settings = json.loads(json.dumps(settings))
        self._offsets, self._digests, self._end = array("q"), array("Q"), 0
        self._file = _ABSENT
        self._differing: list[str] = []
        self._asked = 0

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            os.fsync(self._file)
        finally:
            os.close(self._file)

    def has(self, row: int, digest: int) -> bool:
        """Whether a row is done.

        Raises:
            ConfigurationError: if another text stood in that row when it was.
        """
        self._asked = max(self._asked, row + 1)
        if row >= len(self._offsets) or self._offsets[row] == _ABSENT:
            return False
        if self._digests[row] != digest:
            msg = (
                f"row {row} holds another text than when this run began: put the old input back, or begin anew with "
                f"--overwrite"
            )
            raise ConfigurationError(msg)
        return True

    def put(self, digest: int, judgement: Judgement) -> None:
        """Write a row down. It is done once this returns, even if the process is killed.

        Raises:
            OSError: if it cannot be written. Then nothing of it is.
        """
        offset = self._end
        self._append({"of": f"{digest:016x}", "is": judgement.as_dict()})
        self._note(judgement, digest, offset)

    @property
    def goes_beyond_input(self) -> bool:
        """Whether rows are done behind the last that `has` was asked about: the input was longer once."""
        return len(self._offsets) > self._asked

    def judgements(self) -> Iterator[Judgement]:
        """What came of the rows that are done, in their order."""
        with self.path.open("rb") as lines:
            for offset in self._offsets:
                if offset != _ABSENT:
                    lines.seek(offset)
                    yield _read(lines.readline())[1]

    def forget_unjudged(self) -> None:
        """Take out the rows without a verdict, so that they are asked about again."""
        left = self.path.with_name(self.path.name + ".part")
        with left.open("wb") as file, self.path.open("rb") as lines:
            file.write(lines.readline())
            file.writelines(line for line in lines if _read(line)[1].outcome == "judged")
            file.flush()
            os.fsync(file.fileno())
        left.replace(self.path)
        os.close(self._file)
        self._open()

    def _open(self) -> None:
        self.tally = Tally()
        self._offsets, self._digests, self._end = array("q"), array("Q"), 0
        self._file = _opened(self.path)
        try:
            self._recover()
        except BaseException:
            os.close(self._file)
            raise

    def _append(self, line: Mapping[str, Any]) -> None:
        left = memoryview(json.dumps(line, separators=(",", ":"), default=plain_value).encode() + b"\n")
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError:  # nothing is to be written behind half a line
            self._cut_off(self._end)
            raise
        self._end = os.lseek(self._file, 0, os.SEEK_CUR)

    def _cut_off(self, at: int) -> None:
        os.ftruncate(self._file, at)
        self._end = os.lseek(self._file, at, os.SEEK_SET)

    def _note(self, judgement: Judgement, digest: int, offset: int) -> None:
        missing = judgement.row + 1 - len(self._offsets)
        if missing > 0:
            self._offsets.extend([_ABSENT] * missing)
            self._digests.extend([0] * missing)
        self._offsets[judgement.row] = offset
        self._digests[judgement.row] = digest
        self.tally.add(judgement)

    def _recover(self) -> None:
        """Read what is there, and cut off what is no whole line."""
        with os.fdopen(os.dup(self._file), "rb") as lines:
            lines.seek(0)
            if not _BEGINS.startswith(lines.read(len(_BEGINS))):
                msg = f"{self.path} is no journal of a run: move it away, or name another output"
                raise ConfigurationError(msg)
            lines.seek(0)
            for number, line in enumerate(lines):
                try:
                    self._note_line(number, line)
                except ConfigurationError:
                    raise
                except (KeyError, TypeError, ValueError):  # half a line; or, after a power cut, what never got there
                    break
                self._end += len(line)
        self._cut_off(self._end if self._offsets else 0)
        if self._end == 0:
            self._append({"journal": _FORMAT, "settings": self._settings})

    def _note_line(self, number: int, line: bytes) -> None:
        if not line.endswith(b"\n"):
            raise ValueError
        if number:
            digest, judgement = _read(line)
            if self._differing:  # without a row there is nothing that they matter to
                differing = ", ".join(self._differing)
                msg = (
                    f"the run that {self.path} belongs to was begun with other settings ({differing}): start it again "
                    "with the same, or begin anew with --overwrite"
                )
                raise ConfigurationError(msg)
            self._note(judgement, digest, self._end)
            return
        header = json.loads(line)
        if header["journal"] != _FORMAT:
            msg = f"{self.path} was written by another version of this program: finish the run with that one"
            raise ConfigurationError(msg)
        self._differing = _differing(header["settings"], self._settings)


def read_journal(path: Path) -> tuple[dict[str, Any], dict[int, tuple[int, Judgement]]]:
    """What a run that is over left in its journal: its settings, and by row the digest and what came of it.

    Raises:
        ConfigurationError: if there is no such file, or it is no journal.
    """
    try:
        with path.open("rb") as lines:
            settings: dict[str, Any] = json.loads(lines.readline())["settings"]
            rows = {judgement.row: (digest, judgement) for digest, judgement in map(_read, lines)}
    except OSError:
        msg = f"there is no file {path} that can be read: check its path"
        raise ConfigurationError(msg) from None
    except (KeyError, TypeError, ValueError):
        msg = f"{path} is no journal of a run, or one that was killed: let that run end first"
        raise ConfigurationError(msg) from None
    return settings, rows


def remove_journal(path: Path) -> None:
    """Remove the journal of a run that is to begin anew, if there is one.

    Raises:
        ConfigurationError: if another process has it open, or it cannot be written.
    """
    if path.exists():
        file = _opened(path)
        path.unlink()
        os.close(file)


def _opened(path: Path) -> int:
    """The file, open and locked; made if it is not there."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
    except OSError as error:
        msg = f"{path} cannot be written ({error.strerror}): it is where a run is written down, name another output"
        raise ConfigurationError(msg) from None
    try:
        keep_others_out(file, path)
        _check_still_there(file, path)
    except BaseException:
        os.close(file)
        raise
    return file


def _check_still_there(file: int, path: Path) -> None:
    """Whoever had it open may have removed it between its being opened here and being locked."""
    if not path.exists() or not os.path.samestat(os.fstat(file), path.stat()):
        msg = f"another process was at work on {path}: start again"
        raise ConfigurationError(msg)


def _read(line: bytes) -> tuple[int, Judgement]:
    said = json.loads(line)
    return int(said["of"], 16), Judgement.from_dict(said["is"])


def _differing(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
