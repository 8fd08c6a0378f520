"""Submitting a job so that, whatever happens, it is submitted once: the record is written before and after."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llama_guard_core.bulk.batch_record import BatchRecord, Submission
from llama_guard_core.bulk.batch_rows import BatchRow
from llama_guard_core.bulk.batching import Batching
from llama_guard_core.errors import ConfigurationError, FailureReason, ProviderError
from llama_guard_core.provider.batch_client import AsyncBatchClient
from llama_guard_core.provider.batch_jobs import BatchJob
from llama_guard_core.provider.batch_requests import may_have_been_taken
from llama_guard_core.provider.deadlines import asleep

_ABOUT_THIS_JOB: frozenset[FailureReason] = frozenset({"invalid_request", "too_large", "context_length"})
_CLOCKS_DIFFER = 300.0  # seconds by which the host's clock may be behind


class Submitter:
    """Submits jobs of one model for one run.

    Args:
        client: the Batch API.
        record: the run's.
        model: the model's ordinary id.
        batching: whether a job in doubt is submitted again.
        on_job: told of each job that the host has.
    """

    def __init__(
        self,
        client: AsyncBatchClient,
        record: BatchRecord,
        model: str,
        batching: Batching,
        on_job: Callable[[BatchJob], None],
    ) -> None:
        self._client = client
        self._record = record
        self._model = model
        self._batching = batching
        self._on_job = on_job
        self._is_offered = False

    async def submitted(self, rows: Sequence[BatchRow]) -> Submission | ProviderError:
        """Submit these, and find out what became of it.

        Returns:
            The job; or what the host has against this one, which it has not taken.

        Raises:
            ConfigurationError: if the model is not offered in batch, or it cannot be told whether the job was taken.
            ProviderError: if the host takes none, whatever it holds.
        """
        if not self._is_offered:
            await self._client.require_offered(self._model)
            self._is_offered = True
        requests = [request for each in rows for request in each.batch_requests(self._record.run)]
        digests = {each.row: each.digest for each in rows}
        submission = self._record.intend(digests, model=self._model, requests=len(requests))
        try:
            job = await self._client.submit(requests, model=self._model)
        except ConfigurationError:
            self._record.was_not_taken(submission)
            raise
        except ProviderError as error:
            if not may_have_been_taken(error):
                self._record.was_not_taken(submission)
                if error.reason in _ABOUT_THIS_JOB:
                    return error
                raise
        else:
            return self._take(submission, job)
        await asleep(self._batching.first_pause)  # a job that was just taken may not be listed at once
        return await self.clear_up(submission)

    async def clear_up(self, submission: Submission) -> Submission:
        """Find out whether the host has a job whose id nobody knows.

        Raises:
            ConfigurationError: if that cannot be told.
        """
        known = {each.job for each in self._record.submissions}
        listed = await self._client.jobs(since=submission.at - _CLOCKS_DIFFER)
        model = self._client.listed(submission.model)
        found = [
            job
            for job in listed
            if job.id not in known
            and job.model in (None, model, submission.model)
            and (job.total or submission.requests) == submission.requests
        ]
        if len(found) == 1:
            return self._take(submission, found[0])
        if self._batching.resubmits_doubtful:
            self._record.was_not_taken(submission)
            return self._record.submissions[submission.number]
        named = f" ({', '.join(job.id for job in found)})" if found else ""
        msg = (
            f"a batch of {submission.requests} requests for {submission.model} was sent to {self._client.host.name}, "
            f"and it is not known whether it was taken: {len(found)} of its jobs are like it{named}. Look at "
            "`llama-guard batch list`. To submit it again, and perhaps pay twice, set resubmits_doubtful (--resubmit)."
        )
        raise ConfigurationError(msg)

    def _take(self, submission: Submission, job: BatchJob) -> Submission:
        self._on_job(job)
        return self._record.took(submission, job.id)
