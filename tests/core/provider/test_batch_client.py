"""The clients of a Batch API against a fake of what its documentation says; sync and async do the same."""

from __future__ import annotations

import inspect
from dataclasses import replace
from time import monotonic
from typing import Any

import httpx
import pytest
from fake_provider import FakeProvider
from fake_provider.batches import BETA, GUARD, SCOUT, V1, FakeBatches

from llama_guard_core.errors import ConfigurationError, ProviderError, ProviderUnavailable, RequestRejected
from llama_guard_core.provider.batch_client import AsyncBatchClient, BatchClient
from llama_guard_core.provider.batch_requests import BatchRequest, may_have_been_taken
from llama_guard_core.provider.connection import Connection
from llama_guard_core.provider.hosts import OPENROUTER
from llama_guard_core.provider.known_hosts import VLLM

SOON: dict[str, Any] = {"first_pause": 0.0, "longest_pause": 0.0}


def request(custom_id: str, text: str = "Name a river.") -> BatchRequest:
    return BatchRequest(custom_id, {"model": SCOUT, "messages": [{"role": "user", "content": text}], "max_tokens": 64})


TWO = [request("a"), request("b", "Name a wondrous walnut tree.")]


class Colour:
    """The sync or the async client, so that a test can be written once for both."""

    def __init__(self, colour: str) -> None:
        self._is_sync = colour == "sync"

    def client(self, batches: FakeBatches, **settings: Any) -> Any:
        host = replace(OPENROUTER, max_retries=settings.pop("max_retries", 0))
        connection = Connection(host=host, api_key="sk-or-v1-0123456789", **settings)
        if self._is_sync:
            return BatchClient(connection, http_client=batches.client())
        return AsyncBatchClient(connection, http_client=batches.async_client())


async def done(made: Any) -> Any:
    return await made if inspect.isawaitable(made) else made


@pytest.fixture(params=["sync", "async"])
def colour(request: pytest.FixtureRequest) -> Colour:
    return Colour(request.param)


async def test_a_job_is_submitted_waited_for_and_its_results_are_read(colour):
    batches = FakeBatches(FakeProvider(chat=["The Aare.", "That one."]), looks=3)
    client = colour.client(batches)
    job = await done(client.submit(TWO, model=SCOUT))
    assert ("validating", False, 2) == (job.status, job.is_over, job.total)
    over = await done(client.wait(job.id, **SOON))
    assert ("completed", True) == (over.status, over.is_over)
    results = await done(client.results(job.id, asked={each.custom_id: each.body for each in TWO}))
    assert {"a": "The Aare.", "b": "That one."} == {each.custom_id: each.completion.text for each in results}
    assert results.by_id()["a"].completion.usage.output_tokens > 0
    assert () == results.missing
    assert [] == batches.violations


async def test_the_job_names_the_model_as_it_is_listed_and_each_request_the_same(colour):
    batches = FakeBatches()
    job = await done(colour.client(batches).submit(TWO, model=f"{SCOUT}:nitro"))
    body = batches.jobs[job.id].body
    assert f"{SCOUT}:batch" == body["model"]
    assert {body["model"]} == {each["body"]["model"] for each in body["requests"]}
    assert ["endpoint", "model", "requests"] == list(body)


async def test_results_are_joined_by_id_whatever_their_order_and_lost_ones_are_reported(colour):
    batches = FakeBatches(FakeProvider(chat=["one", "two", "three"]), is_backwards=True, lost=["b"])
    client = colour.client(batches)
    asked = [request("a"), request("b"), request("c")]
    job = await done(client.submit(asked, model=SCOUT))
    await done(client.wait(job.id, **SOON))
    results = await done(client.results(job.id, asked={each.custom_id: each.body for each in asked}))
    assert ["c", "a"] == [each.custom_id for each in results]
    assert "three" == results[0].completion.text
    assert ("b",) == results.missing


async def test_results_on_pages_of_their_own_are_read_too(colour):
    batches = FakeBatches(page_size=2)
    client = colour.client(batches)
    job = await done(client.submit([request(str(number)) for number in range(5)], model=SCOUT))
    await done(client.wait(job.id, **SOON))
    assert ["0", "1", "2", "3", "4"] == [each.custom_id for each in await done(client.results(job.id))]


async def test_a_job_that_is_not_over_has_no_results_yet(colour):
    client = colour.client(FakeBatches(looks=9))
    job = await done(client.submit(TWO, model=SCOUT))
    results = await done(client.results(job.id, asked={"a": {}, "b": {}}))
    assert (0, ("a", "b")) == (len(results), results.missing)


@pytest.mark.parametrize("path", [BETA, V1])
async def test_the_api_is_found_under_either_path_and_asked_there_from_then_on(colour, path):
    batches = FakeBatches(at=path)
    client = colour.client(batches)
    job = await done(client.submit(TWO, model=SCOUT))
    await done(client.wait(job.id, **SOON))
    tried = [BETA] if path == BETA else [BETA, V1]
    assert tried == [at for method, at in batches.calls if method == "POST"]
    assert {f"{path}/{job.id}"} == {at for method, at in batches.calls if method == "GET"}


async def test_where_neither_path_is_there_it_says_so(colour):
    with pytest.raises(RequestRejected) as caught:
        await done(colour.client(FakeBatches(at="/elsewhere")).submit(TWO, model=SCOUT))
    assert "not_found" == caught.value.reason


async def test_jobs_are_listed_page_by_page_newest_first_and_back_to_a_time(colour):
    batches = FakeBatches()
    client = colour.client(batches)
    for number in range(130):
        job = await done(client.submit([request("a")], model=SCOUT))
        batches.jobs[job.id].created_at = 1000.0 + number
    listed = await done(client.jobs())
    assert 130 == len({job.id for job in listed})
    assert (1129.0, 1000.0) == (listed[0].created_at, listed[-1].created_at)
    assert 5 == len(await done(client.jobs(since=1125.0)))
    assert 7 == len(await done(client.jobs(most=7)))


async def test_a_running_job_cannot_be_deleted_and_one_that_is_over_can(colour):
    batches = FakeBatches(looks=1)
    client = colour.client(batches)
    job = await done(client.submit(TWO, model=SCOUT))
    with pytest.raises(RequestRejected) as caught:
        await done(client.delete(job.id))
    assert 409 == caught.value.status
    await done(client.wait(job.id, **SOON))
    await done(client.delete(job.id))
    assert {} == batches.jobs
    with pytest.raises(RequestRejected, match="No batch found"):
        await done(client.job(job.id))


async def test_cancelling_works_where_a_host_can_and_says_so_where_it_cannot(colour):
    client = colour.client(FakeBatches(can_cancel=True))
    job = await done(client.submit(TWO, model=SCOUT))
    assert "cancelling" == (await done(client.cancel(job.id))).status
    assert "cancelled" == (await done(client.wait(job.id, **SOON))).status
    assert ("b",) == (await done(client.results(job.id, asked={"a": {}, "b": {}}))).missing
    client = colour.client(FakeBatches())
    job = await done(client.submit(TWO, model=SCOUT))
    with pytest.raises(RequestRejected, match="documents no way to cancel"):
        await done(client.cancel(job.id))


async def test_waiting_ends_at_its_time_with_the_job_as_it_was_seen_last(colour):
    batches = FakeBatches(looks=5)
    client = colour.client(batches)
    job = await done(client.submit(TWO, model=SCOUT))
    seen = await done(client.wait(job.id, until=monotonic() - 1))
    assert ("in_progress", False) == (seen.status, seen.is_over)
    assert 1 == sum(method == "GET" for method, _ in batches.calls)


async def test_a_word_that_is_not_known_is_waited_through(colour):
    batches = FakeBatches()
    client = colour.client(batches)
    job = await done(client.submit(TWO, model=SCOUT))
    batches.jobs[job.id].states = ["pondering", "pondering", "completed"]
    assert "pondering" == (await done(client.job(job.id))).status
    assert "completed" == (await done(client.wait(job.id, **SOON))).status


async def test_looks_that_fail_in_passing_do_not_end_the_waiting_and_many_in_a_row_do(colour):
    batches = FakeBatches()
    client = colour.client(batches)
    job = await done(client.submit(TWO, model=SCOUT))
    batches.looks_to_fail = [503, 502, 429]
    assert "completed" == (await done(client.wait(job.id, **SOON))).status
    batches.finish(job.id, "completed")
    batches.looks_to_fail = [503] * 10
    with pytest.raises(ProviderUnavailable):
        await done(client.wait(job.id, **SOON))


async def test_a_job_that_is_not_there_is_not_waited_for(colour):
    with pytest.raises(RequestRejected, match="No batch found"):
        await done(colour.client(FakeBatches()).wait("batch_of_nobody", **SOON))


async def test_a_submission_whose_answer_is_lost_is_sent_once_and_told_as_doubtful(colour):
    batches = FakeBatches()
    batches.submissions = ["taken"]
    with pytest.raises(ProviderUnavailable) as caught:
        await done(colour.client(batches, max_retries=3).submit(TWO, model=SCOUT))
    assert may_have_been_taken(caught.value)
    assert 1 == len(batches.jobs)


async def test_a_submission_that_reached_nobody_is_repeated(colour, monkeypatch):
    monkeypatch.setattr("llama_guard_core.provider.calls.random.random", lambda: -1.0)  # no wait
    batches = FakeBatches()
    batches.submissions = ["refused connection", "refused connection"]
    await done(colour.client(batches, max_retries=2).submit(TWO, model=SCOUT))
    assert 1 == len(batches.jobs)


@pytest.mark.parametrize(
    ("status", "doubtful"), [(429, False), (400, False), (404, False), (408, True), (500, True), (503, True)]
)
async def test_which_refusals_leave_a_submission_in_doubt(colour, status, doubtful):
    class Refusing(FakeBatches):
        def handle(self, request: httpx.Request) -> httpx.Response:
            self.calls.append((request.method, request.url.path))
            return httpx.Response(status, json={"error": {"message": "no", "code": status}})

    batches = Refusing()
    with pytest.raises(ProviderError) as caught:
        await done(colour.client(batches).submit(TWO, model=SCOUT))
    assert doubtful == may_have_been_taken(caught.value)
    assert len(batches.calls) == (2 if status == 404 else 1)


async def test_no_error_quotes_what_stands_in_a_job(colour):
    class Quoting(FakeBatches):
        def handle(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(
                400, json={"error": {"message": "bad: Name a wondrous walnut tree. sk-or-v1-0123456789"}}
            )

    with pytest.raises(RequestRejected) as caught:
        await done(colour.client(Quoting()).submit(TWO, model=SCOUT))
    said = f"{caught.value!r}{vars(caught.value)}"
    assert "walnut" not in said
    assert "0123456789" not in said
    assert "walnut" not in repr(TWO)


async def test_what_is_offered_in_batch_is_told_from_the_list_of_models(colour):
    client = colour.client(FakeBatches(offered=[SCOUT]))
    assert await done(client.is_offered(SCOUT))
    assert not await done(client.is_offered(GUARD))
    await done(client.require_offered(SCOUT))
    with pytest.raises(ConfigurationError, match=f"{GUARD} is not offered in batch at OpenRouter .*{GUARD}:batch"):
        await done(client.require_offered(GUARD))


def test_a_host_without_a_batch_api_says_so():
    with pytest.raises(ConfigurationError, match="vLLM has no Batch API"):
        BatchClient(Connection(host=VLLM))


def test_a_time_for_small_calls_is_not_that_of_a_job():
    client = BatchClient(Connection(host=replace(OPENROUTER, timeout=1.0), timeout=2.0), timeout=900.0)
    assert {900.0} == {each._connection.timeout for each in (client._looking, client._submitting)}
