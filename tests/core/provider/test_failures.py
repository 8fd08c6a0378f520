"""Every way a host says no becomes one typed error that gives nothing away."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_guard_core.errors import (
    AuthenticationFailed,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    RequestRejected,
    UnexpectedResponse,
)
from llama_guard_core.provider.failures import failure_from_error, failure_from_response
from llama_guard_core.provider.private_texts import withholding, without_private_texts

NOW = 1_800_000_000.0


def refused(status: int, payload: object = None, headers: dict[str, str] | None = None) -> ProviderError:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return failure_from_response(status, headers or {}, body, now=NOW)


STATUSES = [
    (302, RequestRejected, "not_found", False),
    (400, RequestRejected, "invalid_request", False),
    (401, AuthenticationFailed, "authentication", False),
    (402, RequestRejected, "payment", False),
    (403, RequestRejected, "permission", False),
    (404, RequestRejected, "not_found", False),
    (405, RequestRejected, "not_found", False),
    (408, ProviderUnavailable, "timeout", True),
    (409, RequestRejected, "invalid_request", False),
    (412, RequestRejected, "invalid_request", False),
    (413, RequestRejected, "too_large", False),
    (418, RequestRejected, "invalid_request", False),
    (422, RequestRejected, "invalid_request", False),
    (429, RateLimited, "rate_limit", True),
    (500, ProviderUnavailable, "server", True),
    (502, ProviderUnavailable, "server", True),
    (503, ProviderUnavailable, "server", True),
    (504, ProviderUnavailable, "timeout", True),
    (524, ProviderUnavailable, "timeout", True),
    (529, ProviderUnavailable, "server", True),
    (102, UnexpectedResponse, "malformed", False),
]
BODIES = [
    {"error": {"code": 1, "message": "Something broke"}},
    {"error": {"message": "Something broke", "type": "unheard_of", "code": None}},
    {"error": "Something broke"},
    {"message": "Something broke", "type": "x", "code": "y"},
    {"detail": "Something broke"},
    {"detail": [{"type": "missing", "loc": ["body", "messages"], "msg": "Something broke", "input": "secret text"}]},
    {"errors": [{"message": "Something broke", "code": 5023}], "success": False},
    {"error": {"message": {"message": "Something broke"}}},
    b"Something broke",
]


@pytest.mark.parametrize(("status", "kind", "reason", "retryable"), STATUSES)
@pytest.mark.parametrize("body", BODIES, ids=repr)
def test_the_status_decides_the_class_whatever_the_shape_of_the_body(status, kind, reason, retryable, body):
    error = refused(status, body)
    assert (kind, reason, retryable, status) == (type(error), error.reason, error.retryable, error.status)
    assert "Something broke" in str(error)
    assert "secret text" not in str(error)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  \n",
        b"<!DOCTYPE html><p>walnut</p>",
        b"null",
        b"[]",
        b"{}",
        b'{"error":null}',
        b"\xff\xfe",
        b'{"error":{"message":',
    ],
)
@pytest.mark.parametrize(("status", "kind", "reason", "retryable"), STATUSES)
def test_a_body_that_says_nothing_leaves_the_status_to_speak(status, kind, reason, retryable, body):
    error = refused(status, body)
    assert (kind, reason, retryable) == (type(error), error.reason, error.retryable)
    assert "walnut" not in str(error)


WORDS = [
    (400, {"code": 400, "message": "x", "metadata": {"error_type": "context_length_exceeded"}}, RequestRejected, "context_length"),
    (400, {"code": 400, "message": "This endpoint's maximum context length is 4096 tokens. However, you requested 9000."}, RequestRejected, "context_length"),
    (400, {"message": "request (20031 tokens) exceeds the available context size (4096 tokens)", "type": "exceed_context_size_error"}, RequestRejected, "context_length"),
    (500, {"message": "Requested tokens exceed the context window of 4096"}, RequestRejected, "context_length"),
    (400, {"code": 400, "message": "bad/model is not a valid model ID"}, RequestRejected, "not_found"),
    (400, {"code": "model_decommissioned", "message": "gone", "type": "invalid_request_error"}, RequestRejected, "not_found"),
    (400, {"code": "invalid_api_key", "message": "no"}, AuthenticationFailed, "authentication"),
    (400, {"code": "rate_limit_exceeded", "message": "no"}, RequestRejected, "invalid_request"),
    (413, {"code": "rate_limit_exceeded", "message": "Request too large on tokens per minute"}, RequestRejected, "too_large"),
    (429, {"code": 429, "message": "Rate limit exceeded: free-models-per-day. Add credits"}, RateLimited, "daily_limit"),
    (429, {"code": 429, "message": "x", "metadata": {"limit_source": "openrouter_free_tier_daily"}}, RateLimited, "daily_limit"),
    (429, {"code": "insufficient_quota", "message": "You exceeded your current quota"}, RateLimited, "daily_limit"),
    (429, {"code": "rate_limit_exceeded", "message": "Limit reached on tokens per day (TPD)"}, RateLimited, "daily_limit"),
    (500, {"message": "image input is not supported - hint: provide the mmproj"}, RequestRejected, "invalid_request"),
    (400, {"code": 400, "message": "x", "metadata": {"error_type": "content_policy_violation"}}, RequestRejected, "permission"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "error", "kind", "reason"), WORDS)
def test_words_and_sentences_say_more_than_the_status(status, error, kind, reason):
    failure = refused(status, {"error": error})
    assert (kind, reason, False) == (type(failure), failure.reason, failure.retryable)


@pytest.mark.parametrize(
    ("error", "kind", "retryable"),
    [
        ({"code": 429, "message": "slow down"}, RateLimited, True),
        ({"code": "429", "message": "slow down"}, RateLimited, True),
        ({"code": 400, "message": "Token limit reached"}, RequestRejected, False),
        ({"status_code": 400, "code": "tool_use_failed", "message": "no"}, RequestRejected, False),
        ({"http_status": 503, "error_type": "provider_overloaded", "message": "no"}, ProviderUnavailable, True),
        ({"code": "server_error", "message": "no"}, ProviderUnavailable, True),
        ({"code": None, "message": "no"}, ProviderUnavailable, True),
        ({"metadata": {"error_type": "rate_limit_exceeded"}}, RateLimited, True),
        ("no", ProviderUnavailable, True),
    ],
)
def test_without_a_status_the_code_inside_decides(error, kind, retryable):
    failure = failure_from_error(error)
    assert (kind, retryable) == (type(failure), failure.retryable)


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [(503, False, False), (404, True, True), (404, None, False), (402, True, False), (429, False, False)],
)
def test_what_the_host_says_about_retrying_is_preferred(status, said, expected):
    assert expected == refused(status, {"error": {"message": "x", "availability": {"retryable": said}}}).retryable


RAWS = [
    "plain words", '{"error":{"message":"plain words"}}', '{"error":{"message":{"message":"plain words"}}}', '{"code":"c","error":"plain words"}',
    json.dumps(json.dumps({"error": {"message": "plain words"}})), '{"error":{"message":"{\\"message\\":\\"plain words\\"}"}}', '{"detail":[{"msg":"plain words"}]}',
]  # fmt: skip


@pytest.mark.parametrize("raw", RAWS)
def test_the_inner_message_is_shown_where_the_outer_one_says_nothing(raw):
    error = refused(
        400,
        {
            "error": {
                "code": 400,
                "message": "Provider returned error",
                "metadata": {"raw": raw, "provider_name": "Together"},
            }
        },
    )
    assert "plain words" in str(error)
    assert "provider Together" in str(error)
    assert "Provider returned error" not in str(error)


@pytest.mark.parametrize("raw", [None, 7, "", "{", "[]", {}])
def test_a_useless_inner_message_leaves_the_outer_one(raw):
    assert "Provider returned error" in str(
        refused(400, {"error": {"message": "Provider returned error", "metadata": {"raw": raw}}})
    )


HINTS = [
    ({"Retry-After": "7"}, {}, 7.0),
    ({"retry-after": "0"}, {}, 0.0),
    ({"retry-after-ms": "250", "retry-after": "7"}, {}, 0.25),
    ({"retry-after": "Fri, 15 Jan 2027 08:00:30 GMT"}, {}, 30.0),
    ({"retry-after": "Fri, 15 Jan 2027 07:00:00 GMT"}, {}, 0.0),
    ({"retry-after": "soon"}, {}, None),
    ({"retry-after": "-1"}, {}, None),
    ({"retry-after": "inf"}, {}, None),
    ({}, {"availability": {"retry_after": 3}}, 3.0),
    ({}, {"metadata": {"headers": {"X-RateLimit-Reset": str(int(NOW * 1000) + 5000)}}}, 5.0),
    ({}, {"metadata": {"headers": {"X-RateLimit-Reset": NOW - 5}}}, 0.0),
    ({}, {"metadata": {"headers": {"Retry-After": "4"}}}, 4.0),
    ({}, {"metadata": {"retry_after_seconds": 2}}, 2.0),
    ({}, {"metadata": {"headers": None}, "availability": "x"}, None),
]


@pytest.mark.parametrize(("headers", "more", "expected"), HINTS)
def test_how_long_to_wait_is_read_from_headers_and_body(headers, more, expected):
    assert expected == refused(429, {"error": {"code": 429, "message": "x", **more}}, headers).retry_after


def test_the_call_and_its_provider_are_named():
    error = refused(
        400,
        {"error": {"message": "x", "metadata": {"provider_name": "Amazon Bedrock", "error_type": "invalid_image"}}},
        {"X-Generation-Id": "gen-17-abc"},
    )
    assert ("Amazon Bedrock", "invalid_image", "gen-17-abc") == (
        error.provider_name,
        error.error_type,
        error.generation_id,
    )


SECRETS = [
    "sk-or-v1-0123456789abcdef", "sk-****************cdef", "Bearer abcdefgh", "gsk_0123456789", "hf_abcdefghij", "user_2abcdefghij",
    "org_01j0abcdefg", "01234567-89ab-cdef-0123-456789abcdef", "data:image/png;base64,iVBORw0KGgoAAAANS", "A1" * 30,
]  # fmt: skip


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("shape", ["message", "raw", "error_type", "provider_name"])
def test_keys_and_account_ids_that_a_host_echoes_are_withheld(secret, shape):
    said = f"Incorrect key {secret} provided"
    fields = {"message": {"message": said}, "raw": {"message": "Provider returned error", "metadata": {"raw": said}}}
    error = refused(
        401,
        {"error": fields.get(shape, {"message": "x", "metadata": {shape: said}}), "user_id": "user_2abcdefghij"},
        {"x-generation-id": said},
    )
    assert secret not in f"{error!r}{error}{vars(error)}"


@pytest.mark.parametrize("key", ["failed_generation", "flagged_input", "user_id", "input", "ctx"])
def test_fields_that_quote_what_was_said_are_not_read(key):
    payload = {"error": {"message": "Refused", key: "walnut"}, key: "walnut", "metadata": {key: "walnut"}}
    assert "walnut" not in str(refused(400, payload))


def test_a_malformed_call_is_named_but_not_quoted():
    error = refused(
        502,
        {
            "error": {
                "message": "Provider returned error",
                "metadata": {"raw": "Malformed function call: call:pay{to:walnut"},
            }
        },
    )
    assert "Malformed function call" in str(error)
    assert "walnut" not in str(error)


@given(st.text(max_size=4000))
def test_a_message_is_one_line_of_bounded_length(said):
    message = str(refused(400, {"error": {"message": said}}))
    assert len(message) < 600
    assert "\n" not in message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "error",
                    "message",
                    "code",
                    "metadata",
                    "raw",
                    "availability",
                    "headers",
                    "detail",
                    "loc",
                    "msg",
                    "type",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@given(st.sampled_from(STATUSES), JSON)
def test_no_body_is_too_strange(row, payload):
    assert isinstance(
        refused(row[0], payload), row[1] if row[0] not in (400, 409, 412, 422, 500, 502, 503, 529) else ProviderError
    )


def test_texts_of_the_request_are_taken_out_of_the_message():
    request = {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Where do walnuts grow best in autumn, and why?"}]},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"function": {"arguments": '{"city":"Walnutville"}'}}],
            },
            {"role": "tool", "content": "Oaks"},
        ]
    }
    error = refused(
        400, {"error": {"message": 'Bad input "walnuts grow best in autumn" and {"city":"Walnutville"} and Oaks'}}
    )
    assert 'The host rejected the request (status 400): Bad input "[withheld]" and [withheld] and [withheld]' in str(
        withholding(error, request, None)
    )


@given(st.text("abc ", min_size=12, max_size=80), st.integers(0, 30))
def test_no_stretch_of_a_private_text_is_left(text, start):
    stretch = " ".join(text.split())[start : start + 40]
    left = without_private_texts(f"x{stretch}y", [text])
    assert len(stretch) < 12 or stretch not in left
