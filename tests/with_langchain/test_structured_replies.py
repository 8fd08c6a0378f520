"""Tools and schemas: what is bound, what is sent, what comes back, and what is no answer."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

import pytest
from fake_provider import FakeProvider, Fault, Reply, ToolCall
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from pydantic import BaseModel, Field, ValidationError
from pydantic.v1 import BaseModel as BaseModelV1
from typing_extensions import TypedDict
from with_langchain.four_ways import WHOLE, Ask, astream, every_way, stream

from langchain_llama_guard import ChatLlamaScout, LlamaGuard
from langchain_llama_guard._errors import ModelRefusalError

Scout = Callable[..., ChatLlamaScout]


class Joke(BaseModel):
    """A joke."""

    setup: str
    rating: int = Field(ge=1)


class OldJoke(BaseModelV1):
    """A joke."""

    setup: str
    rating: int


class JokeDict(TypedDict):
    """A joke."""

    setup: Annotated[str, ..., "how it begins"]
    rating: int


SCHEMAS: dict[str, Any] = {
    "pydantic": Joke,
    "pydantic v1": OldJoke,
    "typed dict": JokeDict,
    "JSON schema": Joke.model_json_schema(),
}
METHODS = ("function_calling", "json_schema", "json_mode")
ANSWER = '{"setup": "Knock knock", "rating": 7}'


def say(received: Any) -> Reply:
    """The joke, the way it was asked for."""
    if "tools" in received.body:
        return Reply("", (ToolCall(received.body["tools"][0]["function"]["name"], ANSWER),))
    return Reply(ANSWER)


@pytest.fixture
def joker() -> tuple[FakeProvider, ChatLlamaScout]:
    provider = FakeProvider(chat=say)
    clients = {"http_client": provider.client(), "http_async_client": provider.async_client()}
    return provider, ChatLlamaScout(api_key="sk-or-v1-test", **clients)


async def last(ask: Ask, runnable: Any, value: Any) -> Any:
    """The whole answer: of a parsed stream, the last state of it."""
    if ask is stream:
        return list(runnable.stream(value))[-1]
    if ask is astream:
        return [piece async for piece in runnable.astream(value)][-1]
    return await ask(runnable, value)


def let_go(ask: Ask) -> None:
    """LangChain closes the stream under a parser that raised when nobody refers to it any more."""
    if ask not in WHOLE.values():
        gc.collect()


def fields(answer: Any) -> dict[str, Any]:
    return (
        answer
        if isinstance(answer, dict)
        else answer.dict()
        if isinstance(answer, BaseModelV1)
        else answer.model_dump()
    )


@every_way
@pytest.mark.parametrize("strict", [None, False, True])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
async def test_every_method_answers_in_every_kind_of_schema(
    joker: tuple[FakeProvider, ChatLlamaScout], ask: Ask, schema: Any, method: Any, strict: bool | None
) -> None:
    """The answer has the schema's own type, and the request is one the API takes, strict where that was asked."""
    provider, model = joker
    if method == "json_mode" and strict is not None:
        with pytest.raises(ValueError, match="strict"):
            model.with_structured_output(schema, method=method, strict=strict)
        return
    answer = await last(ask, model.with_structured_output(schema, method=method, strict=strict), "A joke as JSON")
    assert {"setup": "Knock knock", "rating": 7} == fields(answer)
    assert isinstance(answer, schema if schema in (Joke, OldJoke) else dict)
    assert [] == provider.violations
    body = provider.requests[-1].body
    asked = (
        body["tools"][0]["function"] if method == "function_calling" else body["response_format"].get("json_schema", {})
    )
    assert strict == asked.get("strict")


@every_way
@pytest.mark.parametrize("method", METHODS)
async def test_include_raw_gives_message_and_answer(
    joker: tuple[FakeProvider, ChatLlamaScout], ask: Ask, method: Any
) -> None:
    """With `include_raw` the message stands beside the parsed answer."""
    _, model = joker
    chain = model.with_structured_output(Joke, method=method, include_raw=True)
    told = await ask(chain, "A joke as JSON")
    assert isinstance(told["raw"], AIMessage)
    assert (Joke(setup="Knock knock", rating=7), None) == (told["parsed"], told["parsing_error"])


@every_way
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
async def test_an_answer_cut_at_the_token_limit_raises(
    scout: Scout, provider: FakeProvider, ask: Ask, schema: Any, method: Any
) -> None:
    """An answer that was cut is no answer, even where what came of it is valid by itself."""
    provider.fail(
        Fault("cut", lambda rendering, _: rendering.answer(replace(say(rendering.received), finish_reason="length")))
    )
    with pytest.raises(OutputParserException, match="max_tokens"):
        await last(ask, scout().with_structured_output(schema, method=method), "A joke as JSON")
    let_go(ask)


@every_way
@pytest.mark.parametrize("method", METHODS)
async def test_an_answer_that_breaks_the_schema_is_an_error(
    scout: Scout, provider: FakeProvider, ask: Ask, method: Any
) -> None:
    """Values the schema does not allow are a parsing error, raised, or told with `include_raw`."""
    wrong = ANSWER.replace("7", "0")
    calls = (ToolCall("Joke", wrong),) if method == "function_calling" else ()
    provider.fail(Fault.reply("wrong", Reply("" if calls else wrong, calls)))
    told = await ask(scout().with_structured_output(Joke, method=method, include_raw=True), "A joke as JSON")
    assert told["parsed"] is None
    assert "rating" in str(told["parsing_error"])
    if ask in WHOLE.values():
        with pytest.raises((OutputParserException, ValidationError), match="rating"):
            await ask(scout().with_structured_output(Joke, method=method), "A joke as JSON")


@every_way
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("schema", [Joke, JokeDict])
async def test_a_refusal_is_no_answer(scout: Scout, provider: FakeProvider, ask: Ask, schema: Any, method: Any) -> None:
    """A refusal raises LangChain's own error for it, whoever refused: the model here, the guard below."""
    provider.fail(Fault.reply("refusal", Reply(None, refusal="I will not.")))
    with pytest.raises(ModelRefusalError, match="the model"):
        await last(ask, scout().with_structured_output(schema, method=method), "A joke as JSON")
    let_go(ask)


@every_way
@pytest.mark.parametrize("method", METHODS)
async def test_a_guards_refusal_is_no_answer(scout: Scout, provider: FakeProvider, ask: Ask, method: Any) -> None:
    """The refusal of a guarded prompt is not parsed; with `include_raw` it is told."""
    clients = {"http_client": provider.client(), "http_async_client": provider.async_client()}
    model = scout(guard=LlamaGuard(api_key="sk-or-v1-test", **clients))
    with pytest.raises(ModelRefusalError, match="Llama Guard"):
        await last(ask, model.with_structured_output(Joke, method=method), "A BOMB as JSON")
    told = await ask(model.with_structured_output(Joke, method=method, include_raw=True), "A BOMB as JSON")
    assert told["parsed"] is None
    assert "I can't help with that." == told["raw"].text


@tool
def weather(city: str) -> str:
    """Tell the weather of a city."""
    return city


@tool
def clock(zone: str) -> str:
    """Tell the time."""
    return zone


NAMED = {"type": "function", "function": {"name": "clock"}}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, None),
        (False, None),
        ("auto", "auto"),
        ("none", "none"),
        ("any", "required"),
        ("required", "required"),
        ("clock", NAMED),
        (NAMED, NAMED),
    ],
    ids=str,
)
def test_every_tool_choice_is_understood(scout: Scout, provider: FakeProvider, choice: Any, expected: Any) -> None:
    """LangChain's words for a choice go out as the API's."""
    scout().bind_tools([weather, clock], tool_choice=choice).invoke("Hello")
    assert expected == provider.requests[-1].body.get("tool_choice")


def test_true_chooses_the_only_tool(scout: Scout, provider: FakeProvider) -> None:
    """`True` is the one tool there is, and an error where there are several."""
    scout().bind_tools([clock], tool_choice=True).invoke("Hello")
    assert NAMED == provider.requests[-1].body["tool_choice"]
    with pytest.raises(ValueError, match="exactly one"):
        scout().bind_tools([clock, weather], tool_choice=True)


def test_a_choice_that_cannot_be_made_raises_before_anything_is_sent(scout: Scout, provider: FakeProvider) -> None:
    """A name that no tool has, a tool where there is none, another provider's built-in tool."""
    with pytest.raises(ValueError, match="none of the tools"):
        scout().bind_tools([clock], tool_choice="wether")
    with pytest.raises(ValueError, match="needs a tool"):
        scout().bind_tools([], tool_choice="any")
    with pytest.raises(ValueError, match="built-in"):
        scout().bind_tools([{"type": "web_search"}])
    scout().bind_tools([], tool_choice="auto", parallel_tool_calls=False).invoke("Hello")
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & provider.requests[-1].body.keys()


def test_strict_and_parallel_calls_are_sent(scout: Scout, provider: FakeProvider) -> None:
    """`strict` closes each schema, `parallel_tool_calls` stands beside the tools; left out, neither is sent."""
    scout().bind_tools([clock], strict=True, parallel_tool_calls=False).invoke("Hello")
    body = provider.requests[-1].body
    assert (True, False) == (body["tools"][0]["function"]["strict"], body["parallel_tool_calls"])
    assert body["tools"][0]["function"]["parameters"]["additionalProperties"] is False
    scout().bind_tools([clock]).invoke("Hello")
    body = provider.requests[-1].body
    assert "parallel_tool_calls" not in body
    assert "strict" not in body["tools"][0]["function"]


def test_a_schema_that_cannot_be_used_raises_at_once(scout: Scout) -> None:
    """No schema, or a method that there is not."""
    with pytest.raises(ValueError, match="needs a schema"):
        scout().with_structured_output(None)
    with pytest.raises(ValueError, match="method is one of"):
        scout().with_structured_output(Joke, method="magic")


def test_json_mode_needs_no_schema(joker: tuple[FakeProvider, ChatLlamaScout]) -> None:
    """Without a schema JSON mode gives the object as it came."""
    _, model = joker
    assert {"setup": "Knock knock", "rating": 7} == model.with_structured_output(method="json_mode").invoke("JSON")
