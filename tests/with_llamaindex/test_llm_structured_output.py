"""Structured answers: as a tool's arguments or by a JSON schema, whole and streamed, and refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fake_provider import FakeProvider, Fault, Reply, ToolCall
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms.llm import LLM
from llama_index.core.memory import ChatMemoryBuffer  # the default leaves a database open
from llama_index.core.prompts import PromptTemplate
from llama_index.core.types import PydanticProgramMode
from pydantic import BaseModel
from with_llamaindex.scouts import KINDS, SECRET_TEXT, CompletionOnly, guard_of, scout, watching

from llama_guard_core.errors import GuardUnavailable, UnsafeContent
from llamaindex_llama_guard.guarded_llms import GuardedLLM

GUARDED = ("guarded", "wrapped")
WAYS = ("structured_predict", "astructured_predict", "stream_structured_predict", "astream_structured_predict")
PROMPT = PromptTemplate("The weather in {city}, please.")
RAIN = '{"city": "Bern", "degrees": 12}'


class Weather(BaseModel):
    """The weather somewhere."""

    city: str
    degrees: int


def answer(kind: str, text: str, *, by_schema: bool) -> Reply:
    return Reply(text) if by_schema else Reply("", (ToolCall("Weather", text),))


async def predict(llm: LLM, way: str, **kwargs: Any) -> Any:
    """The answer, or the last of a streamed one."""
    result = getattr(llm, way)(Weather, PROMPT, city="Bern", **kwargs)
    if way == "structured_predict":
        return result
    if way == "stream_structured_predict":
        return list(result)[-1]
    result = await result
    return [item async for item in result][-1] if "stream" in way else result


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_schema_is_filled_by_a_tool_call(kind: str, way: str) -> None:
    """The only tool must be called, in streams too, where LlamaIndex alone leaves it to the model."""
    provider = FakeProvider(chat=[answer(kind, RAIN, by_schema=False)])
    assert Weather(city="Bern", degrees=12) == await predict(scout(provider, kind), way)
    (received,) = provider.requests_of("chat")
    assert "required" == received.body["tool_choice"]
    assert ["Weather"] == [tool["function"]["name"] for tool in received.body["tools"]]
    assert "The weather in Bern, please." == received.last_text


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["unguarded", "guarded"])
async def test_a_schema_is_enforced_by_the_host_where_asked(kind: str, way: str) -> None:
    """With `should_use_structured_outputs` the request carries the schema and no tool."""
    provider = FakeProvider(chat=[answer(kind, RAIN, by_schema=True)])
    llm = scout(provider, kind, should_use_structured_outputs=True, system_prompt="Be brief.")
    assert Weather(city="Bern", degrees=12) == await predict(llm, way)
    (received,) = provider.requests_of("chat")
    asked = received.body["response_format"]
    assert ("json_schema", "Weather") == (asked["type"], asked["json_schema"]["name"])
    assert {"city", "degrees"} == set(asked["json_schema"]["schema"]["properties"])
    assert "tools" not in received.body
    assert "Be brief." == received.messages[0]["content"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("by_schema", [True, False])
@pytest.mark.parametrize("kind", GUARDED)
async def test_a_refused_answer_raises_by_name(kind: str, by_schema: bool, way: str) -> None:
    """Neither a parsing error nor an empty object: the guard's own exception, without the text."""
    provider = FakeProvider(chat=[answer(kind, '{"city": "BOMB", "degrees": 12}', by_schema=by_schema)])
    settings = {"should_use_structured_outputs": True} if by_schema else {}
    with watching() as watcher, pytest.raises(UnsafeContent) as raised:
        await predict(scout(provider, kind, callback_manager=watcher.callback_manager, **settings), way)
    assert "reply" in str(raised.value) or "tool call" in str(raised.value)
    assert "BOMB" not in repr(raised.value) + watcher.everything


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", GUARDED)
async def test_a_refused_question_raises_by_name(provider: FakeProvider, kind: str, way: str) -> None:
    """The model is not called."""
    llm = scout(provider, kind, system_prompt="Be brief.")
    with pytest.raises(UnsafeContent, match="prompt"):
        await predict_prompt(llm, way, "BOMB")
    assert [] == provider.requests_of("chat")


async def predict_prompt(llm: LLM, way: str, city: str) -> Any:
    result = getattr(llm, way)(Weather, PROMPT, city=city)
    if way == "stream_structured_predict":
        return list(result)
    result = await result
    return [item async for item in result] if "stream" in way else result


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", GUARDED)
async def test_no_verdict_raises_by_name(provider: FakeProvider, kind: str, way: str) -> None:
    """Also where a policy says otherwise of other stages."""
    provider.fail(Fault.status(503), on="guard")
    policy = {"per_stage": {"document": {"on_no_verdict": "allow"}, "prompt": {"on_no_verdict": "refuse"}}}
    with pytest.raises(GuardUnavailable):
        await predict(scout(provider, kind, policy), way)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", GUARDED)
async def test_a_policy_that_lets_pass_still_does(kind: str, way: str) -> None:
    """Monitor mode refuses nothing, so nothing raises."""
    provider = FakeProvider(chat=[answer(kind, '{"city": "BOMB", "degrees": 12}', by_schema=False)])
    assert "BOMB" == (await predict(scout(provider, kind, {"mode": "monitor"}), way)).city


async def test_a_policy_that_allows_unjudged_text_still_does(provider: FakeProvider) -> None:
    """`on_no_verdict="allow"` is kept, for all stages and for one."""
    provider.fail(Fault.status(503), on="guard")
    for policy in (
        {"on_no_verdict": "allow"},
        {"per_stage": {s: {"on_no_verdict": "allow"} for s in ("prompt", "reply", "tool_call")}},
    ):
        assert "Weather" == type(await predict(scout(provider, "guarded", policy), "astructured_predict")).__name__


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_structured_llm_answers_in_json(kind: str) -> None:
    """`as_structured_llm` gives the JSON as text and the object as `raw`."""
    provider = FakeProvider(chat=[answer(kind, RAIN, by_schema=False)] * 3)
    llm = scout(provider, kind).as_structured_llm(Weather)
    messages = [ChatMessage(content="The weather in Bern, please.")]
    whole, later = llm.chat(messages), await llm.achat(messages)
    assert Weather(city="Bern", degrees=12) == whole.raw == later.raw
    assert json.loads(RAIN) == json.loads(whole.message.content)
    assert Weather(city="Bern", degrees=12) == list(llm.stream_chat(messages))[-1].raw


@pytest.mark.parametrize("kind", GUARDED)
async def test_one_call_of_structured_predict_is_one_span(kind: str) -> None:
    """Overriding must not double it."""
    provider = FakeProvider(chat=[answer(kind, RAIN, by_schema=False)] * 2)
    with watching() as watcher:
        llm = scout(provider, kind)
        llm.structured_predict(Weather, PROMPT, city="Bern")
        await llm.astructured_predict(Weather, PROMPT, city="Bern")
    entered = [span for span in watcher.span_names if span.endswith("structured_predict")]
    assert 4 == len(entered)  # each is entered and left


@pytest.mark.parametrize("way", ["structured_predict", "astructured_predict"])
async def test_an_llm_without_functions_answers_in_words(provider: FakeProvider, way: str) -> None:
    """LlamaIndex asks it for JSON in the prompt, and parses what it says; a refusal raises by name all the same."""
    assert 12 == (await predict(GuardedLLM(CompletionOnly(says=RAIN), guard_of(provider)), way)).degrees
    with pytest.raises(UnsafeContent):
        await predict(GuardedLLM(CompletionOnly(says=SECRET_TEXT), guard_of(provider)), way)


@pytest.mark.parametrize("way", ["structured_predict", "astructured_predict"])
@pytest.mark.parametrize("kind", KINDS)
async def test_the_program_mode_is_the_users(kind: str, way: str) -> None:
    """`pydantic_program_mode` says by which way LlamaIndex asks."""
    provider = FakeProvider(chat=[RAIN])
    llm = scout(provider, kind, pydantic_program_mode=PydanticProgramMode.LLM)
    assert Weather(city="Bern", degrees=12) == await predict(llm, way)
    assert "tools" not in provider.requests_of("chat")[0].body


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")
@pytest.mark.parametrize("kind", GUARDED)
async def test_an_agents_structured_answer_is_judged_too(kind: str) -> None:
    """LlamaIndex makes it behind the agent's back; refused, there is none, and a warning that does not quote it."""
    unsafe = answer(kind, '{"city": "BOMB", "degrees": 12}', by_schema=False)
    agent = FunctionAgent(llm=scout(FakeProvider(chat=["Rain.", unsafe]), kind), output_cls=Weather)
    with pytest.warns(UserWarning, match="judged the tool call unsafe") as warned:
        result = await agent.run(user_msg="The weather in Bern?", memory=ChatMemoryBuffer.from_defaults())
    assert result.structured_response is None
    assert all("BOMB" not in str(warning.message) for warning in warned)
    agent = FunctionAgent(
        llm=scout(FakeProvider(chat=["Rain.", answer(kind, RAIN, by_schema=False)]), kind), output_cls=Weather
    )
    assert (
        12
        == (
            await agent.run(user_msg="The weather in Bern?", memory=ChatMemoryBuffer.from_defaults())
        ).structured_response["degrees"]
    )
