"""The fake host takes what the real API takes, and nothing else."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fake_provider import BASE_URL, FakeProvider

URL = f"{BASE_URL}/chat/completions"
KEY = {"authorization": "Bearer sk-or-v1-nobody"}
PIXEL = "data:image/png;base64,iVBORw0KGgo="
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}
USER = {"role": "user", "content": "Hello"}
IMAGE = {"type": "image_url", "image_url": {"url": PIXEL}}
TEXT = {"type": "text", "text": "What is this?"}
SCHEMA = {"name": "joke", "schema": {"type": "object", "properties": {}}}


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "meta-llama/llama-4-scout", "messages": [USER], **fields}


def guard(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    asked = {"model": "meta-llama/llama-guard-4-12b", "messages": list(messages or [USER])}
    return {**asked, "max_tokens": 64, "temperature": 0, **fields}


def saying(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return chat(messages=list(messages), **fields)


def ask(provider: FakeProvider, body: object, url: str = URL) -> httpx.Response:
    with provider.client() as client:
        return client.post(url, json=body, headers=KEY)


GOOD = {
    "a text": chat(),
    "many settings": chat(max_tokens=1, temperature=0, top_p=1.0, stop=["a", "b"], seed=7, user="u", stream=False),
    "routing": chat(provider={"order": ["deepinfra/turbo"], "sort": {"by": "price"}, "max_price": {"prompt": "0.2"}}),
    "pictures": saying({"role": "user", "content": [TEXT, IMAGE]}),
    "a picture by address": saying(
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}
    ),
    "a called tool": saying(USER, CALLING, RESULT, tools=[TOOL], tool_choice="required"),
    "a named tool": chat(tools=[TOOL], tool_choice={"type": "function", "function": {"name": "get_weather"}}),
    "a schema": chat(response_format={"type": "json_schema", "json_schema": SCHEMA}),
    "a guard": guard(),
    "a guard asked about a reply": guard(USER, {"role": "assistant", "content": "Hi"}),
    "a guard asked about a picture": guard({"role": "user", "content": [IMAGE, TEXT]}),
}

BAD: dict[str, dict[str, object]] = {
    "is required": {
        "no model": {"messages": [USER]},
    },
    "not a JSON object": {
        "a list": [chat()],
    },
    "messages is not what": {
        "no messages": chat(messages=[]),
    },
    "unknown field: max_token": {
        "an unknown field": chat(max_token=5),
    },
    "temperature is null": {
        "a null field": chat(temperature=None),
    },
    "max_tokens is not what": {
        "max_tokens of 0": chat(max_tokens=0),
        "max_tokens as true": chat(max_tokens=True),
        "max_tokens as float": chat(max_tokens=5.0),
    },
    "temperature is not what": {
        "too hot": chat(temperature=2.1),
    },
    "stop is not what": {
        "five stop words": chat(stop=list("abcde")),
        "no stop words": chat(stop=[]),
    },
    "tools is not what": {
        "no tools in the list": chat(tools=[]),
        "a tool in another dialect": chat(tools=[{"name": "t", "input_schema": {"type": "object"}}]),
        "a tool that takes a string": chat(
            tools=[{"type": "function", "function": {"name": "t", "parameters": {"type": "string"}}}]
        ),
        "a tool with a blank in its name": chat(tools=[{"type": "function", "function": {"name": "get weather"}}]),
    },
    "tool_choice without tools": {
        "a tool choice without tools": chat(tool_choice="auto"),
    },
    "tool_choice is not what": {
        "a tool choice unknown": chat(tools=[TOOL], tool_choice="any"),
    },
    "tool_choice names a tool that is not there": {
        "a tool that is not there": chat(tools=[TOOL], tool_choice={"type": "function", "function": {"name": "other"}}),
    },
    "two tools have one name": {
        "a tool twice": chat(tools=[TOOL, TOOL]),
    },
    "response_format is not what": {
        "a schema without name": chat(
            response_format={"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}
        ),
        "an empty schema": chat(response_format={"type": "json_schema", "json_schema": {"name": "joke", "schema": {}}}),
    },
    "provider is not what": {
        "a misspelt routing key": chat(provider={"orders": ["deepinfra"]}),
        "a display name as slug": chat(provider={"only": ["DeepInfra"]}),
    },
    "top_logprobs needs logprobs": {
        "top_logprobs alone": chat(top_logprobs=3),
    },
    "known role": {
        "an unknown role": saying({"role": "human", "content": "Hello"}),
    },
    "unknown key: id": {
        "an unknown key in a message": saying({**USER, "id": "run-1"}),
    },
    "name is null": {
        "a null name": saying({**USER, "name": None}),
    },
    "neither a text nor a list of parts": {
        "no content": saying({"role": "user", "content": None}),
        "an empty list of parts": saying({"role": "user", "content": []}),
    },
    "unknown content part": {
        "an unknown part": saying({"role": "user", "content": [TEXT, {"type": "tool_use", "id": "a"}]}),
    },
    "malformed part of type text": {
        "a part with an unknown key": saying({"role": "user", "content": [{**TEXT, "index": 0}]}),
    },
    "needs content or tool_calls": {
        "an assistant without anything": saying(USER, {"role": "assistant", "content": None}),
    },
    "image_url is not allowed here": {
        "a picture from an assistant": saying(USER, {"role": "assistant", "content": [IMAGE]}),
        "a picture from the system": saying({"role": "system", "content": [IMAGE]}, USER),
    },
    "answers no call": {
        "a result nobody asked for": saying(USER, RESULT),
        "a result under another id": saying(USER, CALLING, {**RESULT, "tool_call_id": "call_2"}),
        "a result twice": saying(USER, CALLING, RESULT, RESULT),
    },
    "needs tool_call_id": {
        "a result without id": saying(USER, CALLING, {"role": "tool", "content": "sunny"}),
    },
    "was not answered": {
        "a call not answered at the end": saying(USER, CALLING),
        "a call not answered before more is said": saying(USER, CALLING, USER, RESULT),
    },
    "not a list of calls": {
        "a call with arguments as an object": saying(
            USER, {**CALLING, "tool_calls": [{**CALL, "function": {"name": "get_weather", "arguments": {}}}]}, RESULT
        ),
        "no calls in the list": saying(USER, {"role": "assistant", "content": "Hi", "tool_calls": []}),
    },
    "roles must alternate": {
        "a guard with a system message": guard({"role": "system", "content": "Be strict"}, USER),
        "a guard asked about a lone reply": guard({"role": "assistant", "content": "Hi"}),
        "a guard with two user turns": guard(USER, USER),
        "a guard with a tool result": guard(USER, CALLING, RESULT),
    },
    "a guard does not take": {
        "a guard with tools": guard(tools=[TOOL]),
        "a guard with a response format": guard(response_format={"type": "json_object"}),
    },
    "at least 16": {
        "a guard with too few tokens": guard(max_tokens=15),
        "a guard without max_tokens": {k: v for k, v in guard().items() if k != "max_tokens"},
    },
    "at temperature 0": {
        "a warm guard": guard(temperature=0.1),
    },
    "a guard's turn has a part of text": {
        "a guard with a picture only": guard({"role": "user", "content": [IMAGE]}),
    },
    "a guard's turn has no name": {
        "a guard with a named user": guard({**USER, "name": "ann"}),
    },
}
"""What the refusal says → requests that are refused with it."""

BAD_PICTURES = [
    "data:image/png;base64",
    "data:image/png;base64,",
    "data:image/png;base64,A*",
    "data:image/bmp;base64,AAAA",
    "file:///a.png",
]


@pytest.mark.parametrize("body", GOOD.values(), ids=GOOD)
def test_what_the_api_takes_is_answered(body: dict[str, Any]) -> None:
    provider = FakeProvider()
    assert 200 == ask(provider, body).status_code
    assert [] == provider.violations
    assert [body] == [received.body for received in provider.requests]


@pytest.mark.parametrize(
    ("reason", "body"),
    [pytest.param(reason, body, id=name) for reason, rows in BAD.items() for name, body in rows.items()],
)
def test_what_the_api_does_not_take_is_refused_for_its_reason_and_noted(reason: str, body: object) -> None:
    provider = FakeProvider()
    response = ask(provider, body)
    assert 400 == response.status_code
    assert reason in response.json()["error"]["message"]
    assert reason in provider.violations[0]
    assert [] == provider.requests


@pytest.mark.parametrize("url", BAD_PICTURES)
def test_a_picture_that_no_host_could_read_is_refused(url: str) -> None:
    part = {"type": "image_url", "image_url": {"url": url}}
    assert 400 == ask(FakeProvider(), saying({"role": "user", "content": [TEXT, part]})).status_code


@pytest.mark.parametrize("headers", [{}, {"authorization": "sk-or"}, {"authorization": "Bearer "}])
def test_a_request_without_a_bearer_key_is_not_authenticated(headers: dict[str, str]) -> None:
    provider = FakeProvider()
    with provider.client() as client:
        response = client.post(URL, json=chat(), headers=headers)
    assert (401, b'{"error":{"code":401,"message":"Missing Authentication header"}}') == (
        response.status_code,
        response.content,
    )


def test_a_wrong_path_finds_a_web_page() -> None:
    response = ask(FakeProvider(), chat(), "https://openrouter.ai/chat/completions")
    assert (404, "text/html") == (response.status_code, response.headers["content-type"][:9])
