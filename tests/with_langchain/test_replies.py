"""What a reply holds, whole and streamed: text, tool calls, usage and metadata, each once and whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fake_provider import FakeProvider, Reply, ToolCall, Usage
from langchain_core.callbacks import BaseCallbackHandler, UsageMetadataCallbackHandler
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, HumanMessage
from langchain_tests.utils.stream_lifecycle import assert_valid_event_stream
from with_langchain.four_ways import Ask, every_way, streamed_ways

from langchain_llama_guard import ChatLlamaScout

pytestmark = pytest.mark.filterwarnings("ignore:.*is in beta")

Scout = Callable[..., ChatLlamaScout]

BOTH = Reply(
    "I will look. ",
    (ToolCall("weather", '{"city": "Bern"}', "call_a"), ToolCall("weather", '{"city": "Graz"}', "call_b")),
    reasoning="They want two cities.",
)
CALLS = [("weather", {"city": "Bern"}, "call_a"), ("weather", {"city": "Graz"}, "call_b")]
TOLD = Usage(100, 20, cached_tokens=64, reasoning_tokens=3, cost=0.25)


def calls_of(message: AIMessage) -> list[tuple[str, dict[str, Any], str | None]]:
    return [(call["name"], call["args"], call["id"]) for call in message.tool_calls]


def blocks_of(message: AIMessage) -> list[tuple[str, Any]]:
    """The standard blocks, as kind and what matters of them."""
    kinds = {"text": "text", "reasoning": "reasoning", "tool_call": "args"}
    return [(block["type"], block[kinds[block["type"]]]) for block in message.content_blocks]


IN_BLOCKS = [
    ("reasoning", "They want two cities."),
    ("text", "I will look. "),
    ("tool_call", {"city": "Bern"}),
    ("tool_call", {"city": "Graz"}),
]


@pytest.fixture(params=["fragments", "repeat_names", "one_index"])
def two_calls(request: pytest.FixtureRequest) -> FakeProvider:
    """A host that says text and two calls, in each of the ways streams send them."""
    return FakeProvider(chat=lambda _: BOTH, tool_deltas=request.param)


@pytest.fixture
def caller(two_calls: FakeProvider) -> Scout:
    clients = {"http_client": two_calls.client(), "http_async_client": two_calls.async_client()}
    return lambda **settings: ChatLlamaScout(api_key="sk-or-v1-test", **clients, **settings)


@every_way
@pytest.mark.parametrize("output_version", ["v0", "v1"])
async def test_text_and_tool_calls_stay_apart(caller: Scout, ask: Ask, output_version: str) -> None:
    """Text before two calls: both come out, under either version, however the stream cut and numbered them."""
    message = await ask(caller(output_version=output_version), "Weather?")
    assert "I will look. " == message.text
    assert CALLS == calls_of(message)
    assert [] == message.invalid_tool_calls
    assert IN_BLOCKS == blocks_of(message)


def test_v3_events_hold_text_and_both_calls(caller: Scout) -> None:
    """The events of protocol 3 are well-formed and add up to the whole reply."""
    stream = caller().stream_events("Weather?", version="v3")
    assert_valid_event_stream(list(stream))
    assert CALLS == calls_of(stream.output)
    assert IN_BLOCKS == blocks_of(stream.output)


async def test_async_v3_events_hold_text_and_both_calls(caller: Scout) -> None:
    """The same from an event loop."""
    stream = await caller().astream_events("Weather?", version="v3")
    assert_valid_event_stream([event async for event in stream])
    message = await stream.output
    assert CALLS == calls_of(message)
    assert IN_BLOCKS == blocks_of(message)


async def test_v2_events_show_each_chunk_once(caller: Scout) -> None:
    """The chunks that `astream_events` shows add up to the reply that it ends with."""
    events = [event async for event in caller().astream_events("Weather?", version="v2")]
    shown = [event["data"]["chunk"] for event in events if event["event"] == "on_chat_model_stream"]
    whole = shown[0]
    for chunk in shown[1:]:
        whole += chunk
    assert CALLS == calls_of(whole) == calls_of(events[-1]["data"]["output"])
    assert "I will look. " == whole.text


@every_way
@pytest.mark.parametrize("output_version", ["v0", "v1"])
async def test_every_reply_can_be_sent_back(
    caller: Scout, two_calls: FakeProvider, ask: Ask, output_version: str
) -> None:
    """A reply in the history goes out as text and calls; what the model thought stays here."""
    message = await ask(caller(output_version=output_version), "Weather?")
    results = [{"role": "tool", "tool_call_id": call_id, "content": "rain"} for *_, call_id in CALLS]
    await ask(caller(), [HumanMessage("Weather?"), message, *results])
    sent = two_calls.requests[-1].messages[1]
    assert [] == two_calls.violations
    assert "I will look. " == (sent["content"] if isinstance(sent["content"], str) else sent["content"][0]["text"])
    assert ["call_a", "call_b"] == [call["id"] for call in sent["tool_calls"]]
    assert "They want" not in str(sent)


@every_way
@pytest.mark.parametrize("output_version", ["v0", "v1"])
async def test_a_refusal_of_the_model_is_kept_and_can_be_sent_back(ask: Ask, output_version: str) -> None:
    """A refusal is in the message and its blocks, raises under a schema, and goes back as what was said."""
    provider = FakeProvider(chat=lambda _: Reply(None, refusal="I will not."))
    model = ChatLlamaScout(
        api_key="sk-or-v1-test",
        output_version=output_version,
        http_client=provider.client(),
        http_async_client=provider.async_client(),
    )
    message = await ask(model, "Weather?")
    assert "I will not." == message.additional_kwargs["refusal"]
    assert "I will not." in str(message.content_blocks)
    await ask(model, [HumanMessage("Weather?"), message, HumanMessage("Please.")])
    assert "I will not." in str(provider.requests[-1].messages[1]["content"])
    with pytest.raises(Exception, match="refused by the model") as caught:
        await ask(model.with_structured_output({"title": "Answer", "type": "object"}, method="json_schema"), "Hi")
    assert not isinstance(caught.value, OutputParserException)


@every_way
@pytest.mark.parametrize("shape", ["choice", "empty", "every", "repeat"])
async def test_usage_and_metadata_come_once(ask: Ask, shape: Any) -> None:
    """Wherever a stream tells its usage, it is counted once, and no word of the metadata is doubled."""
    provider = FakeProvider(chat=lambda _: Reply("Yes.", usage=TOLD), usage=shape)
    clients = {"http_client": provider.client(), "http_async_client": provider.async_client()}
    message = await ask(ChatLlamaScout(api_key="sk-or-v1-test", **clients), "Really?")
    assert {
        "input_tokens": 100,
        "output_tokens": 20,
        "total_tokens": 120,
        "input_token_details": {"cache_read": 64, "cache_creation": 0},
        "output_token_details": {"reasoning": 3},
    } == message.usage_metadata
    told = message.response_metadata
    assert "meta-llama/llama-4-scout-17b-16e-instruct" == told["model_name"]
    assert ("stop", "stop", "DeepInfra", 0.25, "llama-guardrails") == tuple(
        told[key] for key in ("finish_reason", "native_finish_reason", "provider", "cost", "model_provider")
    )
    assert told["id"].startswith("gen-")


@streamed_ways
async def test_the_last_chunk_says_that_it_is_the_last(scout: Scout, ask: Ask) -> None:
    """Only the last chunk is marked, and it alone carries usage."""
    model = scout()
    chunks = list(model.stream("Hello")) if ask.__name__ == "stream" else [c async for c in model.astream("Hello")]
    assert ["last"] == [chunk.chunk_position for chunk in chunks if chunk.chunk_position]
    assert chunks[-1].usage_metadata is not None
    assert [] == [chunk for chunk in chunks[:-1] if chunk.usage_metadata]


@every_way
async def test_usage_is_counted_by_langchains_own_handler(scout: Scout, ask: Ask) -> None:
    """The handler finds the answering model and the tokens, as one call's."""
    counting = UsageMetadataCallbackHandler()
    message = await ask(scout(), "Hello", config={"callbacks": [counting]})
    assert {message.response_metadata["model_name"]: message.usage_metadata} == counting.usage_metadata


async def test_streaming_settings_are_followed(scout: Scout, provider: FakeProvider) -> None:
    """`streaming=True` makes `invoke` stream; `disable_streaming` and `streaming=False` make `stream` not."""
    scout(streaming=True).invoke("Hello")
    await scout(streaming=True).ainvoke("Hello")
    assert [True, True] == [received.stream for received in provider.requests]
    provider.requests.clear()
    for settings in ({"disable_streaming": True}, {"streaming": False}):
        assert 1 == len(list(scout(**settings).stream("Hello")))
        assert 1 == len([chunk async for chunk in scout(**settings).astream("Hello")])
    list(scout(disable_streaming="tool_calling").bind_tools([weather]).stream("Hello"))
    assert [False] * 5 == [received.stream for received in provider.requests]
    list(scout().stream("Hello"))
    assert provider.requests[-1].stream


def weather(city: str) -> str:
    """Tell the weather of a city."""
    return city


class Watching(BaseCallbackHandler):
    def __init__(self) -> None:
        self.tokens: list[str] = []

    def on_llm_new_token(self, token: str, **_: Any) -> None:
        self.tokens.append(token)


@every_way
async def test_callbacks_see_the_tokens_of_a_stream(scout: Scout, ask: Ask) -> None:
    """`on_llm_new_token` is called once for each chunk that is handed out."""
    watching = Watching()
    message = await ask(scout(streaming=True), "Hello", config={"callbacks": [watching]})
    assert message.text == "".join(watching.tokens)
