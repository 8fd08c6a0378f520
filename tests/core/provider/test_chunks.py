"""Reading streamed completions, and the agreement with whole ones."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_guard_core.errors import ProviderError, ProviderUnavailable, RequestRejected, UnexpectedResponse
from llama_guard_core.messages import ToolCall
from llama_guard_core.provider.chunks import CompletionChunk, CompletionStream, chunks_of, collected
from llama_guard_core.provider.tool_call_slots import ToolCallFragment
from llama_guard_core.provider.wire import Completion, read_completion
from llama_guard_core.usage import Usage


def chunk(delta=None, finish=None, **top) -> str:
    choice = {"index": 0, "delta": {"role": "assistant", "content": "", **(delta or {})}, "finish_reason": finish}
    return json.dumps({"id": "gen-1", "model": "m", "provider": "P", "choices": [choice], **top})


def fragment(index=0, arguments=None, **more):
    function = {key: more.pop(key) for key in ("name",) if key in more} | (
        {} if arguments is None else {"arguments": arguments}
    )
    return chunk({"tool_calls": [{"index": index, "function": function, **more}]})


USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
END = [chunk(finish="tool_calls"), "[DONE]"]


def read(*datas: str) -> list[CompletionChunk]:
    stream = CompletionStream()
    return [piece for data in datas for piece in stream.feed(data)] + stream.end()


def failed(*datas: str) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        read(*datas)
    return caught.value


def fragments_of(*datas: str) -> list[ToolCallFragment]:
    return [fragment for piece in read(*datas) for fragment in piece.tool_calls]


def test_text_comes_as_it_is_sent_and_what_is_known_once_comes_last():
    chunks = read(
        chunk(),
        chunk({"content": "He"}),
        chunk({"content": "y"}),
        chunk(finish="stop"),
        chunk(finish="stop", usage=USAGE),
        "[DONE]",
    )
    assert [
        CompletionChunk("He"),
        CompletionChunk("y"),
        CompletionChunk(
            final=Completion(finish_reason="stop", usage=Usage(1, 2, 3), id="gen-1", model="m", provider="P")
        ),
    ] == chunks


@pytest.mark.parametrize(
    "ending",
    [
        [chunk(finish="stop", usage=USAGE)],
        [chunk(finish="stop"), chunk(usage=USAGE)],
        [chunk(finish="stop"), json.dumps({"choices": [], "usage": USAGE})],
        [chunk(finish="stop"), chunk(finish="stop", usage=USAGE)],
        [chunk(finish="stop", usage={"prompt_tokens": 1}), json.dumps({"choices": [], "usage": USAGE})],
        [chunk(finish="stop", x_groq={"usage": USAGE})],
        [chunk(usage={"prompt_tokens": 9}), *[chunk(finish="stop", usage=USAGE)] * 16],
        [json.dumps({"choices": None, "usage": USAGE}), chunk(finish="stop", usage=None)],
    ],
)
@pytest.mark.parametrize("done", [["[DONE]"], ["[DONE]", "[DONE]", chunk({"content": "late"})], []])
def test_usage_and_finish_reason_come_once_wherever_they_were_sent(ending, done):
    chunks = read(chunk({"content": "x"}), *ending, *done)
    finals = [piece.final for piece in chunks if piece.final]
    assert [("stop", Usage(1, 2, 3))] == [(final.finish_reason, final.usage) for final in finals]
    assert ["x", ""] == [piece.text for piece in chunks]


def test_a_stream_may_say_done_without_a_finish_reason():
    assert (None, "x") == (
        read(chunk({"content": "x"}), "[DONE]")[-1].final.finish_reason,
        collected(read(chunk({"content": "x"}), "[DONE]")).text,
    )


def test_debug_and_foreign_choices_say_nothing():
    other = json.dumps({"choices": [{"index": 1, "delta": {"content": "no"}}]})
    assert "x" == collected(read(json.dumps({"choices": [], "debug": {}}), other, chunk({"content": "x"}, "stop"))).text


@pytest.mark.parametrize(
    "calls",
    [
        [fragment(id="a", name="add", arguments=""), fragment(arguments='{"x"'), fragment(arguments=":1}")],
        [fragment(id="a", name="add", arguments='{"x":1}')],
        [
            fragment(id="a", name="add", type="function"),
            fragment(name=None, arguments='{"x"'),
            fragment(name="", type="function", arguments=":1}"),
        ],
        [fragment(id="a", name="add"), fragment(id="a", name="add", arguments='{"x":1}')],
        [fragment(5, id="a", name="add"), fragment(5, arguments='{"x":1}')],
        [fragment(None, id="a", name="add"), fragment(None, id="", arguments='{"x":1}')],
        [fragment(id="a", name="add", arguments={"x": 1})],
    ],
)
def test_every_way_of_sending_one_call_is_one_call(calls):
    fragments = fragments_of(*calls, *END)
    assert (ToolCall("a", "add", '{"x":1}'),) == collected(read(*calls, *END)).tool_calls
    assert [("a", "add")] == [(one.id, one.name) for one in fragments if one.id or one.name]
    assert {0} == {one.index for one in fragments}


@pytest.mark.parametrize(
    "calls",
    [
        [fragment(0, id="a", name="f", arguments="{}"), fragment(1, id="b", name="g", arguments='{"y":2}')],
        [fragment(0, id="a", name="f", arguments="{}"), fragment(0, id="b", name="g", arguments='{"y":2}')],
        [
            fragment(3, id="a", name="f"),
            fragment(7, id="b", name="g"),
            fragment(3, arguments="{}"),
            fragment(7, arguments='{"y":2}'),
        ],
        [
            fragment(None, id="a", name="f", arguments="{}"),
            fragment(None, id="b", name="g", arguments='{"y"'),
            fragment(None, arguments=":2}"),
        ],
        [
            chunk(
                {
                    "tool_calls": [
                        {"index": 0, "id": i, "function": {"name": n, "arguments": x}}
                        for i, n, x in (("a", "f", "{}"), ("b", "g", '{"y":2}'))
                    ]
                }
            )
        ],
        [fragment(0, id="a", name="f"), fragment(0, id="b", name="g", arguments='{"y":2}')],
    ],
)
def test_every_way_of_sending_two_calls_is_two_calls_counted_from_zero(calls):
    assert (ToolCall("a", "f", "{}"), ToolCall("b", "g", '{"y":2}')) == collected(read(*calls, *END)).tool_calls


@pytest.mark.parametrize(
    "calls",
    [
        [fragment(name="f", arguments='{"x":1}'), fragment(arguments='{"x":2}')],
        [fragment(name="f", arguments='{"x":1}'), fragment(name="f", arguments='{"x":2}')],
        [fragment(name="f", arguments='{"x":1}{"x":2}')],
        [
            fragment(name="f"),
            fragment(arguments='{"x"'),
            fragment(arguments=":1}"),
            fragment(arguments='{"x":'),
            fragment(arguments="2}"),
        ],
    ],
)
def test_a_second_object_without_an_id_is_a_second_call(calls):
    assert (ToolCall("", "f", '{"x":1}'), ToolCall("", "f", '{"x":2}')) == collected(read(*calls, *END)).tool_calls


def test_a_call_without_arguments_has_an_empty_object_as_in_a_whole_reply():
    assert [ToolCallFragment(0, "a", "now"), ToolCallFragment(0, arguments="{}")] == fragments_of(
        fragment(id="a", name="now"), *END
    )


def test_an_id_that_comes_late_belongs_to_the_open_call():
    assert (ToolCall("a", "f", '{"x":1}'),) == collected(
        read(fragment(name="f"), fragment(id="a", arguments='{"x":1}'), *END)
    ).tool_calls


def test_a_call_cut_by_the_token_limit_is_an_error():
    error = failed(fragment(id="a", name="f", arguments='{"x":'), chunk(finish="length"), "[DONE]")
    assert (RequestRejected, "invalid_request") == (type(error), error.reason)


def test_a_call_that_never_gets_a_name_is_an_error():
    assert isinstance(failed(fragment(id="a", arguments="{}"), *END), UnexpectedResponse)


ERROR = {"code": 502, "message": "Upstream broke", "metadata": {"error_type": "provider_unavailable"}}
IN_BAND = {
    "without choices, then the end": [json.dumps({"choices": [], "error": ERROR})],
    "in a chunk with usage": [chunk(error=ERROR, usage=USAGE), "[DONE]"],
    "with finish reason stop": [chunk(finish="stop", error=ERROR), chunk(finish="stop", usage=USAGE)],
    "with finish reason error": [chunk(finish="error", error=ERROR)],
    "with a word for a code": [chunk(finish="error", error={"code": "server_error", "message": "Upstream broke"})],
    "after a finish reason": [chunk(finish="stop"), json.dumps({"choices": [], "error": ERROR})],
    "in the choice": [json.dumps({"choices": [{"delta": {}, "error": ERROR}]})],
    "as a string": [json.dumps({"error": "Upstream broke"})],
    "bare": [json.dumps({"message": "Upstream broke", "type": "server_error", "code": None})],
    "alone, without a finish": [json.dumps({"error": ERROR})],
}


@pytest.mark.parametrize("datas", IN_BAND.values(), ids=IN_BAND)
@pytest.mark.parametrize("before", [[], [chunk({"content": "partial"})]])
def test_an_error_in_a_stream_is_raised(datas, before):
    error = failed(*before, *datas)
    assert (ProviderUnavailable, "server", True) == (type(error), error.reason, error.retryable)
    assert "Upstream broke" in str(error)
    assert "partial" not in str(error)


@pytest.mark.parametrize(
    "data",
    [
        '{"error":{"message":"tool call failed","status_code":400,"code":"tool_use_failed","failed_generation":"{secret}"}}',
        '{"message":"tool call failed","status_code":400}',
    ],
)
def test_an_event_named_error_is_raised(data):
    with pytest.raises(RequestRejected, match="tool call failed") as caught:
        CompletionStream().feed(data, "error")
    assert "secret" not in str(caught.value)


def test_text_that_an_error_repeats_is_withheld():
    said = "walnuts are best cracked with a hammer made of oak"
    assert "walnuts" not in str(
        failed(chunk({"content": said}), json.dumps({"error": {"code": 502, "message": f"Bad output: {said}"}}))
    )


@pytest.mark.parametrize(
    "datas",
    [
        [],
        [chunk()],
        [chunk({"content": "x"})],
        [chunk({"content": "x"}), '{"choices":[{"del'],
        [chunk({"content": "x"}, "stop"), '{"usage":{"pro'],
        ["{"],
    ],
)
def test_a_stream_without_its_end_was_cut(datas):
    error = failed(*datas)
    assert (ProviderUnavailable, "cut", True) == (type(error), error.reason, error.retryable)


@pytest.mark.parametrize(
    "datas", [["{", chunk()], ["[]", "[DONE]"], ["7", chunk()], ['{"response":"Hello"}', "[DONE]"]]
)
def test_a_stream_that_is_no_completion_is_said_to_be_none(datas):
    assert isinstance(failed(*datas), UnexpectedResponse)


@pytest.mark.parametrize(
    "datas",
    [
        ["[DONE]"],
        [chunk(), "[DONE]"],
        [chunk(finish="stop", usage=USAGE)],
        [chunk({"content": " \n"}, "stop"), "[DONE]"],
    ],
)
def test_a_stream_that_says_nothing_is_no_answer(datas):
    error = failed(*datas)
    assert ("empty", True) == (error.reason, error.retryable)


def test_reasoning_blocks_are_put_together_again():
    details = [
        {"type": "reasoning.text", "index": 0, "text": "a", "signature": None},
        {"type": "reasoning.text", "index": 0, "text": "b"},
        {"type": "reasoning.encrypted", "index": 1, "data": "x"},
        {"type": "reasoning.text", "index": 0, "signature": "s"},
    ]
    final = read(*[chunk({"reasoning": "r", "reasoning_details": [one]}) for one in details], chunk(finish="stop"))[
        -1
    ].final
    assert (
        {"type": "reasoning.text", "index": 0, "text": "ab", "signature": "s"},
        {"type": "reasoning.encrypted", "index": 1, "data": "x"},
    ) == final.reasoning_details


def test_log_probabilities_and_annotations_are_gathered():
    one = json.dumps(
        {"choices": [{"delta": {"content": "a", "annotations": [{"n": 1}]}, "logprobs": {"content": [{"token": "a"}]}}]}
    )
    final = read(one, one, chunk(finish="stop"))[-1].final
    assert ({"content": [{"token": "a"}] * 2}, ({"n": 1}, {"n": 1})) == (final.logprobs, final.annotations)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
REPLIES = st.fixed_dictionaries(
    {
        "content": TEXT.filter(str.strip),
        "reasoning": TEXT,
        "tool_calls": st.lists(
            st.fixed_dictionaries(
                {
                    "id": st.uuids().map(str),
                    "function": st.fixed_dictionaries(
                        {
                            "name": st.sampled_from(["f", "g"]),
                            "arguments": st.dictionaries(TEXT, st.integers(), max_size=2).map(json.dumps) | st.none(),
                        }
                    ),
                }
            ),
            max_size=3,
        ),
    }
)


@given(REPLIES, st.integers(1, 5), st.booleans())
def test_a_reply_is_the_same_whole_and_streamed(message, size, gaps):
    whole = read_completion(
        json.dumps(
            {
                "id": "gen-1",
                "model": "m",
                "provider": "P",
                "choices": [{"message": message, "finish_reason": "stop"}],
                "usage": USAGE,
            }
        ).encode()
    )
    datas = [
        chunk({key: message[key][at : at + size]})
        for key in ("reasoning", "content")
        for at in range(0, len(message[key]), size)
    ]
    for index, call in enumerate(message["tool_calls"]):
        arguments = call["function"]["arguments"] or ""
        datas.append(fragment(index * (1 + gaps), id=call["id"], name=call["function"]["name"]))
        datas += [
            fragment(index * (1 + gaps), arguments=arguments[at : at + size]) for at in range(0, len(arguments), size)
        ]
    assert whole == collected(read(*datas, chunk(finish="stop"), chunk(usage=USAGE), "[DONE]"))


@given(REPLIES)
def test_a_whole_reply_taken_apart_is_the_same_when_put_together(message):
    whole = read_completion(json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode())
    assert whole == collected(chunks_of(whole))


def test_what_was_said_is_in_no_repr():
    assert "secret" not in repr(
        read(
            chunk({"content": "secret", "reasoning": "secret"}), fragment(id="1", name="f", arguments='"secret"'), *END
        )
    )
