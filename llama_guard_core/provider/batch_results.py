"""OpenRouter's Batch API as it stands on the wire: what came of each request, read tolerantly.

Sources: OpenRouter's "Batch API Quickstart" and its reference of the API, and the types of its Python SDK, read in
November 2026. No job was ever sent to a real host by this project.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llama_guard_core.errors import ProviderError
from llama_guard_core.provider.batch_jobs import BatchJob
from llama_guard_core.provider.failures import failure, failure_from_error, failure_from_response
from llama_guard_core.provider.private_texts import withholding
from llama_guard_core.provider.wire import Completion, as_dict, read_completion, text_or_none

_SUCCESS = range(200, 300)


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What came of one request: a reply or an error.

    Attributes:
        custom_id: the request's.
        outcome: the reply, or what the request failed with.
    """

    custom_id: str
    outcome: Completion | ProviderError

    @property
    def completion(self) -> Completion:
        """The reply.

        Raises:
            ProviderError: if there is none.
        """
        if isinstance(self.outcome, ProviderError):
            raise self.outcome
        return self.outcome


@dataclass(frozen=True, slots=True)
class BatchResults(Sequence[BatchResult]):
    """The results a job has, in the host's order, which need not be that of the requests.

    Attributes:
        results: one for each `custom_id`.
        missing: the requests that were asked about and have none.
        job: the job, as it was when they were read.
    """

    results: tuple[BatchResult, ...] = ()
    missing: tuple[str, ...] = ()
    job: BatchJob | None = None

    def __len__(self) -> int:
        return len(self.results)

    def __getitem__(self, at: Any) -> Any:
        return self.results[at]

    def by_id(self) -> dict[str, BatchResult]:
        """The results by the `custom_id` of the request."""
        return {result.custom_id: result for result in self.results}


def read_results(
    told: Iterable[Mapping[str, Any]], asked: Mapping[str, Mapping[str, Any]] | None = None, *, now: float | None = None
) -> BatchResults:
    """Read the results of a job.

    A request that two results claim to answer has failed. Errors quote the host only about requests that are known:
    what it says of the others may quote them.

    Args:
        told: the JSON of each result.
        asked: the bodies of the requests, by `custom_id`; results of others are left out. `None`: all are read.
        now: seconds since the epoch, to read dates in retry hints by.
    """
    read: dict[str, BatchResult] = {}
    for result in told:
        custom_id = text_or_none(result.get("custom_id"))
        if custom_id is None or (asked is not None and custom_id not in asked):
            continue
        if custom_id in read:
            twice = failure(reason="malformed", said="two results stand under one custom_id")
            read[custom_id] = BatchResult(custom_id, twice)
            continue
        read[custom_id] = BatchResult(custom_id, _outcome(result, (asked or {}).get(custom_id), now))
    return BatchResults(tuple(read.values()), tuple(custom_id for custom_id in asked or () if custom_id not in read))


def _outcome(
    result: Mapping[str, Any], asked: Mapping[str, Any] | None, now: float | None
) -> Completion | ProviderError:
    try:
        return _completion(result, now)
    except ProviderError as error:
        if asked is not None:
            return withholding(error, asked, ())
        return failure(
            reason=error.reason, status=error.status, retryable=error.retryable, generation_id=error.generation_id
        )


def _completion(result: Mapping[str, Any], now: float | None) -> Completion:
    response = as_dict(result.get("response"))
    status, body = _status_of(response), response.get("body")
    if error := result.get("error"):
        raise failure_from_error(error, status=None if status in _SUCCESS else status, now=now)
    if not response:
        raise failure(reason="malformed", said="a result has neither a response nor an error")
    written = body.encode("utf-8", "replace") if isinstance(body, str) else json.dumps(body).encode()
    if status is not None and status not in _SUCCESS:
        raise failure_from_response(status, {}, written, now=now)
    return read_completion(written, now=now)


def _status_of(response: Mapping[str, Any]) -> int | None:
    status = response.get("status_code")
    return status if isinstance(status, int) and not isinstance(status, bool) else None
