"""The fake host is the instrument every other test measures with: it has to be strict, and able to fail."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import fake_provider as package
import httpx
import pytest
from fake_provider import (
    ACCOUNT_ID,
    BASE_URL,
    FAILURES,
    SMALL_TALK,
    Answer,
    FakeProvider,
    Fault,
    Reply,
    ToolCall,
    Usage,
)
from fake_provider.schema_instances import hints_in, instance_of
from pydantic import BaseModel, Field

URL = f"{BASE_URL}/chat/completions"
KEY = {"authorization": "Bearer sk-or-v1-nobody"}
USER = {"role": "user", "content": "Hello"}
ENOUGH_FILLER = 300
"""Bytes without a sign of JSON or HTML after which a response is taken to go on like that for ever."""


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "meta-llama/llama-4-scout", "messages": [USER], **fields}


def guard(*messages: dict[str, Any]) -> dict[str, Any]:
    return {"model": "meta-llama/llama-guard-4-12b", "messages": [*messages], "max_tokens": 64, "temperature": 0}


def ask(provider: FakeProvider, body: object) -> httpx.Response:
    with provider.client() as client:
        return client.post(URL, json=body, headers=KEY)


def test_a_body_is_padded_json_from_a_model_with_another_name() -> None:
    reply = Reply("Hi", reasoning="Hm", usage=Usage(10, 2, cached_tokens=4, cost=0.5))
    response = ask(FakeProvider(chat=[reply]), chat())
    body = response.json()
    assert response.content.startswith(b"\n         \n")
    assert "meta-llama/llama-4-scout-17b-16e-instruct" == body["model"]
    assert response.headers["x-generation-id"] == body["id"]
    assert "Hi" == body["choices"][0]["message"]["content"]
    assert (4, 0.5) == (body["usage"]["prompt_tokens_details"]["cached_tokens"], body["usage"]["cost"])


def chunks_of(response: httpx.Response) -> list[dict[str, Any]]:
    data = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    assert "[DONE]" == data.pop()
    return [json.loads(line) for line in data]


def usage_places(chunks: list[dict[str, Any]]) -> list[tuple[bool, str | None]]:
    """Where the usage stood: whether there was a choice, and its finish reason."""
    choices = [chunk["choices"] for chunk in chunks if "usage" in chunk]
    return [(bool(choice), choice[0]["finish_reason"] if choice else None) for choice in choices]


@pytest.mark.parametrize(
    ("shape", "places"),
    [
        ("choice", [(True, "stop")]),
        ("empty", [(False, None)]),
        ("repeat", [(True, "stop"), (False, None)]),
        ("every", [(True, None), (True, None), (True, None), (True, "stop")]),
    ],
)
def test_a_stream_tells_its_usage_where_the_shape_says(
    shape: Literal["choice", "empty", "every", "repeat"], places: list[tuple[bool, str | None]]
) -> None:
    response = ask(FakeProvider(chat=["One two"], usage=shape), chat(stream=True))
    chunks = chunks_of(response)
    assert places == usage_places(chunks)
    assert 2 == chunks[-1]["usage"]["completion_tokens"]


def test_a_stream_has_comments_before_between_and_after_and_a_role_on_every_delta() -> None:
    response = ask(FakeProvider(), chat(stream=True))
    events = ["c" if event.startswith(":") else "d" for event in response.text.split("\n\n") if event]
    deltas = [choice["delta"] for chunk in chunks_of(response) for choice in chunk["choices"]]
    assert (["c", "c", "d"], ["c", "d"]) == (events[:3], events[-2:])
    assert "dcd" in "".join(events)
    assert {"assistant"} == {delta["role"] for delta in deltas}
    assert SMALL_TALK == "".join(delta["content"] for delta in deltas)


def test_streamed_tool_calls_join_to_what_was_scripted() -> None:
    calls = (ToolCall("a", '{"city":"Köln"}', "1"), ToolCall("b", "{}", "2"))
    chunks = chunks_of(ask(FakeProvider(chat=[Reply("", calls)]), chat(stream=True)))
    deltas = [call for chunk in chunks for call in chunk["choices"][0]["delta"].get("tool_calls", ())]
    joined = ["".join(d["function"]["arguments"] for d in deltas if d["index"] == index) for index in (0, 1)]
    assert [call.arguments for call in calls] == joined
    assert ["a", "b"] == [d["function"]["name"] for d in deltas if "name" in d["function"]]


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_the_size_of_the_pieces_does_not_change_the_body(size: int) -> None:
    provider = FakeProvider(piece_size=size)
    with provider.client() as client, client.stream("POST", URL, json=chat(stream=True), headers=KEY) as response:
        pieces = list(response.iter_raw())
    assert ask(FakeProvider(), chat(stream=True)).content == b"".join(pieces)
    assert {size} >= {len(piece) for piece in pieces[:-1]}


def test_a_guard_judges_the_last_turn_by_its_marker_words() -> None:
    provider = FakeProvider()
    bomb = {"role": "user", "content": "How do I make a BOMB?"}
    answers = [
        ask(provider, body).json() for body in (guard(bomb), guard(bomb, {"role": "assistant", "content": "No."}))
    ]
    assert ["\n\nunsafe\nS9", "\n\nsafe"] == [answer["choices"][0]["message"]["content"] for answer in answers]
    assert [("user", bomb["content"]), ("assistant", "No.")] == [(q.role, q.text) for q in provider.guard_questions]
    assert ("user", bomb["content"]) == provider.guard_questions[1].turns[0]


def test_faults_come_when_they_are_planned_and_leave_the_script_to_the_calls_that_succeed() -> None:
    provider = FakeProvider(chat=["one", "two", "three"])
    provider.fail(Fault.status(503), on="chat", first=2).fail(Fault.status(429), on="chat", nth=4)
    provider.fail(Fault.status(500), on="guard")
    responses = [ask(provider, body) for body in (chat(), guard(USER), chat(), chat(), chat(), chat())]
    assert [503, 500, 503, 200, 429, 200] == [response.status_code for response in responses]
    assert "two" == responses[5].json()["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    ("shape", "finish_reasons", "code", "done"),
    [(1, [], 502, False), (2, [None], 502, True), (3, ["stop"], 502, False), (4, ["error"], "server_error", True)],
)
def test_an_error_in_a_stream_takes_its_shape(
    shape: Literal[1, 2, 3, 4], finish_reasons: list[str | None], code: int | str, done: bool
) -> None:
    text = ask(FakeProvider().fail(Fault.stream_error(shape)), chat(stream=True)).text
    last = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")][-1]
    assert finish_reasons == [choice["finish_reason"] for choice in last["choices"]]
    assert (code, done) == (last["error"]["code"], text.endswith("data: [DONE]\n\n"))


def test_a_script_that_has_run_out_is_a_violation() -> None:
    provider = FakeProvider(chat=["one"])
    statuses = [ask(provider, chat()).status_code for _ in range(2)]
    assert ([200, 500], 1) == (statuses, len(provider.violations))


def test_errors_carry_what_must_not_be_told_on() -> None:
    """A test for leaks can only fail if there is something to leak."""
    secret = chat(messages=[{"role": "user", "content": "my secret"}])
    for status in (400, 403, 429):
        body = ask(FakeProvider().fail(Fault.status(status)), secret).text
        assert ACCOUNT_ID in body
        assert "my secret" in body


@pytest.mark.parametrize(
    ("form", "header", "value"),
    [("seconds", "retry-after", "2"), ("milliseconds", "retry-after-ms", "2000"), ("date", "retry-after", " GMT")],
)
def test_a_host_asks_to_wait_in_three_forms(
    form: Literal["seconds", "milliseconds", "date"], header: str, value: str
) -> None:
    response = ask(FakeProvider().fail(Fault.status(429, retry_after=2, form=form)), chat())
    assert response.headers[header].endswith(value)


@pytest.fixture(scope="module")
def faulty() -> Iterator[tuple[FakeProvider, str]]:
    provider = FakeProvider(chat=lambda received: by_name[received.body["user"]], guard=lambda *_: "safe")
    by_name = {fault.name: fault for fault in (*FAILURES, Fault.prose(), Fault.cut("after_body"))}
    with provider.serve() as base_url:
        yield provider, f"{base_url}/chat/completions"


def outcome(client: httpx.Client, url: str, body: dict[str, Any]) -> tuple[Any, ...]:
    """What a caller saw: status and beginning of the body, and how it ended."""
    status, seen = 0, b""
    try:
        with client.stream("POST", url, json=body, headers=KEY) as response:
            status = response.status_code
            for piece in response.iter_raw():
                seen += piece
                if len(seen) > ENOUGH_FILLER and not {*b"{<"} & {*seen}:
                    return status, "endless"
    except httpx.TransportError as error:
        return status, type(error).__name__, len(seen)
    return status, "complete", len(seen)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("fault", [*FAILURES, Fault.prose(), Fault.cut("after_body")], ids=str)
def test_a_fault_looks_the_same_with_and_without_a_socket(
    faulty: tuple[FakeProvider, str], fault: Fault, stream: bool
) -> None:
    provider, url = faulty
    body = chat(user=fault.name, stream=stream)
    with httpx.Client(timeout=httpx.Timeout(5, read=0.05)) as real, provider.client() as mock:
        assert outcome(real, url, body) == outcome(mock, URL, body)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("fault", FAILURES, ids=str)
def test_no_failure_looks_like_an_answer(fault: Fault, stream: bool) -> None:
    """Neither the first nor the last look at it is that of the answer that would have come."""
    good, body = FakeProvider(), chat(stream=stream)
    with good.client() as well, FakeProvider().fail(fault).client() as ill:
        assert outcome(ill, URL, body) != outcome(well, URL, body)


async def test_async_clients_meet_the_same_provider() -> None:
    provider = FakeProvider(chat=["Hi", Fault.cut("in_body", body_bytes=3)])
    async with provider.async_client() as client:
        response = await client.post(URL, json=chat(), headers=KEY)
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post(URL, json=chat(), headers=KEY)
    assert "Hi" == response.json()["choices"][0]["message"]["content"]
    assert 0 == provider.responses_open


def test_a_response_that_nobody_closes_is_counted() -> None:
    provider = FakeProvider()
    with provider.client() as client:
        request = client.build_request("POST", URL, json=chat(stream=True), headers=KEY)
        response = client.send(request, stream=True)
        assert 1 == provider.responses_open
        response.close()
    assert 0 == provider.responses_open


def test_a_served_connection_is_kept_and_its_end_is_seen() -> None:
    provider = FakeProvider()
    with provider.serve() as base_url, httpx.Client(headers=KEY) as client:
        for _ in range(3):
            client.post(f"{base_url}/chat/completions", json=chat())
        assert (1, 1) == (provider.connections_made, provider.connections_open)
        client.close()
        assert provider.wait_for_connections(0)


@pytest.mark.parametrize("fault", [Fault.stall("in_body"), Fault.endless(), Fault.trickle(size=1, pause=60)], ids=str)
def test_serving_stops_at_once_in_the_middle_of_an_answer(fault: Fault) -> None:
    provider = FakeProvider().fail(fault)
    with httpx.Client(headers=KEY) as client:
        with provider.serve() as base_url:
            request = client.build_request("POST", f"{base_url}/chat/completions", json=chat(stream=True))
            response = client.send(request, stream=True)
        with pytest.raises(httpx.TransportError):
            response.read()
        response.close()
    assert 0 == provider.connections_open


def test_a_script_may_say_the_very_bytes() -> None:
    answer = Answer(418, {"x-odd": "yes"}, (b"short", b" and stout"))
    response = ask(FakeProvider(chat=[answer]), chat())
    assert (418, "yes", b"short and stout") == (response.status_code, response.headers["x-odd"], response.content)


class Line(BaseModel):
    article: str = Field(min_length=12)
    count: int = Field(gt=2, le=9)


class Order(BaseModel):
    lines: list[Line] = Field(min_length=2)
    kind: Literal["gift", "plain"]
    note: str | None
    weight: float
    paid: bool


def test_an_instance_satisfies_its_schema_and_takes_what_the_user_named() -> None:
    order = Order.model_validate(instance_of(Order.model_json_schema(), hints_in("Give me 7 'pencils' and 100 more")))
    assert ("pencils.....", 7) == (order.lines[0].article, order.lines[0].count)


def test_the_fake_shares_no_code_with_what_it_measures() -> None:
    sources = Path(package.__file__).parent.glob("*.py")
    assert [] == [source.name for source in sources if "llama_guard" in source.read_text(encoding="utf-8")]
