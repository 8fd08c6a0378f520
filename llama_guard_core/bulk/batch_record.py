"""The record of a run's batches: which rows went out in which job, in a file, so that another process can go on.

Before a job is submitted, a line says so; after it, a line says its id. Both are on the disk before anything follows.
Whoever is killed between the two leaves a submission in doubt, which only the host's list of jobs can clear up. A line
that is half there, at the end, is cut off.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from typing_extensions import Self

from llama_guard_core.bulk.file_locks import keep_others_out
from llama_guard_core.bulk.tables import put_on_disk
from llama_guard_core.errors import ConfigurationError

_FORMAT = 1
_HEADER = b'{"batches":'
_IN_NONE = -1
_CLOSED = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One job of a run.

    Attributes:
        number: its place in the record, from 0.
        at: when it was about to be submitted, in seconds since the epoch.
        model: the model's ordinary id.
        requests: how many stand in it.
        job: its id at the host; `None` while it is in doubt whether the host has it, and if it has not.
        was_not_taken: whether the host surely has not got it: its rows are in no job.
    """

    number: int
    at: float
    model: str
    requests: int
    job: str | None = None
    was_not_taken: bool = False

    @property
    def is_in_doubt(self) -> bool:
        """Whether the host may have it and nobody knows its id."""
        return self.job is None and not self.was_not_taken


class BatchRecord:
    """The batches of one run, in a file that one process at a time may have open (`with`).

    It holds row numbers, job ids and 64 bits that tell what was asked from other questions; no judged text, no key.

    Args:
        path: the file; made when it is entered. Its folder must be there.

    Attributes:
        run: what the run's requests are known by at the host.
        submissions: its jobs, in the order they were submitted.

    Raises:
        ConfigurationError: on entering, if another process has it open, or it is no such record.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.run = ""
        self.submissions: list[Submission] = []
        self._in = array("q")
        self._digests = array("Q")
        self._file = _CLOSED

    def __enter__(self) -> Self:
        self.run, self.submissions, self._in, self._digests = "", [], array("q"), array("Q")
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
        try:
            keep_others_out(self._file, self.path)
            self._recover()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)
        self._file = _CLOSED

    @property
    def in_doubt(self) -> list[Submission]:
        """Those that the host may have, and whose ids nobody knows."""
        return [submission for submission in self.submissions if submission.is_in_doubt]

    def submission_of(self, row: int, digest: int) -> Submission | None:
        """The job a row is in; `None` if it is in none.

        Args:
            row: its place.
            digest: what tells what it asks from other questions.

        Raises:
            ConfigurationError: if it asked something else when it was submitted.
        """
        number = self._in[row] if row < len(self._in) else _IN_NONE
        if number == _IN_NONE or self.submissions[number].was_not_taken:
            return None
        if self._digests[row] != digest:
            msg = (
                f"row {row} was submitted as another question than it is now, says {self.path}: put the old input, "
                "guard and policy back, or name a record that is not there yet and begin anew"
            )
            raise ConfigurationError(msg)
        return self.submissions[number]

    def intend(self, rows: Mapping[int, int], *, model: str, requests: int) -> Submission:
        """Write down that a job is about to be submitted.

        Args:
            rows: the rows in it, and what tells what they ask.
            model: the model's ordinary id.
            requests: how many stand in it.
        """
        at, number = time.time(), len(self.submissions)
        listed = [[row, f"{digest:016x}"] for row, digest in rows.items()]
        self._append({"intent": number, "at": at, "model": model, "requests": requests, "rows": listed})
        self._note_intent(Submission(number=number, at=at, model=model, requests=requests), rows)
        return self.submissions[number]

    def took(self, submission: Submission, job_id: str) -> Submission:
        """Write down the id of a job, once it is known."""
        self._append({"took": submission.number, "job": job_id})
        return self._note(submission.number, job=job_id)

    def was_not_taken(self, submission: Submission) -> None:
        """Write down that the host has not got a job: its rows are in none again."""
        self._append({"not_taken": submission.number})
        self._note(submission.number, was_not_taken=True)

    def _note_intent(self, submission: Submission, rows: Mapping[int, int]) -> None:
        self.submissions.append(submission)
        for row, digest in rows.items():
            if (missing := row + 1 - len(self._in)) > 0:
                self._in.extend([_IN_NONE] * missing)
                self._digests.extend([0] * missing)
            self._in[row] = submission.number
            self._digests[row] = digest

    def _note(self, number: int, **changes: Any) -> Submission:
        self.submissions[number] = replace(self.submissions[number], **changes)
        return self.submissions[number]

    def _append(self, line: Mapping[str, Any]) -> None:
        left = memoryview(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        while left:
            left = left[os.write(self._file, left) :]
        os.fsync(self._file)

    def _recover(self) -> None:
        """Read what is there, and cut off what is no whole line."""
        end = 0
        with os.fdopen(os.dup(self._file), "rb") as lines:
            lines.seek(0)
            for line in lines:
                if not line.endswith(b"\n"):
                    if not end and not _HEADER.startswith(line[: len(_HEADER)]):
                        raise self._is_foreign()
                    break
                self._note_line(line)
                end += len(line)
        os.ftruncate(self._file, end)
        os.lseek(self._file, end, os.SEEK_SET)
        if not self.run:
            self.run = secrets.token_hex(4)
            self._append({"batches": _FORMAT, "run": self.run})
            put_on_disk(self.path.resolve().parent)

    def _note_line(self, line: bytes) -> None:
        try:
            said = json.loads(line)
            if not self.run and said["batches"] == _FORMAT:
                self.run = str(said["run"])
            elif self.run and "intent" in said:
                rows = {row: int(digest, 16) for row, digest in said["rows"]}
                named = {name: said[name] for name in ("at", "model", "requests")}
                self._note_intent(Submission(number=len(self.submissions), **named), rows)
            elif self.run and "took" in said:
                self._note(said["took"], job=said["job"])
            else:
                self._note(said["not_taken"], was_not_taken=True)
        except (AttributeError, KeyError, TypeError, ValueError, IndexError):
            raise self._is_foreign() from None

    def _is_foreign(self) -> ConfigurationError:
        msg = f"{self.path} is no record of batches, or is damaged: name another file, or one that is not there yet"
        return ConfigurationError(msg)
