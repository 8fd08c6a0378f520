"""What a failing host looks like to a LangChain user: a typed error, the right number of requests, nothing quoted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fake_provider import ACCOUNT_ID, FAILURES, FakeProvider, Fault, Reply, ToolCall
from langchain_core import exceptions as lc
from with_langchain.four_ways import STREAMED, Ask, every_way, pieces, streamed_ways, whole_ways

from langchain_llama_guard import ChatLlamaScout, ProviderError

Scout = Callable[..., ChatLlamaScout]

CLASSES = {
    400: (lc.ModelInvalidRequestError, False),
    401: (lc.ModelAuthenticationError, False),
    402: (lc.ModelPermissionDeniedError, False),
    403: (lc.ModelPermissionDeniedError, False),
    404: (lc.ModelNotFoundError, False),
    408: (lc.ModelTimeoutError, True),
    413: (lc.ModelInvalidRequestError, False),
    429: (lc.ModelRateLimitError, True),
    500: (lc.ModelAPIError, True),
    502: (lc.ModelAPIError, True),
    503: (lc.ModelAPIError, True),
    504: (lc.ModelTimeoutError, True),
    529: (lc.ModelAPIError, True),
}
PASSING = [
    *map(Fault.status, (408, 429, 500, 502, 503, 504, 529)),
    Fault.html(502),
    Fault.error_with_200(),
    Fault.choice_error(),
    Fault.empty(),
    Fault.cut("before_headers"),
    Fault.stall("before_headers"),
]
LASTING = [*map(Fault.status, (400, 401, 402, 403, 404, 413)), Fault.daily_limit(), Fault.html(200)]


@every_way
@pytest.mark.parametrize("fault", FAILURES, ids=str)
async def test_every_failure_is_an_error_of_both_families(
    scout: Scout, provider: FakeProvider, ask: Ask, fault: Fault
) -> None:
    """No failure passes for an answer, and none quotes the account, the key or what was asked."""
    provider.fail(fault)
    with pytest.raises(ProviderError) as caught:
        await ask(scout(max_retries=0, timeout=0.3), "What is the airspeed of a swallow?")
    assert isinstance(caught.value, lc.ModelError)
    assert caught.value.retryable == caught.value.is_retryable
    assert 1 == len(provider.requests)
    said = f"{caught.value} {caught.value!r} {caught.value.__cause__!r}"
    assert not [text for text in (ACCOUNT_ID, "sk-or-v1-test", "swallow") if text in said]


@every_way
@pytest.mark.parametrize("within_200", [False, True], ids=["status", "in a 200 body"])
@pytest.mark.parametrize("status", CLASSES)
async def test_each_status_has_its_class(
    scout: Scout, provider: FakeProvider, ask: Ask, status: int, within_200: bool
) -> None:
    """The class and whether to retry follow from the status, also where it stands in a body that came with 200."""
    provider.fail(Fault.error_with_200(status) if within_200 else Fault.status(status))
    expected, is_retryable = CLASSES[status]
    with pytest.raises(expected) as caught:
        await ask(scout(max_retries=0), "Hello")
    assert (is_retryable, status) == (caught.value.is_retryable, caught.value.status)


@every_way
async def test_too_long_a_conversation_is_a_context_overflow(scout: Scout, provider: FakeProvider, ask: Ask) -> None:
    """What summarisation waits for is raised for the host's sentence about its context length."""
    sentence = "This endpoint's maximum context length is 327680 tokens. However, you requested about 400000 tokens."
    provider.fail(Fault.status(400, message=sentence))
    with pytest.raises(lc.ContextOverflowError) as caught:
        await ask(scout(), "Hello")
    assert "context_length" == caught.value.reason
    assert 1 == len(provider.requests)


@streamed_ways
@pytest.mark.parametrize("shape", [1, 2, 3, 4])
async def test_an_error_in_a_begun_stream_is_raised_after_the_text(
    scout: Scout, provider: FakeProvider, ask: Ask, shape: Any
) -> None:
    """In each of the four shapes the text that came is handed out, then the error raised; nothing is repeated."""
    provider.fail(Fault.stream_error(shape, after=4))
    seen: list[Any] = []
    with pytest.raises(lc.ModelAPIError):
        await pieces(ask, scout(max_retries=2), "Hello", seen)
    assert "Hello there. How " == "".join(piece.text for piece in seen)
    assert 1 == len(provider.requests)


@streamed_ways
@pytest.mark.parametrize("fault", [Fault.cut("in_body"), Fault.stall("in_body")], ids=str)
async def test_a_cut_stream_raises_after_the_text(scout: Scout, provider: FakeProvider, ask: Ask, fault: Fault) -> None:
    """A stream that breaks off is no answer, and is not asked for again once text was handed out."""
    provider.fail(fault)
    seen: list[Any] = []
    with pytest.raises((lc.ModelConnectionError, lc.ModelTimeoutError)):
        await pieces(ask, scout(max_retries=2), "Hello", seen)
    assert [piece.text for piece in seen if piece.text]
    assert 1 == len(provider.requests)


@streamed_ways
async def test_a_stream_that_ends_without_a_finish_reason_raises(
    scout: Scout, provider: FakeProvider, ask: Ask
) -> None:
    """A response that ends properly in the middle of an answer is a cut answer."""
    provider.fail(Fault.truncated_json())
    with pytest.raises(lc.ModelError) as caught:
        await ask(scout(max_retries=0), "Hello")
    assert "cut" == caught.value.reason


@every_way
@pytest.mark.parametrize("max_retries", [0, 1, 2])
@pytest.mark.parametrize("fault", PASSING, ids=str)
async def test_max_retries_is_the_number_of_repetitions(
    scout: Scout, provider: FakeProvider, waits: list[float], ask: Ask, *, fault: Fault, max_retries: int
) -> None:
    """A failure that may pass is repeated so often and no oftener; 0 is none."""
    if fault.name == Fault.choice_error().name and ask in STREAMED.values():
        fault = Fault.stream_error(1, after=0)
    provider.fail(fault)
    with pytest.raises(lc.ModelError):
        await ask(scout(max_retries=max_retries), "Hello")
    assert (1 + max_retries, max_retries) == (len(provider.requests), len(waits))


@every_way
@pytest.mark.parametrize("fault", LASTING, ids=str)
async def test_a_failure_that_lasts_is_not_repeated(
    scout: Scout, provider: FakeProvider, ask: Ask, fault: Fault
) -> None:
    """A wrong key, an empty account, a withdrawn model or a daily limit is asked about once."""
    provider.fail(fault)
    with pytest.raises(lc.ModelError) as caught:
        await ask(scout(max_retries=2), "Hello")
    assert not caught.value.is_retryable
    assert 1 == len(provider.requests)


@every_way
async def test_the_answer_after_a_repetition_is_whole(
    scout: Scout, provider: FakeProvider, waits: list[float], ask: Ask
) -> None:
    """Two failures and then an answer: the answer, once."""
    provider.fail(Fault.status(503), first=2)
    message = await ask(scout(max_retries=2), "Hello")
    assert message.text.startswith("Hello there.")
    assert 3 == len(provider.requests)
    assert 2 == len(waits)


@every_way
@pytest.mark.parametrize("form", ["seconds", "date", "milliseconds"])
async def test_retry_after_is_waited_for(
    scout: Scout, provider: FakeProvider, waits: list[float], ask: Ask, form: Any
) -> None:
    """The host's own wait is kept, in whichever of three notations it is given."""
    provider.fail(Fault.status(429, retry_after=20, form=form), first=1)
    await ask(scout(max_retries=1), "Hello")
    (waited,) = waits
    assert 15 < waited <= 20 if form == "date" else 20 == waited


@every_way
async def test_a_long_retry_after_is_told_and_not_waited_for(
    scout: Scout, provider: FakeProvider, waits: list[float], ask: Ask
) -> None:
    """A host that asks for an hour gets no hour: the error says how long, and the caller decides."""
    provider.fail(Fault.status(429, retry_after=3600))
    with pytest.raises(lc.ModelRateLimitError) as caught:
        await ask(scout(max_retries=2), "Hello")
    assert (3600, []) == (caught.value.retry_after, waits)


@every_way
async def test_arguments_cut_at_the_token_limit_are_no_tool_call(
    scout: Scout, provider: FakeProvider, ask: Ask
) -> None:
    """Half of `{"path": ..., "dry_run": true}` must not be carried out: it parses as a call without the second."""
    call = ToolCall("delete", '{"path": "/tmp/x", "dry_ru')
    provider.fail(Fault.reply("cut arguments", Reply("", (call,), finish_reason="length")))
    with pytest.raises(lc.ModelInvalidRequestError, match="max_tokens"):
        await ask(scout(), "Hello")


@whole_ways
async def test_broken_arguments_are_an_invalid_tool_call(scout: Scout, provider: FakeProvider, ask: Ask) -> None:
    """Arguments that are no JSON object are kept as the model wrote them, apart from the calls to carry out."""
    provider.fail(Fault.reply("broken arguments", Reply("", (ToolCall("delete", '{"path": /tmp}'),))))
    message = await ask(scout(), "Hello")
    assert [] == message.tool_calls
    (broken,) = message.invalid_tool_calls
    assert ("delete", '{"path": /tmp}') == (broken["name"], broken["args"])


@every_way
async def test_an_empty_reply_at_the_token_limit_is_not_asked_for_again(
    scout: Scout, provider: FakeProvider, ask: Ask
) -> None:
    """It would be empty again: the error says to raise max_tokens."""
    provider.fail(Fault.reply("no room", Reply("", finish_reason="length")))
    with pytest.raises(lc.ModelError, match="max_tokens"):
        await ask(scout(max_retries=2), "Hello")
    assert 1 == len(provider.requests)


async def test_closing_a_stream_early_lets_go_of_the_response(scout: Scout, provider: FakeProvider) -> None:
    """Who stops reading pays for no more: the response is closed with the generator, sync and async."""
    reading = scout().stream("Hello")
    next(reading)
    assert 1 == provider.responses_open
    reading.close()
    assert 0 == provider.responses_open
    areading = scout().astream("Hello")
    await anext(areading)
    await areading.aclose()
    assert 0 == provider.responses_open
