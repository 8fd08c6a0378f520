"""Reading whole chat completions."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_guard_core.errors import ProviderError, ProviderUnavailable, RequestRejected, UnexpectedResponse
from llama_guard_core.messages import ToolCall
from llama_guard_core.provider.wire import Completion, read_completion
from llama_guard_core.usage import Usage


def body_of(message=None, *, choice=None, **top) -> bytes:
    one = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": "Hello.", **(message or {})},
        **(choice or {}),
    }
    return json.dumps({"id": "gen-1", "choices": [one], **top}).encode()


def call(name="add", arguments='{"a":1}', **more):
    return {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}, **more}


def failed(body: bytes) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        read_completion(body)
    return caught.value


def test_everything_the_host_says_is_read():
    completion = read_completion(
        body_of(
            {
                "content": "Hi",
                "refusal": "no",
                "reasoning": "hm",
                "reasoning_details": [{"type": "reasoning.text", "text": "hm"}],
                "annotations": [{"type": "file"}],
            },
            choice={
                "finish_reason": "length",
                "native_finish_reason": "MAX",
                "logprobs": {"content": [{"token": "Hi", "logprob": -0.1}]},
            },
            model="m",
            provider="DeepInfra",
            created=7,
            system_fingerprint="fp",
            service_tier="flex",
            usage={
                "prompt_tokens": 3,
                "completion_tokens": 2,
                "total_tokens": 5,
                "cost": 3.5e-05,
                "prompt_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 4},
            },
        )
    )
    assert (
        Completion(
            text="Hi",
            finish_reason="length",
            native_finish_reason="MAX",
            refusal="no",
            reasoning="hm",
            reasoning_details=({"type": "reasoning.text", "text": "hm"},),
            usage=Usage(3, 2, 5, 1, 0, 4, 3.5e-05),
            id="gen-1",
            model="m",
            provider="DeepInfra",
            created=7,
            system_fingerprint="fp",
            service_tier="flex",
            logprobs={"content": [{"token": "Hi", "logprob": -0.1}]},
            annotations=({"type": "file"},),
        )
        == completion
    )


@pytest.mark.parametrize("padding", [b"\n         \n" * 107, b" ", b"\r\n\t", b"\xef\xbb\xbf"])
def test_padding_before_and_behind_the_json_does_not_matter(padding):
    assert "Hello." == read_completion(padding + body_of() + b"\n\n  ").text


def test_white_space_inside_the_answer_is_kept():
    assert "\n\nsafe" == read_completion(body_of({"content": "\n\nsafe"})).text


def test_content_in_parts_is_joined():
    parts = [
        {"type": "text", "text": "a"},
        {"type": "image_url"},
        "b",
        None,
        {"type": "text", "text": None},
        {"type": "text", "text": "c"},
    ]
    assert "abc" == read_completion(body_of({"content": parts})).text


def test_reasoning_is_never_taken_for_the_answer():
    completion = read_completion(body_of({"content": None, "reasoning_content": "hm"}))
    assert ("", "hm") == (completion.text, completion.reasoning)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [('{"a":1}', '{"a":1}'), ({"a": "ä"}, '{"a":"ä"}'), (None, "{}"), ("", "{}"), ("{not json", "{not json")],
)
def test_arguments_are_the_text_the_model_wrote_or_an_empty_object(arguments, expected):
    completion = read_completion(body_of({"content": None, "tool_calls": [call(arguments=arguments)]}))
    assert (ToolCall("call_1", "add", expected),) == completion.tool_calls


def test_a_call_whose_arguments_are_absent_has_none():
    body = body_of({"tool_calls": [{"id": "1", "function": {"name": "now"}}, None, "x"]})
    assert (ToolCall("1", "now", "{}"),) == read_completion(body).tool_calls


def test_tool_calls_count_whatever_the_finish_reason():
    assert 1 == len(
        read_completion(body_of({"content": "", "tool_calls": [call()]}, choice={"finish_reason": None})).tool_calls
    )


def test_two_objects_run_together_are_two_calls():
    calls = read_completion(body_of({"tool_calls": [call(arguments='{"a":1} {"a":{"b":2}}')]})).tool_calls
    assert ['{"a":1}', '{"a":{"b":2}}'] == [one.arguments for one in calls]
    assert ["call_1", ""] == [one.id for one in calls]


@pytest.mark.parametrize("arguments", ['{"a":"}{"}', '{"a":1}{"b"', '{"a":1}{"b":2}x'])
def test_arguments_are_not_split_on_a_guess(arguments):
    assert [arguments] == [
        one.arguments for one in read_completion(body_of({"tool_calls": [call(arguments=arguments)]})).tool_calls
    ]


def test_a_call_cut_by_the_token_limit_is_an_error():
    error = failed(body_of({"tool_calls": [call(arguments='{"a":')]}, choice={"finish_reason": "length"}))
    assert isinstance(error, RequestRejected)
    assert "Raise max_tokens" in str(error)


def test_a_whole_call_before_the_token_limit_is_none():
    assert 1 == len(read_completion(body_of({"tool_calls": [call()]}, choice={"finish_reason": "length"})).tool_calls)


def test_a_call_without_a_name_is_an_error():
    assert isinstance(failed(body_of({"tool_calls": [call(name=None)]})), UnexpectedResponse)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, None), ({}, None), ("many", None),
        ({"prompt_tokens": None, "completion_tokens": 2.0, "total_tokens": None}, Usage(0, 2, 2)),
        ({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "prompt_tokens_details": None, "completion_tokens_details": None}, Usage(1, 1, 2)),
        ({"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6, "cached_tokens": 4, "reasoning_tokens": 1}, Usage(5, 1, 6, cached_tokens=4, reasoning_tokens=1)),
        ({"prompt_tokens": True, "completion_tokens": "3", "total_tokens": 4, "cost": "0.25"}, Usage(0, 0, 4, cost=0.25)),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "cost": None}, Usage(0, 0, 0)),
    ],
)  # fmt: skip
def test_usage_is_whole_numbers_or_unknown(usage, expected):
    assert expected == read_completion(body_of(usage=usage)).usage


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"1e999", b"-5", b"[]"])
def test_a_senseless_number_does_not_get_through(number):
    body = body_of(usage={"prompt_tokens": 0, "completion_tokens": 1, "total_tokens": 1, "cost": 0}).replace(
        b'"prompt_tokens": 0', b'"prompt_tokens": ' + number
    )
    assert Usage(0, 1, 1, cost=0.0) == read_completion(body).usage


def test_the_completion_nested_in_provider_is_read():
    body = json.dumps({"id": None, "choices": None, "provider": json.loads(body_of(provider="Groq"))}).encode()
    assert ("Hello.", "Groq") == (read_completion(body).text, read_completion(body).provider)


def test_of_several_choices_the_first_by_index_is_read():
    choices = [{"index": 1, "message": {"content": "second"}}, {"index": 0, "message": {"content": "first"}}]
    assert "first" == read_completion(json.dumps({"choices": choices}).encode()).text


ERRORS = {
    "alone in a 200 body": {"error": {"code": 502, "message": "Upstream broke"}},
    "with nulls beside it": {"id": None, "choices": None, "model": None, "error": {"code": 502, "message": "Upstream broke"}, "user_id": "user_2abcdefghijk"},
    "in the choice, with text": {"choices": [{"finish_reason": "stop", "message": {"content": "partial"}, "error": {"code": 502, "message": "Upstream broke"}}]},
    "beside a whole reply": {"choices": [{"message": {"content": "partial"}}], "error": {"code": 502, "message": "Upstream broke"}},
    "as a string": {"error": "Upstream broke"},
    "in a list": {"errors": [{"message": "Upstream broke", "code": 5023}], "success": False},
    "bare": {"message": "Upstream broke", "type": "server_error", "code": None},
    "as a detail": {"detail": "Upstream broke"},
    "as an object of type error": {"object": "error", "message": "Upstream broke", "code": 500},
}  # fmt: skip


@pytest.mark.parametrize("payload", ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("padding", [b"", b"\n         \n" * 3])
def test_an_error_in_a_200_body_is_raised_and_worth_a_retry(payload, padding):
    error = failed(padding + json.dumps(payload).encode())
    assert (ProviderUnavailable, True) == (type(error), error.retryable)
    assert "Upstream broke" in str(error)
    assert "partial" not in str(error)
    assert "user_2" not in str(error)


@pytest.mark.parametrize("error", [None, {}, "", []])
def test_an_error_that_says_nothing_is_none(error):
    assert "Hello." == read_completion(body_of(error=error)).text


EMPTY = {
    "no bytes": b"",
    "all null": b'{"id":null,"choices":null,"created":1,"model":null,"object":null,"usage":null}',
    "no choice": b'{"choices":[]}',
    "no message": b'{"choices":[{}]}',
    "empty content, no finish reason": body_of(
        {"content": ""}, choice={"finish_reason": None}, usage={"completion_tokens": 0}
    ),
    "null content": body_of({"content": None}),
    "blank content": body_of({"content": " \n "}),
    "no parts": body_of({"content": []}),
}


@pytest.mark.parametrize("body", EMPTY.values(), ids=EMPTY)
def test_an_empty_reply_is_no_answer_and_is_worth_a_retry(body):
    error = failed(body)
    assert (ProviderUnavailable, "empty", True) == (type(error), error.reason, error.retryable)


def test_nothing_said_before_the_token_limit_is_not_worth_a_retry():
    error = failed(body_of({"content": ""}, choice={"finish_reason": "length"}))
    assert ("empty", False) == (error.reason, error.retryable)


def test_a_reply_taken_by_the_content_filter_is_not_worth_a_retry():
    error = failed(body_of({"content": ""}, choice={"finish_reason": "content_filter"}))
    assert (RequestRejected, False) == (type(error), error.retryable)


@pytest.mark.parametrize(
    "body", [b" ", b"\n         \n" * 5, body_of()[:-1], body_of()[:20], b"\n " + body_of()[:-30], b"{"]
)
def test_a_body_without_its_end_was_cut(body):
    error = failed(body)
    assert (ProviderUnavailable, "cut", True) == (type(error), error.reason, error.retryable)


@pytest.mark.parametrize(
    "body",
    [
        b"<!DOCTYPE html><html>",
        b"Internal Server Error",
        b"[]",
        b"null",
        b'"x"',
        b"7",
        b'{"object":"list"}',
        b"{]",
        body_of() + b"x",
        b'data: {"choices":[]}\n\n',
    ],
)
def test_what_is_no_completion_is_said_to_be_none(body):
    error = failed(body)
    assert (UnexpectedResponse, "malformed") == (type(error), error.reason)


@pytest.mark.parametrize("end", range(1, len(body_of({"tool_calls": [call()]}))))
def test_every_beginning_of_a_completion_is_an_error(end):
    assert "cut" == failed(body_of({"tool_calls": [call()]})[:end]).reason


def test_half_a_character_does_not_spoil_the_reply():
    assert "a\ufffdb\nc" == read_completion(body_of({"content": "X"}).replace(b'"X"', b'"a\\ud83db\nc"')).text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["message", "content", "index", "tool_calls", "function", "error", "usage", "name", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(
        st.sampled_from(["id", "choices", "error", "provider", "usage", "created", "model", "message"]),
        JSON | st.lists(st.fixed_dictionaries({"message": JSON, "index": JSON, "logprobs": JSON}), max_size=2),
    )
)
def test_whatever_a_host_sends_is_a_reply_or_one_typed_error(payload):
    try:
        completion = read_completion(json.dumps(payload).encode())
    except ProviderError:
        return
    assert (
        completion.text.strip()
        or completion.tool_calls
        or completion.refusal
        or completion.reasoning
        or completion.reasoning_details
    )


@given(st.binary(max_size=40))
def test_any_bytes_at_all_are_a_reply_or_one_typed_error(body):
    with pytest.raises(ProviderError):
        read_completion(body)


def test_what_was_said_is_in_no_repr():
    shown = repr(
        read_completion(
            body_of(
                {
                    "content": "secret",
                    "reasoning": "secret",
                    "refusal": "secret",
                    "tool_calls": [call(arguments='"secret"')],
                }
            )
        )
    )
    assert "secret" not in shown
