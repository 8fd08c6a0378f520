"""What stands on the wire of a Batch API, read tolerantly; and what is not submitted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llama_guard_core.errors import (
    ConfigurationError,
    ProviderUnavailable,
    RateLimited,
    RequestRejected,
    UnexpectedResponse,
)
from llama_guard_core.provider.batch_flows import pauses
from llama_guard_core.provider.batch_jobs import OVER, job_of, read_deleted, read_ids, read_job, read_page
from llama_guard_core.provider.batch_requests import BatchRequest, job_body
from llama_guard_core.provider.batch_results import read_results

JOB = {
    "id": "batch_1",
    "status": "completed",
    "created_at": 1764244800,
    "expires_at": None,
    "model": "m:batch",
    "endpoint": "/v1/chat/completions",
    "request_counts": {"total": 3, "completed": 2, "failed": 1},
    "error": None,
    "usage": {"cost": 0.5},
    "results": [],
}
REPLY = {"choices": [{"message": {"content": "The Aare."}, "finish_reason": "stop"}]}
TEXT = {"messages": [{"role": "user", "content": "Hello, wondrous walnut tree."}]}
PICTURE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}


def read(payload: object) -> Any:
    return read_job(json.dumps(payload).encode(), now=0.0)


def result(custom_id: str = "a", body: object = None, status: object = 200, error: object = None) -> dict[str, Any]:
    response = None if body is None else {"status_code": status, "request_id": "r", "body": body}
    return {"id": "1", "custom_id": custom_id, "response": response, "error": error}


def only(told: dict[str, Any], asked: Any = None) -> Any:
    (one,) = read_results([told], asked)
    return one.outcome


def test_a_job_is_read_with_all_it_says():
    job = read(JOB).job
    assert ("batch_1", "completed", 1764244800.0, None) == (job.id, job.status, job.created_at, job.expires_at)
    assert (3, 2, 1, 0.5, "m:batch") == (job.total, job.completed, job.failed, job.cost, job.model)


@pytest.mark.parametrize("name", [*JOB, "request_counts.total"])
def test_what_a_job_does_not_say_or_says_oddly_is_unknown(name):
    """Of id and status alone it takes both."""
    for odd in (None, "odd", [], {}, -1, True, 1e300):
        told = {**JOB, name.partition(".")[0]: {"total": odd} if "." in name else odd}
        assert (job_of(told) is None) == (name in {"id", "status"} and not isinstance(odd, str))


def test_only_the_known_last_states_are_over():
    states = ["validating", "in_progress", "finalizing", "cancelling", "Completed", "done", *OVER]
    assert OVER == {state for state in states if job_of({"id": "b", "status": state}).is_over}


def test_a_job_inside_data_is_found():
    assert "batch_1" == read({"data": JOB}).job.id


def test_what_failed_a_job_is_kept_out_of_its_repr():
    job = read({**JOB, "status": "failed", "error": {"message": "Hello, wondrous walnut tree."}}).job
    assert "walnut" in job.error
    assert "walnut" not in repr(job)


@pytest.mark.parametrize(
    "body", [b"", b"   ", b"<html>", b"[]", b"{", b'{"id":"b"}', b'{"id":"b","status":"completed","results":[{"custom_id":"a","custom_id":"b"}]}']
)  # fmt: skip
def test_what_is_no_job_is_an_error(body):
    with pytest.raises((UnexpectedResponse, ProviderUnavailable)):
        read_job(body, now=0.0)


def test_an_error_with_status_200_is_one():
    with pytest.raises(RequestRejected):
        read({"error": {"message": "no such batch", "code": 404}})
    with pytest.raises(RequestRejected):
        read_deleted(b'{"error": {"message": "still running", "code": 409}}', now=0.0)


def test_pages_say_where_the_next_one_begins():
    page = {"data": [{"id": "1"}], "has_more": True, "last_id": "1"}
    assert "1" == read_page(json.dumps(page).encode(), now=0.0).following
    assert read_page(json.dumps({**page, "has_more": False}).encode(), now=0.0).following is None
    assert read_page(json.dumps({**page, "data": []}).encode(), now=0.0).following is None
    with pytest.raises(UnexpectedResponse):
        read_page(b'{"models": []}', now=0.0)
    assert {"m", "m:batch"} == read_ids(b'{"data": [{"id": "m"}, {"id": "m:batch"}, {}]}', now=0.0)


def test_a_result_is_read_like_any_reply():
    assert ("The Aare.", "stop") == (only(result(body=REPLY)).text, only(result(body=REPLY)).finish_reason)
    assert "The Aare." == only(result(body=json.dumps(REPLY))).text
    assert "The Aare." == only(result(body=REPLY, status=None)).text


@pytest.mark.parametrize(
    ("told", "kind", "reason"),
    [
        (result(body={"error": {"message": "slow down"}}, status=429), RateLimited, "rate_limit"),
        (result(body=REPLY, status=500), ProviderUnavailable, "server"),
        (result(body={"error": {"message": "no", "code": 502}}), ProviderUnavailable, "server"),
        (result(body={"choices": []}), ProviderUnavailable, "empty"),
        (result(body={"odd": 1}), UnexpectedResponse, "malformed"),
        (result(body=7), UnexpectedResponse, "malformed"),
        (result(), UnexpectedResponse, "malformed"),
        (result(error={"message": "bad", "type": "invalid_request_error", "param": None}), RequestRejected, "invalid_request"),
        (result(body=REPLY, error={"message": "x", "type": "y", "error_type": "timeout"}), ProviderUnavailable, "timeout"),
    ],
)  # fmt: skip
def test_a_result_that_is_no_reply_is_one_typed_error(told, kind, reason):
    outcome = only(told)
    assert (kind, reason) == (type(outcome), outcome.reason)


def test_two_results_for_one_request_are_none():
    results = read_results([result(body=REPLY), result(body=REPLY), result("b", REPLY)])
    assert "malformed" == results.by_id()["a"].outcome.reason
    assert "The Aare." == results.by_id()["b"].completion.text
    with pytest.raises(UnexpectedResponse):
        _ = results[0].completion


def test_results_of_other_requests_are_left_out_and_missing_ones_named():
    results = read_results([result("other", REPLY), result("a", REPLY), {"odd": 1}], {"a": TEXT, "b": TEXT})
    assert (["a"], ("b",)) == ([each.custom_id for each in results], results.missing)


def test_what_a_host_says_of_a_request_is_told_without_its_text():
    error = {
        "message": "Provider says: your text 'Hello, wondrous walnut tree.' is long",
        "type": "invalid_request_error",
    }
    known, unknown = only(result(error=error), {"a": TEXT}), only(result(error=error))
    assert "Provider says" in str(known)
    assert "Provider says" not in str(unknown)
    assert "walnut" not in f"{known!r}{unknown!r}{vars(known)}{vars(unknown)}"


def test_a_job_goes_with_endpoint_and_model_first_and_its_routing_beside_them():
    requests = [BatchRequest(name, {"provider": {"only": ["deepinfra"]}, **TEXT, "model": "m"}) for name in "ab"]
    body = job_body(requests, "m:batch")
    assert ["endpoint", "model", "provider", "requests"] == list(body)
    assert {"only": ["deepinfra"]} == body["provider"]
    assert {"model": "m:batch", **TEXT} == body["requests"][1]["body"]


@pytest.mark.parametrize(
    ("requests", "problem"),
    [
        ([], "at least one"),
        ([BatchRequest("a", TEXT), BatchRequest("a", TEXT)], "custom_id of its own"),
        ([BatchRequest("", TEXT)], "custom_id of its own"),
        ([BatchRequest("a", {"prompt": "Hello"})], "no messages"),
        ([BatchRequest("a", {"messages": ["Hello"]})], "no messages"),
        ([BatchRequest("a", {"messages": [{"role": "user", "content": [PICTURE]}]})], "text only"),
        ([BatchRequest("a", {**TEXT, "stream": True})], "does not take stream"),
        ([BatchRequest("a", {**TEXT, "models": ["m", "n"]})], "does not take models"),
        ([BatchRequest("a", {**TEXT, "provider": {"zdr": True}})], "not zdr"),
        ([BatchRequest("a", TEXT), BatchRequest("b", {**TEXT, "provider": {"only": ["x"]}})], "one routing"),
    ],
)
def test_what_the_api_would_not_take_is_refused_here_and_not_quoted(requests, problem):
    with pytest.raises(ConfigurationError, match=problem) as caught:
        job_body(requests, "m:batch")
    assert "walnut" not in str(caught.value)


def test_pauses_grow_to_the_longest():
    times = pauses(4.0, 10.0)
    assert [4.0, 6.0, 9.0, 10.0, 10.0] == [next(times) for _ in range(5)]
    assert 1.0 == next(pauses(5.0, 1.0))
