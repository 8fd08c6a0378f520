"""When a model opens something, who may use it at once, and when it is closed."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from typing import Any, NoReturn

import httpx
import pytest
from fake_provider import FakeProvider
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool

from langchain_llama_guard import ChatLlamaScout, LlamaGuard

Scout = Callable[..., ChatLlamaScout]


def test_making_a_model_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No client, no certificates, no connection: a model costs what its settings cost."""

    def opened(*_: Any, **__: Any) -> NoReturn:
        raise AssertionError

    for name in ("Client", "AsyncClient", "HTTPTransport", "AsyncHTTPTransport", "create_ssl_context"):
        monkeypatch.setattr(httpx, name, opened)
    model = ChatLlamaScout(api_key="k", guard=LlamaGuard(api_key="k"))
    model.bind_tools([weather]).with_config(tags=["a"])
    model.get_num_tokens("Hello")
    model.close()


def test_a_model_is_used_in_one_event_loop_after_another(provider: FakeProvider) -> None:
    """Each `asyncio.run` has a loop of its own; one model and its guard serve all, and leave nothing open."""
    with provider.serve() as base_url:
        host = {"base_url": base_url, "api_key": "k"}
        model = ChatLlamaScout(**host, guard=LlamaGuard(**host))

        async def talk() -> str:
            answers = await asyncio.gather(*(model.ainvoke("Hello") for _ in range(3)))
            streamed = [chunk.text async for chunk in model.astream("Hello")]
            assert "".join(streamed) == answers[0].text
            return str(answers[0].text)

        assert 1 == len({asyncio.run(talk()) for _ in range(3)})
        assert provider.wait_for_connections(0)


async def test_sync_and_async_calls_share_a_model(provider: FakeProvider) -> None:
    """The two kinds have clients of their own; closing one leaves the other in use."""
    with provider.serve() as base_url:
        model = ChatLlamaScout(base_url=base_url, api_key="k")
        assert model.invoke("Hello").text == (await model.ainvoke("Hello")).text
        assert provider.wait_for_connections(2)
        model.close()
        assert provider.wait_for_connections(1)
        assert (await model.ainvoke("Hello")).text
        await model.aclose()
        assert provider.wait_for_connections(0)


async def test_a_closed_model_opens_again(provider: FakeProvider) -> None:
    """Closing twice is allowed, and a call after it opens a new connection."""
    with provider.serve() as base_url:
        model = ChatLlamaScout(base_url=base_url, api_key="k")
        for _ in range(2):
            model.invoke("Hello")
            model.close()
            model.close()
            await model.ainvoke("Hello")
            await model.aclose()
            await model.aclose()
        assert provider.wait_for_connections(0)
        assert 4 == provider.connections_made


async def test_context_managers_close(provider: FakeProvider) -> None:
    """`with` closes the sync, `async with` the async connections."""
    with provider.serve() as base_url:
        with ChatLlamaScout(base_url=base_url, api_key="k") as model:
            model.invoke("Hello")
            assert provider.wait_for_connections(1)
        assert provider.wait_for_connections(0)
        async with ChatLlamaScout(base_url=base_url, api_key="k") as model:
            await model.ainvoke("Hello")
            assert provider.wait_for_connections(1)
        assert provider.wait_for_connections(0)


def test_a_dropped_model_leaves_no_connection(provider: FakeProvider) -> None:
    """Who forgets to close a model leaks nothing once it is gone."""
    with provider.serve() as base_url:
        for _ in range(3):
            ChatLlamaScout(base_url=base_url, api_key="k").invoke("Hello")
        gc.collect()
        assert provider.wait_for_connections(0)


def test_a_users_client_is_used_and_not_closed(provider: FakeProvider) -> None:
    """What the user opened the user closes."""
    with provider.client() as client:
        with ChatLlamaScout(api_key="k", http_client=client) as model:
            model.invoke("Hello")
        assert not client.is_closed
    assert 1 == len(provider.requests)


def test_a_connection_is_used_again(provider: FakeProvider) -> None:
    """Calls one after the other, streamed ones included, go through one connection."""
    with provider.serve() as base_url, ChatLlamaScout(base_url=base_url, api_key="k") as model:
        for _ in range(3):
            model.invoke("Hello")
            list(model.stream("Hello"))
        assert 1 == provider.connections_made


def test_several_threads_share_a_model(provider: FakeProvider) -> None:
    """Threads get their own answers from one model."""
    with provider.serve() as base_url, ChatLlamaScout(base_url=base_url, api_key="k") as model:
        answers: dict[int, str] = {}
        start = threading.Barrier(8)

        def ask(number: int) -> None:
            start.wait()
            schema = {"title": "Number", "type": "object", "properties": {"number": {"type": "integer"}}}
            chain = model.with_structured_output({**schema, "required": ["number"]}, method="json_schema")
            answers[number] = chain.invoke(f"The number is {number}")["number"]

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {number: number for number in range(8)} == answers


def test_a_copy_has_clients_of_its_own(scout: Scout, provider: FakeProvider) -> None:
    """Settings that a copy changes hold for it although the original was used before, and the other way round."""
    model = scout(default_headers={"X-Who": "original"})
    model.invoke("Hello")
    copied = model.model_copy(update={"default_headers": {"X-Who": "copy"}})
    copied.invoke("Hello")
    copied.close()
    model.invoke("Hello")
    assert ["original", "copy", "original"] == [received.headers["x-who"] for received in provider.requests]


@tool
def weather(city: str) -> str:
    """Tell the weather of a city, as far as it is known, in a sentence or two."""
    return city


def test_tokens_are_counted_offline(scout: Scout, provider: FakeProvider) -> None:
    """Texts, messages, pictures and tools are reckoned without a network, a download or another package."""
    model = scout()
    assert 0 < model.get_num_tokens("Hello") < model.get_num_tokens("Hello " * 50)
    messages = [HumanMessage("How is the weather in Bern?"), AIMessage("", tool_calls=[])]
    picture = HumanMessage([{"type": "image", "url": "https://example.com/a.png"}])
    alone = model.get_num_tokens_from_messages(messages)
    assert alone < model.get_num_tokens_from_messages([*messages, picture])
    assert alone + 20 < model.get_num_tokens_from_messages(messages, tools=[weather])
    assert [] == provider.requests


def test_the_profile_holds_safe_limits() -> None:
    """Scout's profile names limits that every endpoint keeps; another model has none, and a user's wins."""
    profile = ChatLlamaScout().profile
    assert profile is not None
    assert (327_680, True, True) == (profile["max_input_tokens"], profile["tool_calling"], profile["image_inputs"])
    assert not profile["audio_inputs"]
    assert not profile["structured_output"]
    assert not ChatLlamaScout(model="meta-llama/llama-3.3-70b-instruct").profile
    assert {"max_input_tokens": 8_192} == ChatLlamaScout(profile={"max_input_tokens": 8_192}).profile
