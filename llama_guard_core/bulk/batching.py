"""How rows are put into jobs."""

from __future__ import annotations

from dataclasses import dataclass, field

from llama_guard_core.bulk.batch_rows import BatchRow
from llama_guard_core.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """How rows are put into jobs. The host's own limits are not documented; these are guesses on the safe side.

    Attributes:
        requests_per_job: at most; a long text is several requests.
        bytes_per_job: at most, about.
        jobs_at_once: how many are out at the host together. Their rows are kept in memory.
        first_pause: seconds between the first two looks at the jobs; each further pause is half as long again.
        longest_pause: seconds no pause exceeds.
        resubmits_doubtful: whether a job that the host may or may not have is submitted again. It may be paid twice.
    """

    requests_per_job: int = 5000
    bytes_per_job: int = 20_000_000
    jobs_at_once: int = 8
    first_pause: float = 5.0
    longest_pause: float = 60.0
    resubmits_doubtful: bool = False

    def __post_init__(self) -> None:
        if min(self.requests_per_job, self.bytes_per_job, self.jobs_at_once) < 1:
            msg = "requests_per_job, bytes_per_job and jobs_at_once are 1 or more"
            raise ConfigurationError(msg)


@dataclass(slots=True)
class Gathered:
    """The rows that are to be a job."""

    rows: list[BatchRow] = field(default_factory=list)
    requests: int = 0
    size: int = 0

    def add(self, row: BatchRow) -> None:
        """Put one more into it."""
        self.rows.append(row)
        self.requests += len(row.requests)
        self.size += row.size

    def has_room_for(self, row: BatchRow, batching: Batching) -> bool:
        """Whether it may be put into it; the first always may."""
        is_room = self.requests + len(row.requests) <= batching.requests_per_job
        return not self.rows or (is_room and self.size + row.size <= batching.bytes_per_job)
