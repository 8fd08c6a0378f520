"""Many checks through a host's Batch API: done within a day, at about half the price, resumable by another process."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llama_guard_core.bulk.batch_record import BatchRecord, Submission
from llama_guard_core.bulk.batch_rows import BatchRow, batch_row
from llama_guard_core.bulk.batch_submission import Submitter
from llama_guard_core.bulk.batching import Batching, Gathered
from llama_guard_core.errors import GuardUnavailable, ProviderError
from llama_guard_core.guardrail.screening import Check
from llama_guard_core.guardrail.verdict import Verdict
from llama_guard_core.provider.batch_client import AsyncBatchClient
from llama_guard_core.provider.batch_flows import NotOfferedInBatch, pauses
from llama_guard_core.provider.batch_jobs import BatchJob
from llama_guard_core.provider.batch_results import BatchResults
from llama_guard_core.provider.deadlines import asleep

if TYPE_CHECKING:
    from llama_guard_core.classifier import LlamaGuard

Judged = AsyncGenerator[tuple[int, Verdict | GuardUnavailable], None]

_MOST_FAILED_LOOKS = 10  # in a row


async def ajudged_in_batches(
    guard: LlamaGuard,
    rows: Iterable[tuple[int, Check]],
    *,
    record: BatchRecord,
    batching: Batching | None = None,
    client: AsyncBatchClient | None = None,
    on_job: Callable[[BatchJob], None] | None = None,
) -> Judged:
    """Put many questions to the guard through its host's Batch API. Each row comes out once, as its job is over.

    Started again with the same record after whatever happened, it goes on: rows that are in a job are waited for or
    fetched again, which costs nothing, and only those in none are submitted. The cache of the guard is neither asked
    nor filled.

    Args:
        guard: asks, and reads the verdicts. Of its hosts the first with a Batch API is used; its model must be listed
            for batches there.
        rows: the place of each and its question; read as they are needed. They need not be all of the run's: those
            that came out before may be left out.
        record: which rows are in which job. Another input, guard or host needs another record.
        batching: how rows are put into jobs.
        client: instead of one that is made of the guard's connection.
        on_job: told of each job as it is submitted, found again, and over.

    Yields:
        The place of a row and its verdict; or why there is none: a `NotJudgedInBatch` where the ordinary way may give
        one (what batches do not take; jobs that failed, expired or were cancelled; lost results), another
        `GuardUnavailable` where not (an answer that is no verdict, a row that holds nothing).

    Raises:
        ConfigurationError: if the model is not offered in batch; if the record is of other rows or in use; or if it is
            in doubt whether the host has a job, which is not submitted twice unless `batching` says so.
        ProviderError: if the host refuses jobs as such, or cannot be reached for long. What it has, it has: start again
            to go on.
    """
    run = _Run(guard, record, batching or Batching(), client, on_job)
    try:
        with record:
            async for outcome in run.judged(rows):
                yield outcome
    finally:
        if client is None:
            await run.client.aclose()


@dataclass(slots=True)
class _Out:
    """A job at the host, and the rows of it that are wanted."""

    submission: Submission
    rows: list[BatchRow] = field(default_factory=list)
    failed_looks: int = 0


class _Run:
    def __init__(
        self,
        guard: LlamaGuard,
        record: BatchRecord,
        batching: Batching,
        client: AsyncBatchClient | None,
        on_job: Callable[[BatchJob], None] | None,
    ) -> None:
        self._guard = guard
        self._record = record
        self._batching = batching
        self._at = _host_with_batches(guard)
        model = guard._hosts[self._at].model  # noqa: SLF001 - one of us
        self.client = client or _client_of(guard, self._at)
        self._on_job = on_job or (lambda _: None)
        self._submitter = Submitter(self.client, record, model, batching, self._on_job)
        self._gathered = Gathered()
        self._out: dict[int, _Out] = {}

    async def judged(self, rows: Iterable[tuple[int, Check]]) -> Judged:
        for submission in self._record.in_doubt:
            await self._submitter.clear_up(submission)
        for row, check in rows:
            try:
                asked = batch_row(self._guard, self._at, row, check)
            except GuardUnavailable as error:
                yield row, error
                continue
            async for outcome in self._put(asked):
                yield outcome
        async for outcome in self._submitted():
            yield outcome
        while self._out:
            async for outcome in self._next_over():
                yield outcome

    async def _put(self, asked: BatchRow) -> Judged:
        """Wait for a row that is in a job, or gather it for the next; what came of others meanwhile."""
        if submission := self._record.submission_of(asked.row, asked.digest):
            self._out.setdefault(submission.number, _Out(submission)).rows.append(asked)
            while len(self._out) > self._batching.jobs_at_once:
                async for outcome in self._next_over():
                    yield outcome
            return
        if not self._gathered.has_room_for(asked, self._batching):
            async for outcome in self._submitted():
                yield outcome
        self._gathered.add(asked)

    # Submitting

    async def _submitted(self) -> Judged:
        """Submit what is gathered; what comes of rows whose job the host would not take, and of others meanwhile."""
        rows, self._gathered = self._gathered.rows, Gathered()
        while rows and len(self._out) >= self._batching.jobs_at_once:
            async for outcome in self._next_over():
                yield outcome
        while rows:
            submission = await self._submitter.submitted(rows)
            if isinstance(submission, ProviderError):
                for each in rows:
                    yield each.row, each.failed(submission)
                return
            if not submission.was_not_taken:
                self._out[submission.number] = _Out(submission, rows)
                return

    # Collecting

    async def _next_over(self) -> Judged:
        """Wait until one of the jobs is over at least; what came of the rows of those that are."""
        for pause in pauses(self._batching.first_pause, self._batching.longest_pause):
            looks = [(out, await self._look(out)) for out in self._out.values()]
            over = [(out, results) for out, results in looks if results is not None]
            for out, results in over:
                del self._out[out.submission.number]
                for outcome in self._outcomes(out, results):
                    yield outcome
            if over:
                return
            await asleep(pause)

    async def _look(self, out: _Out) -> BatchResults | ProviderError | None:
        """The results of a job that is over, or why there are none; `None` while it is not over."""
        requests = [request for each in out.rows for request in each.batch_requests(self._record.run)]
        asked = {request.custom_id: request.body for request in requests}
        try:
            results = await self.client.results(out.submission.job or "", asked=asked)
        except ProviderError as error:
            out.failed_looks += 1
            if error.reason == "not_found":  # results are kept for 30 days, or were deleted
                return error
            if error.retryable or error.reason == "malformed":
                if out.failed_looks < _MOST_FAILED_LOOKS:
                    return None
                if error.reason == "malformed":  # never to be read
                    return error
            raise
        out.failed_looks = 0
        if results.job is None or not results.job.is_over:
            return None
        self._on_job(results.job)
        return results

    def _outcomes(
        self, out: _Out, results: BatchResults | ProviderError
    ) -> Iterator[tuple[int, Verdict | GuardUnavailable]]:
        if isinstance(results, ProviderError):
            yield from ((each.row, each.failed(results)) for each in out.rows)
            return
        by_id, status = results.by_id(), results.job.status if results.job else ""
        for each in out.rows:
            outcome = each.outcome(self._record.run, by_id, status)
            if isinstance(outcome, Verdict) and (told := self._guard._on_verdict):  # noqa: SLF001 - one of us
                told(outcome)
            yield each.row, outcome


def _host_with_batches(guard: LlamaGuard) -> int:
    hosts = [each.host for each in guard._hosts]  # noqa: SLF001 - one of us
    for at, host in enumerate(hosts):
        if host.batches:
            return at
    named = ", ".join(host.name for host in hosts)
    msg = f"no Batch API is known of at {named}: leave batch out, or let it go the ordinary way (`acheck_many`)"
    raise NotOfferedInBatch(msg)


def _client_of(guard: LlamaGuard, at: int) -> AsyncBatchClient:
    clients = guard._clients  # noqa: SLF001 - one of us
    return AsyncBatchClient(clients._connections[at], http_client=clients._http_async_client)  # noqa: SLF001 - as above
