"""What is asked of a Batch API, in which order: each function says it step by step, two shells carry it out.

OpenRouter's guide has the API under one path and its SDK under another: the first that is not answered with 404 is
used from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from time import monotonic
from typing import Any, Literal, TypeVar
from urllib.parse import quote, urlencode

from llama_guard_core.errors import ConfigurationError, ProviderError
from llama_guard_core.provider.batch_jobs import BatchJob, JobReply, Page, job_of, read_deleted, read_ids, read_job
from llama_guard_core.provider.batch_jobs import read_page as read_list
from llama_guard_core.provider.batch_requests import BatchRequest, job_body
from llama_guard_core.provider.batch_results import BatchResults, read_results
from llama_guard_core.provider.endpoints import Endpoint
from llama_guard_core.provider.failures import failure
from llama_guard_core.provider.hosts import Host
from llama_guard_core.provider.private_texts import withholding

T = TypeVar("T")

_NOT_THERE = 404
_NO_SUCH_METHOD = 405
_ON_A_PAGE = 100
_MOST_FAILED_LOOKS = 10  # in a row: a day is long, and a network may be gone for some minutes of it
_ROUTERS_SUFFIX = ":batch"
_MODELS: Endpoint[frozenset[str]] = Endpoint("models", read_ids)


class NotOfferedInBatch(ConfigurationError):
    """The host has no Batch API, or does not list this model for it."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Asks an endpoint; what comes of it is what its reply says. One that submits is not repeated blindly."""

    endpoint: Endpoint[Any]
    request: Mapping[str, Any] | None = None
    submits: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """Wants some seconds to pass."""

    seconds: float


Flow = Generator[Ask | Pause, Any, T]
"""Yields what is to be done, is sent the reply, and has a `ProviderError` thrown in where there is none."""


class BatchFlows:
    """The calls of a Batch API.

    Args:
        host: whose it is.

    Raises:
        ConfigurationError: if none is known of there.
    """

    def __init__(self, host: Host) -> None:
        if not host.batches:
            msg = (
                f"{host.name} has no Batch API that this package speaks (OpenRouter's): leave batch out, or name where "
                "it is, as Host(batches=('/api/v1/batches',), ...)"
            )
            raise ConfigurationError(msg)
        self._host = host
        self._paths = host.batches

    def listed(self, model: str) -> str:
        """The id under which the host lists a model for batches: at OpenRouter the model's own, with `:batch`."""
        return f"{model.partition(':')[0]}{_ROUTERS_SUFFIX}" if self._host.is_router else model

    def is_offered(self, model: str) -> Flow[bool]:
        """Whether the host lists a model for batches."""
        return self.listed(model) in (yield Ask(_MODELS))

    def require_offered(self, model: str) -> Flow[None]:
        """Nothing, if the host lists a model for batches."""
        if not (yield from self.is_offered(model)):
            msg = (
                f"{model} is not offered in batch at {self._host.name} (its list of models has no "
                f"{self.listed(model)}). Leave batch out, or let it go the ordinary way: `acheck_many`, or "
                "`llama-guard moderate` without --batch, or with --batch-fallback."
            )
            raise NotOfferedInBatch(msg)

    def submit(self, requests: Sequence[BatchRequest], model: str) -> Flow[BatchJob]:
        """Submit a job."""
        body = job_body(requests, self.listed(model))
        told: ProviderError
        try:
            reply: JobReply = yield from self._asked("", read_job, request=body, submits=True)
        except ProviderError as error:
            told = withholding(error, {"messages": [each for one in requests for each in one.body["messages"]]}, ())
        else:
            return reply.job
        raise told

    def job(self, job_id: str) -> Flow[BatchJob]:
        """Look at a job."""
        return (yield from self._reply(job_id)).job

    def wait(self, job_id: str, *, until: float | None, first_pause: float, longest_pause: float) -> Flow[BatchJob]:
        """Look at a job again and again until it is over, or time is."""
        looks = _Looks()
        for pause in pauses(first_pause, longest_pause):
            job = yield from looks.at(self._reply(job_id))
            if job is not None and job.is_over:
                return job
            if until is not None and monotonic() + pause > until:
                if looks.last is None:
                    raise failure(reason="timeout", said="nothing was told of the batch in time")
                return looks.last
            yield Pause(pause)
        raise AssertionError

    def jobs(self, *, since: float | None, most: int) -> Flow[list[BatchJob]]:
        """The account's jobs, the newest first."""
        found: list[BatchJob] = []
        after: str | None = None
        while True:
            query = {"limit": min(most, _ON_A_PAGE)} | ({} if after is None else {"after": after})
            page: Page = yield from self._asked(f"?{urlencode(query)}", read_list)
            jobs = [job for item in page.items if (job := job_of(item)) is not None]
            found += [job for job in jobs if since is None or job.created_at is None or job.created_at >= since]
            is_past = since is not None and any(job.created_at is not None and job.created_at < since for job in jobs)
            if is_past or page.following in (None, after) or len(found) >= most:
                return found[:most]
            after = page.following

    def results(self, job_id: str, asked: Mapping[str, Mapping[str, Any]] | None) -> Flow[BatchResults]:
        """What came of each request of a job, as far as the host has it."""
        reply = yield from self._reply(job_id)
        told = list(reply.results or ())
        if reply.job.is_over and len(told) < (reply.job.completed or 0) + (reply.job.failed or 0):
            paged = yield from self._paged_results(job_id)
            told = paged if len(paged) > len(told) else told
        return replace(read_results(told, asked), job=reply.job)

    def cancel(self, job_id: str) -> Flow[BatchJob]:
        """Have the rest of a job not be done."""
        try:
            reply: JobReply = yield from self._asked(f"{_part(job_id)}/cancel", read_job, method="POST", request={})
        except ProviderError as error:
            if error.status not in (_NOT_THERE, _NO_SUCH_METHOD):
                raise
        else:
            return reply.job
        said = f"{self._host.name} has no such batch, or none that can be cancelled"
        advice = "OpenRouter documents no way to cancel: what was submitted is done and paid for."
        raise failure(reason="not_found", said=said, advice=advice, status=_NOT_THERE)

    def delete(self, job_id: str) -> Flow[None]:
        """Delete a job that is over."""
        yield from self._asked(_part(job_id), read_deleted, method="DELETE")

    def _reply(self, job_id: str) -> Flow[JobReply]:
        return self._asked(_part(job_id), read_job)

    def _paged_results(self, job_id: str) -> Flow[list[Mapping[str, Any]]]:
        """From an endpoint of their own, which newer documentation has; nothing where it is not there."""
        found: list[Mapping[str, Any]] = []
        cursor: str | None = None
        while True:
            query = "" if cursor is None else f"?{urlencode({'cursor': cursor})}"
            try:
                page: Page = yield from self._asked(f"{_part(job_id)}/results{query}", read_list)
            except ProviderError as error:
                if error.status not in (_NOT_THERE, _NO_SUCH_METHOD):
                    raise
                return found
            found += page.items
            if page.following in (None, cursor):
                return found
            cursor = page.following

    def _asked(
        self,
        tail: str,
        reads: Callable[..., T],
        *,
        method: Literal["DELETE", "POST"] | None = None,
        request: Mapping[str, Any] | None = None,
        submits: bool = False,
    ) -> Flow[T]:
        """Ask under the path that is known to be there, or under each until one is."""
        errors: list[ProviderError] = []
        for path in self._paths:
            try:
                reply: T = yield Ask(_endpoint(f"{path}{tail}", reads, method), request, submits)
            except ProviderError as error:  # noqa: PERF203 - each path in turn
                if error.status != _NOT_THERE:
                    raise
                errors.append(error)
            else:
                self._paths = (path,)
                return reply
        # A page that is not there says little; a job or a model that is not there is named.
        raise max(errors, key=lambda error: len(str(error)))


class _Looks:
    """What looks at a job saw: some may fail, so many in a row may not."""

    def __init__(self) -> None:
        self.last: BatchJob | None = None
        self._failed = 0

    def at(self, reply: Flow[JobReply]) -> Flow[BatchJob | None]:
        try:
            self.last = (yield from reply).job
        except ProviderError as error:
            self._failed += 1
            if not error.retryable or self._failed >= _MOST_FAILED_LOOKS:
                raise
            return None
        self._failed = 0
        return self.last


def pauses(first: float, longest: float) -> Iterator[float]:
    """Seconds between two looks at a job: each half as long again as the one before, up to the longest."""
    pause = min(first, longest)
    while True:
        yield pause
        pause = min(longest, pause * 1.5)


def _part(job_id: str) -> str:
    return f"/{quote(job_id, safe='')}"


@lru_cache(maxsize=256)
def _endpoint(path: str, reads: Callable[..., T], method: Literal["DELETE", "POST"] | None) -> Endpoint[T]:
    """A client remembers the address of each endpoint it was asked for: the same job must be the same endpoint."""
    return Endpoint(path, reads, method)
