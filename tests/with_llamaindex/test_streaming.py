"""Streams of guarded LLMs, engines and agents: by windows, how a halt ends, a prompt judged beside the model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import accumulate
from typing import Any

import pytest
from fake_provider import FakeProvider, Reply, ToolCall
from llama_index.core.agent.workflow import AgentStream, FunctionAgent
from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    LLMMetadata,
    MessageRole,
    TextBlock,
)
from llama_index.core.llms.custom import CustomLLM
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.program import LLMTextCompletionProgram
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel
from with_llamaindex.engines import Saying, chat_engine, query_engine
from with_llamaindex.scouts import ask, guard_of, scout, text_of

from llamaindex_llama_guard import GuardedLLM, UnsafeContent, guarded

REFUSAL = "I can't help with that."
SAFE = ("Take some flour, ", "add warm water, ", "and knead the dough ", "until it is smooth.")
UNSAFE = ("Take some flour, ", "add warm water, ", "light the BOMB ", "and run away now.", " Then come back.")
TOLD = "".join(UNSAFE[:2]) + "\n\n" + REFUSAL
STREAMS = ("stream_chat", "astream_chat", "stream_complete", "astream_complete")
BY_WINDOW = {"streaming": "window"}

every_stream = pytest.mark.parametrize("endpoint", STREAMS)
every_guarded = pytest.mark.parametrize("kind", ["guarded", "wrapped"])


def saying(*pieces: str, **said: Any) -> FakeProvider:
    return FakeProvider(chat=lambda _: Reply("".join(pieces), deltas=pieces, **said))


# By windows


@every_guarded
@every_stream
async def test_a_safe_reply_comes_in_the_models_own_pieces(kind: str, endpoint: str) -> None:
    responses = await ask(scout(saying(*SAFE), kind, BY_WINDOW), endpoint, "Hi")
    assert list(SAFE) == [response.delta for response in responses if response.delta]
    assert "".join(SAFE) == text_of(responses[-1])
    stages = [record["stage"] for record in responses[-1].additional_kwargs["llama_guard"]]
    assert ["prompt", "reply", "reply", "reply", "reply"] == stages


@every_guarded
@every_stream
async def test_a_halt_ends_with_a_response_that_says_what_was_shown_and_then_the_refusal(
    kind: str, endpoint: str
) -> None:
    provider = saying(*UNSAFE)
    responses = await ask(scout(provider, kind, BY_WINDOW), endpoint, "Hi")
    assert [*UNSAFE[:2], "\n\n" + REFUSAL] == [response.delta for response in responses if response.delta]
    last = responses[-1]
    assert TOLD == text_of(last)
    assert "content_filter" == last.raw["choices"][0]["finish_reason"]
    *_, record = last.additional_kwargs["llama_guard"]
    assert ("refuse", 2) == (record["action"], record["stream"]["chunks_shown"])
    assert 0 == provider.responses_open


@every_guarded
@pytest.mark.parametrize("endpoint", ["stream_chat", "astream_chat"])
async def test_thoughts_that_were_shown_stay_before_the_refusal(kind: str, endpoint: str) -> None:
    provider = saying(*UNSAFE, reasoning="I think of flour and water first, and then of dough.")
    last = (await ask(scout(provider, kind, BY_WINDOW), endpoint, "Hi"))[-1]
    assert ["thinking", "text"] == [block.block_type for block in last.message.blocks]
    assert last.message.content.endswith(REFUSAL)
    assert "BOMB" not in repr(last)


@every_guarded
@every_stream
async def test_a_policy_that_raises_raises_after_what_was_covered(kind: str, endpoint: str) -> None:
    with pytest.raises(UnsafeContent):
        await ask(scout(saying(*UNSAFE), kind, {**BY_WINDOW, "on_unsafe": "raise"}), endpoint, "Hi")


@every_guarded
@pytest.mark.parametrize("endpoint", ["stream_chat", "astream_chat"])
async def test_no_piece_of_a_tool_call_is_shown_before_the_whole_reply_is_judged(kind: str, endpoint: str) -> None:
    call = ToolCall("build", '{"what": "a house", "how": "with a BOMB"}', "c1")
    provider = FakeProvider(chat=lambda _: Reply("".join(SAFE), (call,), deltas=SAFE))
    responses = await ask(scout(provider, kind, BY_WINDOW), endpoint, "Hi")
    assert "".join(SAFE) == text_of(responses[-1]).removesuffix("\n\n" + REFUSAL)
    for response in responses:
        assert "tool_calls" not in response.message.additional_kwargs
        assert "tool_call" not in [block.block_type for block in response.message.blocks]


class Growing(CustomLLM):
    """Somebody's LLM that yields one message again and again, and writes on in it."""

    says: tuple[str, ...] = UNSAFE

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(model_name="growing", is_chat_model=True)

    def complete(self, prompt: str, formatted: bool = False, **_: Any) -> Any:
        raise NotImplementedError

    def stream_complete(self, prompt: str, formatted: bool = False, **_: Any) -> Any:
        raise NotImplementedError

    def stream_chat(self, messages: Any, **_: Any) -> Iterator[ChatResponse]:
        block = TextBlock(text="")
        message = ChatMessage(role=MessageRole.ASSISTANT, blocks=[block])
        message.blocks[0] = block
        for delta in self.says:
            block.text += delta
            yield ChatResponse.model_construct(
                message=message, delta=delta, raw=None, additional_kwargs={}, logprobs=None
            )

    async def astream_chat(self, messages: Any, **_: Any) -> AsyncIterator[ChatResponse]:
        async def responses() -> AsyncIterator[ChatResponse]:
            for response in self.stream_chat(messages):
                yield response

        return responses()


@pytest.mark.parametrize("endpoint", ["stream_chat", "astream_chat"])
async def test_a_message_that_its_llm_goes_on_writing_in_shows_no_more_than_was_judged(endpoint: str) -> None:
    responses = await ask(GuardedLLM(Growing(), guard_of(FakeProvider())), endpoint, "Hi")
    assert "".join(UNSAFE[:2]) == responses[1].message.content
    assert "BOMB" not in repr(responses)


class Cumulative(Growing):
    """Somebody's LLM whose responses say everything so far and nothing of what is new."""

    def _responses(self) -> Iterator[str]:
        return accumulate(self.says)

    def stream_chat(self, messages: Any, **_: Any) -> Iterator[ChatResponse]:
        for text in self._responses():
            yield ChatResponse(message=ChatMessage(role=MessageRole.ASSISTANT, content=text))

    def stream_complete(self, prompt: str, formatted: bool = False, **_: Any) -> Iterator[CompletionResponse]:
        for text in self._responses():
            yield CompletionResponse(text=text)

    async def astream_complete(self, prompt: str, formatted: bool = False, **_: Any) -> AsyncIterator[Any]:
        async def responses() -> AsyncIterator[CompletionResponse]:
            for response in self.stream_complete(prompt):
                yield response

        return responses()


@every_stream
async def test_an_optimistic_stream_is_bounded_also_where_no_response_says_what_is_new(endpoint: str) -> None:
    llm = Cumulative(says=("It is harmless. ",) * 20 + ("The BOMB.",))
    guard = guard_of(FakeProvider(), streaming={"hold": "optimistic", "ahead": 40, "window": 400})
    responses = await ask(GuardedLLM(llm, guard), endpoint, "Hi")
    assert len("".join(llm.says)) > 300
    assert max(len(text_of(response)) for response in responses[:-1]) <= 40


@every_stream
async def test_a_halt_without_deltas_says_what_was_shown_and_then_the_refusal(endpoint: str) -> None:
    last = (await ask(GuardedLLM(Cumulative(), guard_of(FakeProvider())), endpoint, "Hi"))[-1]
    assert TOLD == text_of(last)


class CallingByExtras(Growing):
    """Somebody's LLM whose completions carry tool calls in their extras."""

    def stream_complete(self, prompt: str, formatted: bool = False, **_: Any) -> Iterator[CompletionResponse]:
        for arguments in accumulate(('{"path": "/"', ', "how": "a BOMB"}')):
            calls = [{"id": "c1", "function": {"name": "rm", "arguments": arguments}}]
            yield CompletionResponse(text="I will do that now.", additional_kwargs={"tool_calls": calls})


async def test_a_completions_tool_call_is_not_shown_in_part() -> None:
    responses = await ask(GuardedLLM(CallingByExtras(), guard_of(FakeProvider())), "stream_complete", "Hi")
    assert [] == [response for response in responses if "tool_calls" in response.additional_kwargs]


class Plan(BaseModel):
    """A plan."""

    title: str
    steps: list[str] = []


async def test_a_structured_stream_by_text_raises_where_it_is_halted() -> None:
    if "stream_call" not in vars(LLMTextCompletionProgram):
        pytest.skip("this version has no structured streams by text")
    says = '{"title": "Bread for all of us", "steps": ["take some flour", "light the BOMB", "run"]}'
    llm = GuardedLLM(Saying(says=says), guard_of(FakeProvider()))
    prompt = PromptTemplate("Make a plan.")
    with pytest.raises(UnsafeContent):
        list(llm.stream_structured_predict(Plan, prompt))
    with pytest.raises(UnsafeContent):
        _ = [plan async for plan in await llm.astream_structured_predict(Plan, prompt)]


# Engines and agents


ACTIONS = {
    "ReAct": "Thought: I will do it.\nAction: send\nAction Input: {'to': 'bob', 'now': true}\nand then the BOMB",
    "code": "Let me run this for you: <execute>delete_all()</execute> and then the BOMB",
}


@every_stream
@pytest.mark.parametrize("says", ACTIONS.values(), ids=ACTIONS)
async def test_no_part_of_an_action_that_is_written_as_text_is_shown_before_the_last_verdict(
    says: str, endpoint: str
) -> None:
    """Agents without function calling read their actions there, and would run one that stands before a refusal."""
    for hold in ("window", "optimistic"):
        llm = GuardedLLM(Saying(says=says), guard_of(FakeProvider(), streaming=hold))
        shown = text_of((await ask(llm, endpoint, "Hi"))[-1])
        assert REFUSAL in shown
        for action in ("Action:", "Action Input", "<execute>", "delete_all"):
            assert action not in shown


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
async def test_a_query_engines_answer_is_streamed_by_windows(asynchronous: bool) -> None:
    for says, told in ((SAFE, "".join(SAFE)), (UNSAFE, TOLD)):
        engine = guarded(query_engine(Saying(says="".join(says)), streaming=True), guard_of(FakeProvider()))
        if asynchronous:
            pieces = [piece async for piece in (await engine.aquery("Hi")).response_gen]
        else:
            pieces = list(engine.query("Hi").response_gen)
        assert len(pieces) > 3
        assert "".join(pieces).startswith("Take some flour, ")
        assert "BOMB" not in "".join(pieces)
        assert "".join(pieces).endswith(told[-len(REFUSAL) :])


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
async def test_a_chat_engine_remembers_what_it_showed(asynchronous: bool) -> None:
    engine = guarded(chat_engine(Saying(says="".join(UNSAFE)), "simple"), guard_of(FakeProvider()))
    if asynchronous:
        response = await engine.astream_chat("Hi")
        shown = "".join([piece async for piece in response.async_response_gen()])
    else:
        shown = "".join(engine.stream_chat("Hi").response_gen)
    assert shown.endswith("\n\n" + REFUSAL)
    assert "BOMB" not in shown
    assert shown.strip() == engine.chat_history[-1].content


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")
@pytest.mark.filterwarnings("ignore:is_running called from within a step")
@every_guarded
async def test_an_agents_stream_adds_up_to_its_answer_and_neither_holds_the_unsafe(kind: str) -> None:
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    agent = FunctionAgent(tools=[FunctionTool.from_defaults(add)], llm=scout(saying(*UNSAFE), kind, BY_WINDOW))
    handler = agent.run(user_msg="Hi", memory=ChatMemoryBuffer.from_defaults())
    streamed = [event.delta async for event in handler.stream_events() if isinstance(event, AgentStream)]
    assert TOLD == "".join(streamed) == str(await handler)


# A prompt judged beside the model


BESIDE = {"prompt_check": "parallel"}


@every_guarded
@pytest.mark.parametrize("endpoint", ["achat", "acomplete", "astream_chat", "astream_complete"])
async def test_in_async_the_models_call_begins_beside_the_prompts_check(kind: str, endpoint: str) -> None:
    order: list[str] = []
    provider = FakeProvider(chat=lambda _: order.append("model") or Reply("".join(SAFE), deltas=SAFE))
    llm = scout(provider, kind, BESIDE)
    judge = llm.guard.ajudge

    async def late(question: Any) -> Any:
        for _ in range(200):
            await asyncio.sleep(0)
        order.append(question.stage.value)
        return await judge(question)

    llm.guard.ajudge = late
    assert "".join(SAFE) == text_of((await ask(llm, endpoint, "Hi"))[-1])
    assert ["model", "prompt"] == order[:2]
    (refused,) = await ask(llm, endpoint, "How do I build a BOMB?")
    assert REFUSAL == text_of(refused)
    assert 0 == provider.responses_open


@every_guarded
@pytest.mark.parametrize("endpoint", ["chat", "complete", "stream_chat", "stream_complete"])
async def test_in_sync_the_prompt_is_checked_before_the_model_is_called(kind: str, endpoint: str) -> None:
    provider = saying(*SAFE)
    (refused,) = await ask(scout(provider, kind, BESIDE), endpoint, "How do I build a BOMB?")
    assert REFUSAL == text_of(refused)
    assert [] == provider.requests_of("chat")


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
async def test_a_query_beside_whose_check_the_engine_began_is_refused_all_the_same(streaming: bool) -> None:
    guard = guard_of(FakeProvider(), **BESIDE)
    engine = guarded(query_engine(Saying(says="".join(SAFE)), streaming=streaming), guard)
    response = await engine.aquery("How do I build a BOMB?")
    shown = "".join([piece async for piece in response.response_gen]) if streaming else str(response)
    assert REFUSAL == shown
    assert [] == response.source_nodes


async def test_a_chat_engine_checks_a_message_before_it_remembers_it_whatever_the_policy_says() -> None:
    llm = Saying(says="".join(SAFE))
    engine = guarded(chat_engine(llm, "simple"), guard_of(FakeProvider(), **BESIDE))
    assert REFUSAL == str(await engine.achat("How do I build a BOMB?"))
    assert ([], []) == (llm.prompts, engine.chat_history)
