"""One row on its way through a batch: what it asks, under which ids, and what came of it. Nothing here asks a host."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

from llama_guard_core.asking import Asking
from llama_guard_core.errors import FailureReason, GuardUnavailable, ProviderError
from llama_guard_core.guard_host import GuardRequest
from llama_guard_core.guardrail.verdict import Stage, Verdict, worst_of
from llama_guard_core.provider.batch_requests import BatchRequest, why_not_in_a_batch
from llama_guard_core.provider.batch_results import BatchResult
from llama_guard_core.provider.calls import serialised
from llama_guard_core.provider.endpoints import CHAT
from llama_guard_core.provider.failures import failure

if TYPE_CHECKING:
    from llama_guard_core.classifier import LlamaGuard
    from llama_guard_core.guardrail.screening import Check

_AROUND_A_BODY = 64  # bytes of a job beside the body of a request: its id, braces and names

# What becomes of requests without a result, by the state in which their job is over.
_NOT_ANSWERED: Mapping[str, FailureReason] = {"expired": "timeout", "completed": "empty"}


class NotJudgedInBatch(GuardUnavailable):
    """No batch gave a verdict on this row; asked the ordinary way (`guard.ajudge`), the guard may.

    The reason is `not_judgeable` for what batches do not take, such as images; otherwise why the request or its job
    failed.
    """


@dataclass(frozen=True)
class BatchRow:
    """What one row asks of one host.

    Attributes:
        row: its place.
        stage: what is judged.
        asking: the question.
        at: which of the guard's hosts is asked.
        base_url: where that is.
        requests: what is sent: several for a long text.
    """

    row: int
    stage: Stage
    asking: Asking = field(repr=False)
    at: int
    base_url: str
    requests: Sequence[GuardRequest] = field(repr=False)

    @cached_property
    def digest(self) -> int:
        """64 bits that tell what is asked from other questions, and from the same at another host."""
        asked = json.dumps([self.base_url, [request.body for request in self.requests]], sort_keys=True, default=str)
        return int.from_bytes(hashlib.sha256(asked.encode("utf-8", "surrogatepass")).digest()[:8], "big")

    @cached_property
    def size(self) -> int:
        """About how many bytes of a job it takes."""
        return sum(len(serialised(request.body)) + _AROUND_A_BODY for request in self.requests)

    def ids(self, run: str) -> list[str]:
        """The `custom_id` of each request: no other run, row or part has it."""
        return [f"{run}-{self.row}-{part}" for part in range(len(self.requests))]

    def batch_requests(self, run: str) -> list[BatchRequest]:
        """Its requests as a job has them."""
        return [BatchRequest(name, each.body) for name, each in zip(self.ids(run), self.requests, strict=True)]

    def outcome(self, run: str, results: Mapping[str, BatchResult], job_status: str) -> Verdict | GuardUnavailable:
        """What came of it: a verdict on all of it, or none.

        Args:
            run: the run's id.
            results: those of its job, by `custom_id`.
            job_status: the state in which that is over.
        """
        answers = [self._answer(request, results.get(name), job_status) for name, request in self._named(run)]
        try:
            # No latency: how long a job lay at the host says nothing of the guard.
            return replace(worst_of(answers), stage=self.stage, latency=None)
        except ProviderError as error:
            return self.failed(error)
        except GuardUnavailable as error:
            return error

    def failed(self, error: ProviderError) -> NotJudgedInBatch:
        """No verdict, because the request or its job failed."""
        msg = f"no verdict on the {self.stage.value.replace('_', ' ')} in a batch: {error}"
        told = NotJudgedInBatch(msg, reason=error.reason, stage=self.stage)
        told.__cause__ = error
        return told

    def _named(self, run: str) -> list[tuple[str, GuardRequest]]:
        return list(zip(self.ids(run), self.requests, strict=True))

    def _answer(self, request: GuardRequest, result: BatchResult | None, job_status: str) -> Verdict | Exception:
        if result is None:
            reason = _NOT_ANSWERED.get(job_status, "server")
            return failure(reason=reason, said=f"the batch is over ({job_status}) without a result for it")
        if isinstance(result.outcome, ProviderError):
            return result.outcome
        return self.asking.verdict_on(self.at, request, result.outcome)


def batch_row(guard: LlamaGuard, at: int, row: int, check: Check) -> BatchRow:
    """What a row asks of one of the guard's hosts.

    Raises:
        GuardUnavailable: if it cannot be judged at all.
        NotJudgedInBatch: if it cannot be judged in a batch.
    """
    asking, host = guard.asking(check), guard._hosts[at]  # noqa: SLF001 - one of us
    try:
        among = dict(islice(asking.candidates(), len(guard._hosts)))  # noqa: SLF001 - as above
    except ProviderError as error:
        raise NotJudgedInBatch(str(error), reason=error.reason, stage=check.stage) from error
    requests = among.get(at, ())
    if problem := _why_not(requests):
        msg = f"{problem}: this one is asked the ordinary way"
        raise NotJudgedInBatch(msg, reason="not_judgeable", stage=check.stage)
    return BatchRow(row, check.stage, asking, at, host.host.base_url, requests)


def _why_not(requests: Sequence[GuardRequest]) -> str | None:
    if not requests:
        return "the host with the Batch API cannot be shown this"
    if any(request.endpoint is not CHAT for request in requests):
        return "batches take chats, and this host is asked at another endpoint"
    return next((problem for each in requests if (problem := why_not_in_a_batch(each.body))), None)
