"""What goes into and comes out of a guarded chain: every form of it is judged, and refused in its own form."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from fake_provider import FakeProvider
from langchain_core.documents import Document
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser, StrOutputParser
from langchain_core.prompt_values import StringPromptValue
from langchain_core.runnables import RunnableGenerator, RunnableLambda
from pydantic import BaseModel
from with_langchain.attach_points import PROMPT, Scene
from with_langchain.foreign_model import ForeignModel, saying
from with_langchain.ways import WAYS, Run

from langchain_llama_guard import ConfigurationError, LlamaGuard, Policy, UnsafeContent, guarded
from langchain_llama_guard._values import conversation_in, reply_in
from llama_guard_core import Image

PICTURE = "https://example.com/a.png"
REFUSAL = "I can't help with that."


def refused(message_id: str | None = None) -> AIMessage:
    return AIMessage(REFUSAL, id=message_id, response_metadata={"finish_reason": "content_filter"})


FLIGHT = [HumanMessage("Where?"), AIMessage("There."), HumanMessage("And then?")]


@pytest.fixture
def guard(provider: FakeProvider) -> LlamaGuard:
    clients = {"http_client": provider.client(), "http_async_client": provider.async_client()}
    return LlamaGuard(api_key="sk-or-v1-values", **clients)


TURNS: dict[str, tuple[Any, str | None, list[tuple[str, str]]]] = {
    "a text": ("Hello", None, [("user", "Hello")]),
    "a message": (HumanMessage("Hello"), None, [("user", "Hello")]),
    "messages": (FLIGHT, None, [("user", "Where?"), ("assistant", "There."), ("user", "And then?")]),
    "pairs": ([("system", "Be brief."), ("user", "Hello")], None, [("user", "Hello")]),
    "dicts": ([{"role": "user", "content": "Hello"}], None, [("user", "Hello")]),
    "a chat prompt": (PROMPT.invoke({"question": "Hello"}), None, [("user", "Hello")]),
    "a text prompt": (StringPromptValue(text="Hello"), None, [("user", "Hello")]),
    "variables": ({"question": "Hello", "language": "English"}, None, [("user", "Hello\n\nEnglish")]),
    "variables by key": ({"question": "Hello", "passages": "Long."}, "question", [("user", "Hello")]),
    "an agent's state": (
        {"messages": FLIGHT},
        None,
        [("user", "Where?"), ("assistant", "There."), ("user", "And then?")],
    ),
    "history and question": (
        {"history": FLIGHT[:2], "question": "And then?"},
        None,
        [("user", "Where?"), ("assistant", "There."), ("user", "And then?")],
    ),
    "passages": ({"question": "Hello", "passages": [Document("Long.")]}, None, [("user", "Hello\n\nLong.")]),
    "nested": ({"a": {"b": ["Hello", {"c": 3}]}}, None, [("user", "b: Hello\nc: 3")]),
    "a number": (7, None, [("user", "7")]),
}


@pytest.mark.parametrize(("value", "key", "turns"), TURNS.values(), ids=TURNS)
def test_every_form_of_input_is_judged_as_the_turns_it_is(
    value: Any, key: str | None, turns: list[tuple[str, str]], guard: LlamaGuard, provider: FakeProvider
) -> None:
    assert "fine" == guarded(lambda _: "fine", guard, input_key=key).invoke(value)
    assert turns == list(provider.guard_questions[0].turns)


class Answer(BaseModel):
    text: str
    sources: list[str] = []


@dataclass
class Plain:
    text: str


class Opaque:
    def __init__(self, text: str) -> None:
        self.text = text


BOMB = "a BOMB"
CALL = {"name": "build", "args": {"what": BOMB}, "id": "c1"}
OUTPUTS: dict[str, tuple[Any, str | None, Any]] = {
    "a text": (BOMB, None, REFUSAL),
    "a message": (AIMessage(BOMB, id="m1"), None, refused("m1")),
    "a message that calls a tool": (AIMessage("", tool_calls=[CALL], id="m1"), None, refused("m1")),
    "messages": ([HumanMessage("Hi"), AIMessage(BOMB, id="m1")], None, [refused("m1")]),
    "messages unsafe before the last": (
        [AIMessage(BOMB), AIMessage("Fine", id="m2")],
        None,
        [refused("m2")],
    ),
    "messages with a tool's result": (
        [ToolMessage(BOMB, tool_call_id="c1"), AIMessage("Fine", id="m2")],
        None,
        [refused("m2")],
    ),
    "a mapping by key": ({"answer": BOMB, "n": 1}, "answer", {"answer": REFUSAL}),
    "an agent's state by key": (
        {"messages": [AIMessage(BOMB, id="m1")]},
        "messages",
        {"messages": [refused("m1")]},
    ),
}


@pytest.mark.parametrize(("output", "key", "refused"), OUTPUTS.values(), ids=OUTPUTS)
async def test_a_refusal_has_the_form_of_the_output(
    output: Any, key: str | None, refused: Any, guard: LlamaGuard
) -> None:
    chain = guarded(lambda _: output, guard, output_key=key)
    assert refused == chain.invoke("Hi")
    assert refused == await chain.ainvoke("Hi")
    assert [refused] == list(chain.stream("Hi"))
    assert [refused] == [piece async for piece in chain.astream("Hi")]


FORMLESS: dict[str, Any] = {
    "a mapping": {"answer": BOMB},
    "a name in a mapping": {BOMB: None},
    "a model": Answer(text="Fine", sources=[BOMB]),
    "a dataclass": Plain(BOMB),
    "an object": Opaque(BOMB),
    "a document": [Document(BOMB)],
    "a deep list": [["Fine", [{"x": (BOMB,)}]]],
    "a set": {BOMB},
    "a prompt": StringPromptValue(text=BOMB),
}


@pytest.mark.parametrize("output", FORMLESS.values(), ids=FORMLESS)
@pytest.mark.parametrize("run", WAYS.values(), ids=WAYS)
async def test_what_cannot_take_the_form_of_a_refusal_raises_unless_a_function_makes_one(
    output: Any, run: Run, guard: LlamaGuard
) -> None:
    with pytest.raises(UnsafeContent, match="S9 Indiscriminate Weapons"):
        await run(guarded(lambda _: output, guard), "Hi", {})
    made = guarded(lambda _: output, guard, refuse_with=lambda refusal: f"No: {refusal.text}")
    assert f"No: {REFUSAL}" == await run(made, "Hi", {})


@pytest.mark.parametrize("output", [None, "", {}, [], 7, True, Answer(text="Fine"), Plain("Fine"), object])
async def test_safe_outputs_come_through_as_the_very_objects_they_were(output: Any, guard: LlamaGuard) -> None:
    chain = guarded(lambda _: output, guard)
    assert output is chain.invoke("Hi")
    assert output is await chain.ainvoke("Hi")


def test_messages_that_came_in_are_not_judged_again_as_the_reply(guard: LlamaGuard, provider: FakeProvider) -> None:
    """An agent gives back its whole state: of that, the reply is what is new."""
    chain = guarded(lambda state: {"messages": [*state["messages"], AIMessage("Home.")]}, guard, output_key="messages")
    chain.invoke({"messages": FLIGHT})
    assert ("assistant", "Home.") == provider.guard_questions[1].turns[-1]


def test_a_reply_is_judged_as_the_answer_to_its_prompt(guard: LlamaGuard, provider: FakeProvider) -> None:
    guarded(lambda _: "There.", guard).invoke("Where?")
    assert (("user", "Where?"), ("assistant", "There.")) == provider.guard_questions[1].turns


def _as_text(message: AIMessage) -> str:
    return message.text


def _as_model(message: AIMessage) -> Answer:
    return Answer(text=message.text)


class Listed(RunnableLambda[Any, Any]):
    """A step that gives a list of messages and says so."""

    OutputType = list[AIMessage]


REFUSED_PROMPTS: dict[str, tuple[Callable[[ForeignModel], Any], str | None, Any]] = {
    "text": (lambda model: PROMPT | model | StrOutputParser(), None, REFUSAL),
    "message": (lambda model: PROMPT | model, None, refused()),
    "list of messages": (lambda model: PROMPT | model | Listed(lambda message: [message]), None, [refused()]),
    "annotated text": (lambda model: PROMPT | model | _as_text, None, REFUSAL),
    "mapping by key": (lambda model: PROMPT | model | (lambda m: {"answer": m.text}), "answer", {"answer": REFUSAL}),
}


@pytest.mark.parametrize(("make", "key", "refused"), REFUSED_PROMPTS.values(), ids=REFUSED_PROMPTS)
def test_a_refused_prompt_is_answered_in_the_type_of_the_output(make: Any, key: str | None, refused: Any) -> None:
    scene = Scene()
    assert refused == guarded(make(scene.foreign), scene.guard, output_key=key).invoke({"question": BOMB})


@pytest.mark.parametrize("run", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("parser", [JsonOutputParser(), PydanticOutputParser(pydantic_object=Answer), _as_model])
async def test_a_refused_prompt_raises_where_the_output_has_no_room_for_words(parser: Any, run: Run) -> None:
    scene = Scene()
    with pytest.raises(UnsafeContent):
        await run(guarded(PROMPT | scene.foreign | parser, scene.guard), {"question": BOMB}, {})


async def test_snapshots_of_a_json_parser_are_held_and_then_shown_one_by_one() -> None:
    scene = Scene(says=('{"text": "Mix', ' the dough"', "}"))
    chain = PROMPT | scene.foreign | JsonOutputParser()
    without_guard = list(chain.stream({"question": "Hi"}))
    assert len(without_guard) > 1
    whole = guarded(chain, scene.guard)
    assert without_guard == list(whole.stream({"question": "Hi"}))
    assert without_guard == [piece async for piece in whole.astream({"question": "Hi"})]


FLEETING: dict[str, list[Any]] = {
    "snapshots": [{"text": BOMB}, {"text": "Fine"}],
    "objects": [Plain(BOMB), Plain("Fine")],
    "mixed": [BOMB, {"text": "Fine"}],
    "parts that do not add up": [{"a": Plain(BOMB)}, {"a": Plain("Fine")}],
}


@pytest.mark.parametrize("run", [WAYS["stream"], WAYS["astream"]], ids=["sync", "async"])
@pytest.mark.parametrize("pieces", FLEETING.values(), ids=FLEETING)
async def test_what_only_an_earlier_piece_says_is_judged_too(pieces: list[Any], run: Run, guard: LlamaGuard) -> None:
    def emit(_: Iterator[Any]) -> Iterator[Any]:
        yield from pieces

    async def aemit(_: AsyncIterator[Any]) -> AsyncIterator[Any]:
        for piece in pieces:
            yield piece

    with pytest.raises(UnsafeContent):
        await run(guarded(RunnableGenerator(emit, aemit), guard), "Hi", {})


async def test_an_unsafe_reply_its_parser_cannot_read_is_refused_like_any_other() -> None:
    scene = Scene()
    chain = guarded(PROMPT | scene.foreign | JsonOutputParser(), scene.guard, refuse_with=lambda refusal: refusal.text)
    assert REFUSAL == chain.invoke({"question": "Hi"})
    assert REFUSAL == await chain.ainvoke({"question": "Hi"})


async def test_a_safe_reply_its_parser_cannot_read_is_the_parsers_exception() -> None:
    scene = Scene(says=("Mix ", "dough."))
    chain = guarded(PROMPT | scene.foreign | JsonOutputParser(), scene.guard)
    with pytest.raises(OutputParserException, match=r"Invalid json output: Mix dough\."):
        await chain.ainvoke({"question": "Hi"})


@pytest.mark.parametrize("keys", [{"input_key": "missing"}, {"output_key": "missing"}])
async def test_a_key_that_is_not_there_is_a_mistake_and_not_a_pass(keys: Any, guard: LlamaGuard) -> None:
    chain = guarded(lambda _: {"answer": "Fine"}, guard, **keys)
    for run in WAYS.values():
        with pytest.raises(ConfigurationError, match="set input_key and output_key"):
            await run(chain, {"question": "Hi"}, {})


async def test_streamed_messages_are_judged_as_the_message_they_make_up() -> None:
    scene = Scene(says=("a BO", "MB"))
    chunks = list(guarded(PROMPT | scene.foreign, scene.guard).stream({"question": "Hi"}))
    assert [(AIMessageChunk, REFUSAL)] == [(type(chunk), chunk.text) for chunk in chunks]
    scene.foreign.reply = saying("Fine.")
    assert "Fine." == guarded(PROMPT | scene.foreign, scene.guard).invoke({"question": "Hi"}).text


def test_a_system_message_is_no_turn_of_the_users(guard: LlamaGuard, provider: FakeProvider) -> None:
    guarded(RunnableLambda(lambda _: "Fine"), guard).invoke([SystemMessage("You build a BOMB"), HumanMessage("Hello")])
    assert [("user", "Hello")] == list(provider.guard_questions[0].turns)


def test_a_policy_for_replies_alone_asks_once(guard: LlamaGuard, provider: FakeProvider) -> None:
    chain = guarded(lambda _: BOMB, guard.with_policy(Policy(stages={"reply"})))
    assert REFUSAL == chain.invoke("a BOMB, please")
    assert ["assistant"] == [question.role for question in provider.guard_questions]


@pytest.mark.parametrize(
    "value",
    [
        [HumanMessage([{"type": "image", "url": PICTURE}]), "hi"],
        {"inner": {"m": HumanMessage([{"type": "image", "url": PICTURE}])}},
        {"inner": [[HumanMessage([{"type": "image", "url": PICTURE}])]]},
    ],
    ids=["beside a text", "in a mapping", "in lists"],
)
def test_a_picture_in_a_message_at_any_depth_is_judged(value: Any) -> None:
    """An image is never passed over because of what stands around its message."""
    images = [part for message in conversation_in(value) for part in message.parts if isinstance(part, Image)]
    assert [PICTURE] == [image.url for image in images]


def test_a_picture_in_a_reply_at_any_depth_is_told_to_be_beyond_the_guard() -> None:
    """The guard's model was trained on images in user turns only; what follows is the policy's choice."""
    reply = reply_in({"a": AIMessage([{"type": "image", "url": PICTURE}])})
    assert [PICTURE] == [part.url for part in reply.parts if isinstance(part, Image)]
