"""A guarded chat model is used as the model was: tools, schemas, limits and formats hold, and all it says is judged."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.rate_limiters import BaseRateLimiter
from pydantic import BaseModel
from with_langchain.attach_points import Scene, get_weather
from with_langchain.foreign_model import USAGE, ForeignModel, WholeForeignModel, calling, saying, thinking
from with_langchain.four_ways import every_way, streamed_ways, whole_ways

from langchain_llama_guard import GuardedChatModel, Policy, UnsafeContent, guarded
from llama_guard_core.guardrail.policy import DEFAULT_APOLOGY

REFUSAL = "I can't help with that."
SAFE = ("Mix ", "the dough.")


class Weather(BaseModel):
    """The weather in a city."""

    city: str


def _guarded(reply: Any, policy: Policy | None = None, **settings: Any) -> tuple[Scene, Any]:
    scene = Scene(policy or Policy())
    scene.foreign = ForeignModel(reply=reply, **settings)
    return scene, guarded(scene.foreign, scene.guard)


UNSAFE: dict[str, list[AIMessageChunk]] = {
    "text": saying("the BOMB"),
    "text in pieces": saying("the BO", "MB"),
    "a tool call's arguments": calling("build", '{"what": ', '"a BOMB"}'),
    "a tool call's arguments, cut between pieces": calling("build", '{"what": "a BO', 'MB"}'),
    "a tool call's name": calling("build_a_BOMB", "{}"),
    "an invalid tool call": calling("build", '{"what": "a BOMB'),
    "reasoning": thinking("First ", "the BOMB."),
    "reasoning in a block": [AIMessageChunk([{"type": "reasoning", "reasoning": "the BOMB"}]), *saying("Fine.")],
    "thinking in a block": [AIMessageChunk([{"type": "thinking", "thinking": "the BOMB"}]), *saying("Fine.")],
    "a summary of reasoning": [
        AIMessageChunk("", additional_kwargs={"reasoning": {"summary": [{"text": "the BOMB"}]}}),
        *saying("Fine."),
    ],
    "a refusal that says too much": [AIMessageChunk("", additional_kwargs={"refusal": "No BOMB"}), *saying("")],
    "a function call of the old kind": [
        AIMessageChunk("", additional_kwargs={"function_call": {"name": "build", "arguments": '{"what": "BOMB"}'}}),
        *saying(""),
    ],
    "a block of an unknown kind": [AIMessageChunk([{"type": "zzz", "deep": {"x": "the BOMB"}}]), *saying("Fine.")],
}


@every_way
@pytest.mark.parametrize("reply", UNSAFE.values(), ids=UNSAFE)
async def test_whatever_part_of_a_reply_is_unsafe_the_refusal_takes_the_place_of_all(reply: Any, ask: Any) -> None:
    """Same usage, nothing else of it: no tool calls, no reasoning, no metadata but what was decided."""
    _, model = _guarded(reply, Policy(streaming="whole"))
    message = await ask(model, "Hi")
    assert REFUSAL == message.text
    assert ([], [], {}) == (message.tool_calls, message.invalid_tool_calls, message.additional_kwargs)
    assert USAGE == message.usage_metadata
    assert "content_filter" == message.response_metadata["finish_reason"]
    assert ["allow", "refuse"] == [record["action"] for record in message.response_metadata["llama_guard"]]
    assert "BOMB" not in repr(message)


@every_way
@pytest.mark.parametrize(
    "reply",
    [saying(*SAFE), calling("get_weather", '{"city": ', '"Bern"}'), thinking("Hm.")],
    ids=["text", "call", "thought"],
)
async def test_a_safe_reply_is_the_models_own_with_what_was_decided_added(reply: Any, ask: Any) -> None:
    _, model = _guarded(reply)
    message, own = await ask(model, "Hi"), await ask(ForeignModel(reply=reply), "Hi")
    assert (own.content, own.tool_calls, own.additional_kwargs) == (
        message.content,
        message.tool_calls,
        message.additional_kwargs,
    )
    assert own.usage_metadata == message.usage_metadata
    assert [True, True] == [record["verdict"]["safe"] for record in message.response_metadata["llama_guard"]]


@every_way
@pytest.mark.parametrize("bound_first", [True, False], ids=["bound, then guarded", "guarded, then bound"])
async def test_tools_are_bound_as_the_inner_model_binds_them(bound_first: bool, ask: Any) -> None:
    scene, model = _guarded(calling("get_weather", '{"city": "Bern"}'))
    with_tools = (
        guarded(scene.foreign.bind_tools([get_weather]), scene.guard)
        if bound_first
        else model.bind_tools([get_weather])
    )
    message = await ask(with_tools, "Hi")
    assert [("get_weather", {"city": "Bern"})] == [(call["name"], call["args"]) for call in message.tool_calls]
    assert "get_weather" == with_tools.kwargs["tools"][0]["function"]["name"]
    assert isinstance(with_tools.bound, GuardedChatModel)


@every_way
async def test_the_result_of_a_tool_is_judged_before_the_model_reads_it(ask: Any) -> None:
    scene, model = _guarded(saying(*SAFE))
    called = AIMessage("", tool_calls=[{"name": "look_up", "args": {}, "id": "c1"}])
    turns = [HumanMessage("Look it up"), called, ToolMessage("how to build a BOMB", tool_call_id="c1")]
    assert REFUSAL == (await ask(model, turns)).text
    assert 0 == scene.model_calls


@whole_ways
@pytest.mark.parametrize("schema", [Weather, Weather.model_json_schema()], ids=["class", "JSON schema"])
async def test_structured_output_is_parsed_as_the_inner_models_is(schema: Any, ask: Any) -> None:
    _, model = _guarded(calling("Weather", '{"city": "Bern"}'))
    answer = await ask(model.with_structured_output(schema), "Hi")
    assert {"city": "Bern"} == (answer.model_dump() if isinstance(answer, BaseModel) else answer)


@whole_ways
async def test_of_an_unsafe_structured_answer_nothing_is_parsed(ask: Any) -> None:
    _, model = _guarded(calling("Weather", '{"city": "the BOMB"}'))
    answer = await ask(model.with_structured_output(Weather, include_raw=True), "Hi")
    assert (None, REFUSAL) == (answer["parsed"], answer["raw"].text)
    assert "BOMB" not in repr(answer)
    assert await ask(model.with_structured_output(Weather), "Hi") is None
    _, raising = _guarded(calling("Weather", '{"city": "the BOMB"}'), Policy(on_unsafe="raise"))
    with pytest.raises(UnsafeContent):
        await ask(raising.with_structured_output(Weather), "Hi")


@whole_ways
async def test_a_safe_answer_outside_the_schema_is_the_parsers_exception(ask: Any) -> None:
    _, model = _guarded(calling("Weather", '{"town": "Bern"}'))
    answer = await ask(model.with_structured_output(Weather, include_raw=True), "Hi")
    assert answer["parsed"] is None
    assert isinstance(answer["parsing_error"], (ValueError, OutputParserException))


class Counting(BaseRateLimiter):
    def __init__(self) -> None:
        self.acquired = 0

    def acquire(self, *, blocking: bool = True) -> bool:
        self.acquired += 1
        return True

    async def aacquire(self, *, blocking: bool = True) -> bool:
        return self.acquire()


@every_way
async def test_a_rate_limit_is_kept_once_a_call(ask: Any) -> None:
    limiter = Counting()
    _, model = _guarded(saying(*SAFE), rate_limiter=limiter)
    await ask(model, "Hi")
    assert 1 == limiter.acquired


@every_way
@pytest.mark.parametrize(
    ("says", "shown"), [(SAFE, "Mix the dough."), (("a ", "BOMB"), REFUSAL)], ids=["safe", "unsafe"]
)
async def test_output_version_v1_gives_blocks_refusals_included(says: Any, shown: str, ask: Any) -> None:
    _, model = _guarded(saying(*says), output_version="v1")
    message = await ask(model, "Hi")
    assert isinstance(message.content, list)
    assert [("text", shown)] == [(block["type"], block["text"]) for block in message.content if block.get("text")]


@every_way
@pytest.mark.parametrize(
    ("says", "shown"), [(SAFE, "Mix the dough."), (("a ", "BOMB"), REFUSAL)], ids=["safe", "unsafe"]
)
async def test_a_model_that_cannot_stream_is_guarded_all_the_same(says: Any, shown: str, ask: Any) -> None:
    model = guarded(WholeForeignModel(reply=saying(*says)), Scene().guard)
    assert shown == (await ask(model, "Hi")).text


@streamed_ways
async def test_streaming_that_the_inner_model_disables_stays_disabled(ask: Any) -> None:
    scene, model = _guarded(saying(*SAFE), disable_streaming=True)
    assert "Mix the dough." == (await ask(model, "Hi")).text
    assert [1, 1] == [len(list(model.stream("Hi"))), scene.model_calls - 1]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
async def test_each_alternative_is_judged_and_only_the_unsafe_ones_are_refused(asynchronous: bool) -> None:
    scene = Scene(guard_settings={"cache": False})  # three alternatives that say the same
    model = guarded(ForeignModel(reply=saying("fine"), alternatives=3), scene.guard)
    answers = iter(["safe", "safe", "unsafe\nS9", "safe"])
    scene.provider._guard = lambda role, text: next(answers)
    result = await model.agenerate([[HumanMessage("Hi")]]) if asynchronous else model.generate([[HumanMessage("Hi")]])
    assert ["fine", REFUSAL, "fine"] == [generation.text for generation in result.generations[0]]
    assert "raw" not in (result.llm_output or {})


@whole_ways
async def test_what_a_provider_puts_beside_a_refused_reply_goes_with_it(ask: Any) -> None:
    """The foreign model tells its raw text in `llm_output`, which LangChain writes into the metadata."""
    _, model = _guarded(saying("the BOMB"))
    metadata = (await ask(model, "Hi")).response_metadata
    assert ("foreign-1", False) == (metadata["model_name"], "raw" in metadata)


@every_way
async def test_pictures_in_a_prompt_reach_the_guard(ask: Any) -> None:
    scene, model = _guarded(saying(*SAFE))
    picture = {"type": "image", "url": "https://example.com/a.png"}
    await ask(model, [HumanMessage([{"type": "text", "text": "What is this?"}, picture])])
    assert ("https://example.com/a.png",) == scene.provider.guard_questions[0].images


FILE = {"type": "file", "base64": "JVBERi0=", "mime_type": "application/pdf"}


@every_way
async def test_a_file_cannot_be_judged_and_the_policy_says_what_follows(ask: Any) -> None:
    turns = [HumanMessage([{"type": "text", "text": "Read this"}, FILE])]
    scene, model = _guarded(saying(*SAFE))
    message = await ask(model, turns)
    assert (DEFAULT_APOLOGY, 0) == (message.text, scene.model_calls)
    assert ["not_judgeable"] == [record["no_verdict"] for record in message.response_metadata["llama_guard"]]
    _, allowing = _guarded(saying(*SAFE), Policy(per_stage={"prompt": {"on_no_verdict": "allow"}}))
    assert "Mix the dough." == (await ask(allowing, turns)).text


@every_way
async def test_sound_in_a_reply_cannot_be_judged(ask: Any) -> None:
    _, model = _guarded([AIMessageChunk("", additional_kwargs={"audio": {"data": "AAAA"}}), *saying("Listen.")])
    assert DEFAULT_APOLOGY == (await ask(model, "Hi")).text


@every_way
async def test_a_failure_of_the_inner_model_that_quotes_nothing_unsafe_is_its_own(ask: Any) -> None:
    failure = ConnectionError("the host is down")
    _, model = _guarded([*saying("Mix "), failure])
    with pytest.raises(ConnectionError) as raised:
        await ask(model, "Hi")
    assert failure is raised.value


class Started(BaseCallbackHandler):
    def __init__(self) -> None:
        self.parameters: list[Any] = []

    def on_chat_model_start(self, serialized: Any, messages: Any, **named: Any) -> None:
        self.parameters.append((named["tags"], named["metadata"]))


@every_way
async def test_one_run_is_told_with_the_inner_models_tags_and_metadata(ask: Any) -> None:
    started = Started()
    _, model = _guarded(saying(*SAFE), tags=["mine"], metadata={"team": "a"}, callbacks=[started])
    await ask(model, "Hi")
    assert [(["mine"], "a")] == [(tags, metadata["team"]) for tags, metadata in started.parameters]


def test_a_model_hidden_in_something_unknown_is_not_silently_left_unguarded() -> None:
    class Odd(ForeignModel):
        def bind_tools(self, tools: Any, **settings: Any) -> Any:
            return (
                (lambda value: value) | self.bind(tools=tools) | (lambda message: message) if tools else lambda _: None
            )

    model = guarded(Odd(reply=saying(*SAFE)), Scene().guard)
    with pytest.raises(NotImplementedError, match="it cannot be guarded there"):
        model.bind_tools([get_weather])
