"""The sync and the async client of a Batch API: many requests as one job, done within a day at about half the price."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar, cast

from typing_extensions import Self

from llama_guard_core.errors import ProviderError
from llama_guard_core.provider.batch_flows import Ask, BatchFlows, Flow, Pause
from llama_guard_core.provider.batch_jobs import BatchJob
from llama_guard_core.provider.batch_requests import BatchRequest, OnlyWhatWasNotTaken
from llama_guard_core.provider.batch_results import BatchResults
from llama_guard_core.provider.client import AsyncChatClient, ChatClient
from llama_guard_core.provider.connection import Connection
from llama_guard_core.provider.deadlines import asleep, sleep
from llama_guard_core.provider.hosts import Host

C = TypeVar("C", ChatClient, AsyncChatClient)
T = TypeVar("T")

_TIMEOUT = 600.0  # a job of thousands of requests is one upload, and its results are one download


class _Clients(Generic[C]):
    """What both colours share: a client for looking, and one that repeats no submission blindly."""

    def __init__(self, kind: type[C], connection: Connection | None, http_client: Any, timeout: float | None) -> None:
        given = connection or Connection()
        host = replace(given.host, timeout=None)  # what it says of the time for one small call says nothing here
        patient = replace(given, host=host, timeout=timeout)
        self._flows = BatchFlows(host)
        self._looking: C = kind(patient, http_client=http_client)
        policy = OnlyWhatWasNotTaken(max_retries=patient.max_retries)
        self._submitting: C = kind(patient, http_client=http_client, retry_policy=policy)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.host.name!r})"

    @property
    def host(self) -> Host:
        """Whose Batch API it is."""
        return self._flows._host  # noqa: SLF001 - one of us

    def listed(self, model: str) -> str:
        """The id under which the host lists a model for batches: at OpenRouter the model's own, with `:batch`."""
        return self._flows.listed(model)

    def _client(self, asked: Ask) -> C:
        return self._submitting if asked.submits else self._looking


class BatchClient(_Clients[ChatClient]):
    """Submits jobs of many requests to OpenRouter's Batch API, and fetches what came of them.

    A job is done within a day, at about half the price, for text alone and for models that the host lists for batches;
    in August 2026 none of Meta's was. What was submitted is paid for, whoever fetches it. Written from documentation,
    and tried against a fake of it, never against a real host.

    Args:
        connection: where and as whom; OpenRouter, with the key from `OPENROUTER_API_KEY`, if left out. Its timeouts are
            for small calls, and not used.
        http_client: an `httpx.Client` of yours. You close it.
        timeout: seconds for one call: a job goes up in one piece, and its results come down in one.

    Raises:
        ConfigurationError: if no Batch API is known of at that host.

    Example:
        ```python
        from llama_guard_core.provider.batch_client import BatchClient
        from llama_guard_core.provider.batch_requests import BatchRequest

        with BatchClient() as batches:
            question = {"messages": [{"role": "user", "content": "Name a river."}], "max_tokens": 64}
            job = batches.submit([BatchRequest("first", question)], model="openai/gpt-4o-mini")
            batches.wait(job.id)
            print(batches.results(job.id)[0].completion.text)
        ```
    """

    def __init__(
        self, connection: Connection | None = None, *, http_client: Any = None, timeout: float | None = _TIMEOUT
    ) -> None:
        super().__init__(ChatClient, connection, http_client, timeout)

    def is_offered(self, model: str) -> bool:
        """Whether the host lists a model for batches.

        Raises:
            ProviderError: if it cannot be asked.
        """
        return self._carried_out(self._flows.is_offered(model))

    def require_offered(self, model: str) -> None:
        """See to it that the host lists a model for batches.

        Raises:
            ConfigurationError: if it does not.
            ProviderError: if it cannot be asked.
        """
        self._carried_out(self._flows.require_offered(model))

    def submit(self, requests: Sequence[BatchRequest], *, model: str) -> BatchJob:
        """Submit a job.

        It is not sent twice after a failure that may have come too late, such as a timeout: the host may have taken it.
        `may_have_been_taken` tells such a failure, and `jobs` what the host has.

        Args:
            requests: the bodies of chat completions, each with a `custom_id` of its own.
            model: the model for all of them, by its ordinary id.

        Raises:
            ConfigurationError: if the host would not take this: another than text, one `custom_id` twice.
            ProviderError: if it failed or was refused. It quotes nothing of the requests.
        """
        return self._carried_out(self._flows.submit(requests, model))

    def job(self, job_id: str) -> BatchJob:
        """Look at a job.

        Raises:
            RequestRejected: with the reason `not_found`, if there is none of that id; they are kept for 30 days.
            ProviderError: if the host cannot be asked.
        """
        return self._carried_out(self._flows.job(job_id))

    def wait(
        self, job_id: str, *, until: float | None = None, first_pause: float = 5.0, longest_pause: float = 60.0
    ) -> BatchJob:
        """Look at a job until it is over. Looks that fail in passing are repeated.

        Args:
            job_id: the job's id.
            until: when to stop looking, by the monotonic clock; the job goes on. `None`: not before it is over.
            first_pause: seconds between the first two looks; each further pause is half as long again.
            longest_pause: seconds no pause exceeds.

        Returns:
            The job as it was seen last: ask it whether it `is_over`.

        Raises:
            ProviderError: if there is no such job, or the host cannot be asked for long.
        """
        flow = self._flows.wait(job_id, until=until, first_pause=first_pause, longest_pause=longest_pause)
        return self._carried_out(flow)

    def jobs(self, *, since: float | None = None, most: int = 1000) -> list[BatchJob]:
        """The jobs of the key's workspace, the newest first, without their results.

        Args:
            since: seconds since the epoch; older ones are left out.
            most: how many at most.
        """
        return self._carried_out(self._flows.jobs(since=since, most=most))

    def results(self, job_id: str, *, asked: Mapping[str, Mapping[str, Any]] | None = None) -> BatchResults:
        """What came of each request of a job, as far as the host has it.

        Args:
            job_id: the job's id.
            asked: the bodies of its requests by `custom_id`: then `missing` names those without a result, and errors
                say what the host said of them.

        Raises:
            ProviderError: if they cannot be had. One request that failed is a result.
        """
        return self._carried_out(self._flows.results(job_id, asked))

    def cancel(self, job_id: str) -> BatchJob:
        """Have the rest of a job not be done, the way OpenAI's API has it; OpenRouter documents none.

        Raises:
            RequestRejected: with the reason `not_found`, if the host knows no such job or no such thing.
        """
        return self._carried_out(self._flows.cancel(job_id))

    def delete(self, job_id: str) -> None:
        """Delete a job that is over, with its requests and results.

        Raises:
            RequestRejected: if it is not over (409), or there is none.
        """
        self._carried_out(self._flows.delete(job_id))

    def close(self) -> None:
        """Close the connections. A later call opens new ones."""
        self._looking.close()
        self._submitting.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _carried_out(self, flow: Flow[T]) -> T:
        step: Callable[[Any], Ask | Pause] = flow.send
        reply: Any = None
        while True:
            try:
                asked = step(reply)
            except StopIteration as returned:
                return cast("T", returned.value)
            reply, step = None, flow.send
            if isinstance(asked, Pause):
                sleep(asked.seconds)
                continue
            try:
                reply = self._client(asked).call(asked.endpoint, asked.request)
            except ProviderError as error:
                reply, step = error, flow.throw


class AsyncBatchClient(_Clients[AsyncChatClient]):
    """Submits jobs of many requests to OpenRouter's Batch API, asynchronously; see `BatchClient`.

    Args:
        connection: where and as whom; OpenRouter, with the key from `OPENROUTER_API_KEY`, if left out.
        http_client: an `httpx.AsyncClient` of yours. You close it.
        timeout: seconds for one call.

    Raises:
        ConfigurationError: if no Batch API is known of at that host.
    """

    def __init__(
        self, connection: Connection | None = None, *, http_client: Any = None, timeout: float | None = _TIMEOUT
    ) -> None:
        super().__init__(AsyncChatClient, connection, http_client, timeout)

    async def is_offered(self, model: str) -> bool:
        """Whether the host lists a model for batches; see `BatchClient.is_offered`."""
        return await self._carried_out(self._flows.is_offered(model))

    async def require_offered(self, model: str) -> None:
        """See to it that the host lists a model for batches; see `BatchClient.require_offered`."""
        await self._carried_out(self._flows.require_offered(model))

    async def submit(self, requests: Sequence[BatchRequest], *, model: str) -> BatchJob:
        """Submit a job; see `BatchClient.submit`."""
        return await self._carried_out(self._flows.submit(requests, model))

    async def job(self, job_id: str) -> BatchJob:
        """Look at a job; see `BatchClient.job`."""
        return await self._carried_out(self._flows.job(job_id))

    async def wait(
        self, job_id: str, *, until: float | None = None, first_pause: float = 5.0, longest_pause: float = 60.0
    ) -> BatchJob:
        """Look at a job until it is over; see `BatchClient.wait`."""
        flow = self._flows.wait(job_id, until=until, first_pause=first_pause, longest_pause=longest_pause)
        return await self._carried_out(flow)

    async def jobs(self, *, since: float | None = None, most: int = 1000) -> list[BatchJob]:
        """The jobs of the key's workspace; see `BatchClient.jobs`."""
        return await self._carried_out(self._flows.jobs(since=since, most=most))

    async def results(self, job_id: str, *, asked: Mapping[str, Mapping[str, Any]] | None = None) -> BatchResults:
        """What came of each request of a job; see `BatchClient.results`."""
        return await self._carried_out(self._flows.results(job_id, asked))

    async def cancel(self, job_id: str) -> BatchJob:
        """Have the rest of a job not be done; see `BatchClient.cancel`."""
        return await self._carried_out(self._flows.cancel(job_id))

    async def delete(self, job_id: str) -> None:
        """Delete a job that is over; see `BatchClient.delete`."""
        await self._carried_out(self._flows.delete(job_id))

    async def aclose(self) -> None:
        """Close the connections of the running event loop. A later call opens new ones."""
        await self._looking.aclose()
        await self._submitting.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _carried_out(self, flow: Flow[T]) -> T:
        step: Callable[[Any], Ask | Pause] = flow.send
        reply: Any = None
        while True:
            try:
                asked = step(reply)
            except StopIteration as returned:
                return cast("T", returned.value)
            reply, step = None, flow.send
            if isinstance(asked, Pause):
                await asleep(asked.seconds)
                continue
            try:
                reply = await self._client(asked).call(asked.endpoint, asked.request)
            except ProviderError as error:
                reply, step = error, flow.throw
