"""OpenRouter's Batch API as it stands on the wire: jobs and lists of them, read tolerantly.

Sources: OpenRouter's "Batch API Quickstart" and its reference of the API, and the types of its Python SDK, read in
November 2026. No job was ever sent to a real host by this project.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llama_guard_core.provider.failures import error_in, failure, failure_from_error
from llama_guard_core.provider.json_text import parse_json, says_twice
from llama_guard_core.provider.wire import as_dict, dicts_in, label_or_none, text_or_none

OVER = frozenset({"completed", "failed", "expired", "cancelled"})
"""The states in which nothing more comes of a job. A word that is not known is none of them."""

_SAID_ONCE = ("custom_id", "response", "error", "status_code", "body", "choices", "message", "content", "finish_reason")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchJob:
    """A job as the host tells of it. `None` is what it does not say.

    Attributes:
        id: what to ask for it by.
        status: the host's word: `validating`, `in_progress`, `finalizing`, `completed`, `failed`, `expired`,
            `cancelling`, `cancelled`; or one that no documentation lists.
        created_at: seconds since the epoch.
        expires_at: seconds since the epoch, after which what is not done is given up.
        total: requests in it. Hosts may say 0 until they have counted them.
        completed: requests that were answered.
        failed: requests that failed.
        model: the model it is for, as it was submitted.
        endpoint: what its requests are for.
        error: why all of it failed, in the host's words, which may quote a request.
        cost: US dollars for all of it.
    """

    id: str
    status: str
    created_at: float | None = None
    expires_at: float | None = None
    total: int | None = None
    completed: int | None = None
    failed: int | None = None
    model: str | None = None
    endpoint: str | None = None
    error: str | None = field(default=None, repr=False)
    cost: float | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes of it."""
        return self.status in OVER


@dataclass(frozen=True, slots=True)
class JobReply:
    """The body of a reply about one job: the job, and results that stood in it (`None`: none did)."""

    job: BatchJob
    results: tuple[Mapping[str, Any], ...] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list: what is on it, and where the next one begins (`None`: this is the last)."""

    items: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    following: str | None = None


def read_job(body: bytes, *, now: float) -> JobReply:
    """Read the body of a reply about one job.

    Raises:
        ProviderError: if it holds an error, or no job.
    """
    payload = _object_in(body, now)
    found = payload if text_or_none(payload.get("id")) else as_dict(payload.get("data"))
    job = job_of(found)
    if job is None:
        raise failure(reason="malformed", said="it is no batch: it has no id or no status")
    results = found.get("results")
    return JobReply(job, dicts_in(results) if isinstance(results, list) else None)


def read_page(body: bytes, *, now: float) -> Page:
    """Read a page of a list, of jobs or of results.

    Raises:
        ProviderError: if it holds an error, or no list.
    """
    payload = _object_in(body, now)
    if not isinstance(payload.get("data"), list):
        raise failure(reason="malformed", said="it is no list")
    items = dicts_in(payload["data"])
    following = text_or_none(payload.get("next_cursor")) or text_or_none(payload.get("last_id"))
    return Page(items, following if items and payload.get("has_more") is not False else None)


def read_deleted(body: bytes, *, now: float) -> None:
    """Read the reply to a deletion.

    Raises:
        ProviderError: if it holds an error.
    """
    if body.strip():
        _object_in(body, now)


def read_ids(body: bytes, *, now: float) -> frozenset[str]:
    """The ids in a list of models.

    Raises:
        ProviderError: if it holds an error, or no list.
    """
    return frozenset(filter(None, (text_or_none(item.get("id")) for item in read_page(body, now=now).items)))


def job_of(told: Mapping[str, Any]) -> BatchJob | None:
    """The job in the JSON of one; `None` if it is none."""
    job_id, status = label_or_none(told.get("id")), label_or_none(told.get("status"))
    if job_id is None or status is None:
        return None
    counts, error = as_dict(told.get("request_counts")), told.get("error")
    return BatchJob(
        id=job_id,
        status=status,
        created_at=_number(told.get("created_at")),
        expires_at=_number(told.get("expires_at")),
        total=_count(counts.get("total")),
        completed=_count(counts.get("completed")),
        failed=_count(counts.get("failed")),
        model=label_or_none(told.get("model")),
        endpoint=label_or_none(told.get("endpoint")),
        error=str(failure_from_error(error)) if error else None,
        cost=_number(as_dict(told.get("usage")).get("cost")),
    )


def _object_in(body: bytes, now: float) -> dict[str, Any]:
    """The JSON object of a 2xx reply. A job has an `error` of its own, `null` while all is well."""
    stripped = body.strip()
    try:
        payload = parse_json(stripped)
    except ValueError:
        payload = None
    if not isinstance(payload, dict):
        raise failure(reason="malformed" if stripped else "empty", said="it is no JSON object" if stripped else "")
    if says_twice(stripped, _SAID_ONCE):
        raise failure(reason="malformed", said="it says the same field twice")
    if "status" not in payload and (error := error_in(payload)):
        raise failure_from_error(error, now=now)
    return payload


def _number(value: object) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value < 2**53 else None  # type: ignore[arg-type, operator]


def _count(value: object) -> int | None:
    number = _number(value)
    return None if number is None else int(number)
