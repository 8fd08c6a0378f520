"""A fake of OpenRouter's Batch API, before the fake host that answers what stands in the jobs.

All of its behaviour is what OpenRouter's guide, reference and SDK say, and is marked where they leave it open: nobody
here has seen the real one at work.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx

from .answers import Answer, html_answer, json_answer, mock_response
from .batch_rules import submission_problems
from .error_bodies import refused
from .provider import BASE_URL, FakeProvider

GUARD = "meta-llama/llama-guard-4-12b"
SCOUT = "meta-llama/llama-4-scout"
BETA, V1 = "/api/beta/batches", "/api/v1/batches"

End = Literal["completed", "failed", "expired", "cancelled"]
Submission = Literal["taken", "not taken", "refused connection"]
_OVER = {"completed", "failed", "expired", "cancelled"}


@dataclass
class FakeJob:
    """A job as the fake host has it.

    Attributes:
        id: its id.
        body: the JSON it was submitted as.
        created_at: seconds since the epoch.
        states: the states that it is yet to be seen in, one a look; the last stays.
        results: what has come of its requests.
    """

    id: str
    body: dict[str, Any]
    created_at: float
    states: list[str]
    results: list[dict[str, Any]] = field(default_factory=list)

    @property
    def custom_ids(self) -> list[str]:
        """The ids of its requests."""
        return [request["custom_id"] for request in self.body["requests"]]


class FakeBatches:
    """A host with a Batch API.

    Args:
        provider: what answers the requests of the jobs; one of its own if left out.
        at: the path it is at; under any other there is a page that says so.
        offered: the models that are listed for batches. OpenRouter's list had none of Meta's in August 2026.
        looks: how many looks a job takes to be over.
        ends: how jobs end, one after the other, the last of them for all that follow.
        lost: the `custom_id`s, or ends of them, that have no result.
        errors: likewise those that have an error in the place of a response, and the error.
        statuses: likewise those that were answered with an HTTP status that says failure.
        is_backwards: whether results come in another order than requests.
        page_size: results to a page of an endpoint of their own; `None`: they stand in the job.
        counts_at_once: whether a job says at once how many requests it has. The documentation does not say.
        can_cancel: whether jobs can be cancelled as at OpenAI. OpenRouter documents no way.

    Attributes:
        jobs: what was taken, by id.
        submissions: what becomes of the next submissions: they are taken and the answer is lost, they are lost, or
            nobody is there.
        calls: the method and path of every request that came.
        looks_to_fail: the statuses with which the next look-ups fail.
    """

    def __init__(
        self,
        provider: FakeProvider | None = None,
        *,
        at: str = BETA,
        offered: Iterable[str] = (GUARD, SCOUT),
        looks: int = 2,
        ends: Sequence[End] = ("completed",),
        lost: Iterable[str] = (),
        errors: dict[str, dict[str, Any]] | None = None,
        statuses: dict[str, int] | None = None,
        is_backwards: bool = False,
        page_size: int | None = None,
        counts_at_once: bool = True,
        can_cancel: bool = False,
    ) -> None:
        self.provider = provider or FakeProvider()
        self.jobs: dict[str, FakeJob] = {}
        self.submissions: list[Submission] = []
        self.calls: list[tuple[str, str]] = []
        self.looks_to_fail: list[int] = []
        self._at, self._offered, self._looks = at, [f"{model}:batch" for model in offered], looks
        self._ends = list(ends)
        self._lost, self._errors, self._statuses = tuple(lost), errors or {}, statuses or {}
        self._is_backwards, self._page_size = is_backwards, page_size
        self._counts_at_once, self._can_cancel = counts_at_once, can_cancel
        self._numbers = itertools.count(1)

    @property
    def violations(self) -> list[str]:
        """Every rule of the API that a request broke."""
        return self.provider.violations

    def client(self) -> httpx.Client:
        """Open a client that reaches this host without a socket."""
        return httpx.Client(transport=httpx.MockTransport(self.handle))

    def async_client(self) -> httpx.AsyncClient:
        """Open an async client that reaches this host without a socket."""
        return httpx.AsyncClient(transport=httpx.MockTransport(self.handle))

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Answer a request without a socket."""
        self.calls.append((request.method, request.url.path))
        return mock_response(self.answer(request), request, lambda: None)

    def answer(self, request: httpx.Request) -> Answer:
        """Decide what comes back."""
        path = request.url.path
        if path == "/api/v1/models":
            return json_answer({"data": [{"id": model} for model in [GUARD, SCOUT, *self._offered]]}, status=200)
        if path == "/api/v1/chat/completions":
            return self.provider.answer(request)
        if not path.startswith(self._at):
            return html_answer(404, "Not Found")
        if not request.headers.get("authorization", "").startswith("Bearer "):
            return refused(401, "Missing Authentication header")
        if self.looks_to_fail and request.method == "GET":
            return refused(self.looks_to_fail.pop(0), "Upstream is unwell")
        return self._of_batches(request, path.removeprefix(self._at).strip("/"))

    def _of_batches(self, request: httpx.Request, rest: str) -> Answer:
        job_id, _, what = rest.partition("/")
        if job_id:
            return self._about(job_id, request.method, what, request.url.params)
        return self._submitted(request) if request.method == "POST" else self._listed(request.url.params)

    def finish(self, job_id: str, end: End) -> None:
        """Let a job be over, whatever it was."""
        self.jobs[job_id].states = [end]

    def _submitted(self, request: httpx.Request) -> Answer:
        fate = self.submissions.pop(0) if self.submissions else None
        if fate == "refused connection":
            msg = "Connection refused"
            raise httpx.ConnectError(msg, request=request)
        problems = submission_problems(request.content, self._offered)
        if problems:
            self.violations.extend(problems)
            return refused(400, problems[0])
        if fate == "not taken":
            return Answer(reach="nothing", then="stall")
        body, number = json.loads(request.content), next(self._numbers)
        end = self._ends.pop(0) if len(self._ends) > 1 else self._ends[0]
        states = ["in_progress"] * (self._looks - 1) + ["finalizing"] * bool(self._looks) + [end]
        job = FakeJob(f"batch_{number:04}", body, time.time(), states)
        job.results = self._answered(job, request)
        self.jobs[job.id] = job
        if fate == "taken":
            return Answer(reach="nothing", then="stall")
        return json_answer(self._told(job, "validating"), status=202)

    def _answered(self, job: FakeJob, request: httpx.Request) -> list[dict[str, Any]]:
        results = []
        for number, each in enumerate(job.body["requests"]):
            custom_id = each["custom_id"]
            asked = httpx.Request(
                "POST", f"{BASE_URL}/chat/completions", headers=dict(request.headers), json=each["body"]
            )
            asked.headers["authorization"] = request.headers["authorization"]
            answer = self.provider.answer(asked)
            status = _of(self._statuses, custom_id) or answer.status
            said = json.loads(answer.body) if status == answer.status else {"error": {"message": "no", "code": status}}
            result = {
                "id": f"batch_req_{number}",
                "custom_id": custom_id,
                "response": {"status_code": status, "request_id": f"req-{number}", "body": said},
                "error": None,
            }
            if error := _of(self._errors, custom_id):
                result |= {"response": None, "error": error}
            if not custom_id.endswith(self._lost):
                results.append(result)
        return results[::-1] if self._is_backwards else results

    def _about(self, job_id: str, method: str, what: str, params: httpx.QueryParams) -> Answer:
        job = self.jobs.get(job_id)
        if job is None:
            return refused(404, f"No batch found with id {job_id}")
        if method == "DELETE":
            if job.states[0] not in _OVER:
                return refused(409, "The batch is still in progress")
            del self.jobs[job_id]
            return json_answer({"id": job_id, "object": "batch", "deletion": {"openrouter": "deleted"}}, status=200)
        if what == "cancel":
            return self._cancelled(job)
        if what == "results":
            return self._page_of_results(job, params)
        state = job.states.pop(0) if len(job.states) > 1 else job.states[0]
        return json_answer(self._told(job, state, with_results=self._page_size is None), status=200)

    def _cancelled(self, job: FakeJob) -> Answer:
        if not self._can_cancel:
            return html_answer(404, "Not Found")
        job.states = ["cancelling", "cancelled"]
        job.results = job.results[:1]
        return json_answer(self._told(job, "cancelling"), status=200)

    def _page_of_results(self, job: FakeJob, params: httpx.QueryParams) -> Answer:
        if self._page_size is None:
            return html_answer(404, "Not Found")
        begin = int(params.get("cursor", 0))
        end = begin + self._page_size
        following = str(end) if end < len(job.results) else None
        page = {"data": job.results[begin:end], "has_more": following is not None, "next_cursor": following}
        return json_answer({"object": "list", **page}, status=200)

    def _listed(self, params: httpx.QueryParams) -> Answer:
        newest_first = sorted(self.jobs.values(), key=lambda job: (job.created_at, job.id), reverse=True)
        begin = 1 + [job.id for job in newest_first].index(params["after"]) if "after" in params else 0
        shown = newest_first[begin : begin + int(params.get("limit", 20))]
        body = {
            "object": "list",
            "data": [self._told(job, job.states[0]) for job in shown],
            "first_id": shown[0].id if shown else None,
            "last_id": shown[-1].id if shown else None,
            "has_more": begin + len(shown) < len(newest_first),
        }
        return json_answer(body, status=200)

    def _told(self, job: FakeJob, state: str, *, with_results: bool = False) -> dict[str, Any]:
        is_over = state in _OVER
        has_results = state in ("completed", "expired", "cancelled")
        answered = len(job.results) if has_results else 0
        total = len(job.custom_ids) if self._counts_at_once or is_over else 0
        return {
            "id": job.id,
            "object": "batch",
            "endpoint": job.body["endpoint"],
            "model": job.body["model"],
            "status": state,
            "completion_window": "24h",
            "created_at": int(job.created_at),
            "expires_at": int(job.created_at) + 86_400,
            "finalized_at": int(job.created_at) + 60 if is_over else None,
            "request_counts": {"total": total, "completed": answered, "failed": 0},
            "error": {"message": "validation failed"} if state == "failed" else None,
            "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12, "cost": 0.001}
            if is_over
            else None,
            "results": job.results if with_results and has_results else None,
        }


def _of(table: dict[str, Any], custom_id: str) -> Any:
    return next((value for end, value in table.items() if custom_id.endswith(end)), None)
