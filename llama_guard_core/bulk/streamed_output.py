"""Verdicts to a stream as they come, in the order of the rows; nothing is kept of them, so nothing can be resumed."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import IO, Any

from llama_guard_core.bulk.judgements import Judgement
from llama_guard_core.bulk.tables import record_lines
from llama_guard_core.bulk.tally import Tally


class StreamedOutput:
    """Writes whole lines, each row in its turn: what comes early is held back.

    Args:
        stream: where to.
        format: `jsonl`, `csv` or `tsv`.
        details: whether there is also what differs from run to run.

    Attributes:
        tally: what came of the rows that are done.
    """

    def __init__(self, stream: IO[bytes], *, format: str = "jsonl", details: bool = False) -> None:  # noqa: A002
        self.tally = Tally()
        self._stream = stream
        self._details = details
        self._early: dict[int, Judgement] = {}
        self._next = 0
        self._records: deque[Mapping[str, Any]] = deque()
        self._lines = record_lines(iter(self._records.popleft, None), format)

    def has(self, row: int, digest: int) -> bool:  # noqa: ARG002 - what every place for verdicts is asked
        """No row is done before it is asked about."""
        return False

    def put(self, digest: int, judgement: Judgement) -> None:  # noqa: ARG002 - as above
        """Write a row, or hold it back until its turn."""
        self.tally.add(judgement)
        self._early[judgement.row] = judgement
        while (following := self._early.pop(self._next, None)) is not None:
            self._next += 1
            self._write(following)

    def finish(self) -> None:
        """Write what was held back for rows that were never done."""
        for row in sorted(self._early):
            self._write(self._early.pop(row))

    def _write(self, judgement: Judgement) -> None:
        self._records.append(judgement.as_dict(details=self._details))
        self._stream.write(next(self._lines))
        self._stream.flush()
