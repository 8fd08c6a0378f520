"""GuardedLLM around LLMs that are not ours: what they tell, raise and show on the way is withheld, too."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest
from fake_provider import SMALL_TALK, FakeProvider
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, LLMMetadata, MessageRole, ToolCallBlock
from llama_index.core.callbacks import CallbackManager
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.llms.callbacks import llm_chat_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.prompts import PromptTemplate
from pydantic import Field, ValidationError
from with_llamaindex.scouts import (
    ENDPOINTS,
    REFUSAL,
    SECRET_TEXT,
    CompletionOnly,
    ask,
    guard_of,
    scout,
    text_of,
    watching,
)

from llama_guard_core.errors import GuardUnavailable
from llamaindex_llama_guard.guarded_llms import GuardedLLM

every_endpoint = pytest.mark.parametrize("endpoint", ENDPOINTS)
CHAT_STREAMS = ("stream_chat", "astream_chat")


class Scripted(CompletionOnly):
    """An LLM that streams these very chat responses, and then raises if it is told to."""

    responses: list[Any] = Field(default_factory=list)
    error: Any = None

    def _chunks(self) -> Iterator[ChatResponse]:
        yield from self.responses
        if self.error:
            raise self.error

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **_: Any) -> ChatResponse:
        return list(self._chunks())[-1]

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **_: Any) -> Any:
        return self._chunks()

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **_: Any) -> ChatResponse:
        return list(self._chunks())[-1]

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **_: Any) -> Any:
        async def chunks() -> AsyncIterator[ChatResponse]:
            for chunk in self._chunks():
                yield chunk

        return chunks()


def said(text: str, delta: str | None = None, **extras: Any) -> ChatResponse:
    message = ChatMessage(role=MessageRole.ASSISTANT, content=text)
    return ChatResponse(message=message, delta=delta, additional_kwargs=extras)


def called(arguments: Any) -> ChatResponse:
    block = ToolCallBlock(tool_call_id="c1", tool_name="search", tool_kwargs=arguments)
    return ChatResponse(message=ChatMessage(role=MessageRole.ASSISTANT, blocks=[block]), delta="")


STREAMS_WITH_A_SECRET = {
    "in the last message": [said("A", "A"), said("A BOMB", " BOMB")],
    "in messages that do not add up": [said("BO", "BO"), said("MB", "MB"), said("fine", "")],
    "in an earlier message alone": [said("A BOMB"), said("Never mind")],
    "in deltas alone": [said("", "BO"), said("", "MB"), said("Fine", "")],
    "in thoughts": [said("A", "A", thinking_delta="BO"), said("A", "", thinking_delta="MB")],
    "beside the last message": [said("A", "A", citations=[{"quote": "BOMB"}])],
    "in a call": [called('{"q'), called('{"q": "BO'), called({"q": "BOMB"})],
    "in a call that was changed": [called({"q": "BOMB"}), called({"q": "weather"})],
}


@pytest.mark.parametrize("endpoint", CHAT_STREAMS)
@pytest.mark.parametrize("responses", STREAMS_WITH_A_SECRET.values(), ids=STREAMS_WITH_A_SECRET)
async def test_whatever_a_stream_shows_is_judged(
    provider: FakeProvider, responses: list[ChatResponse], endpoint: str
) -> None:
    """Streams of other LLMs need not add up: what any of their responses shows is judged."""
    shown = await ask(GuardedLLM(Scripted(responses=responses), guard_of(provider)), endpoint, "Hello")
    assert [REFUSAL] == [text_of(response) for response in shown]


async def test_what_a_stream_repeats_is_judged_once(provider: FakeProvider) -> None:
    """Cumulative messages and partial arguments are one reply to the guard."""
    responses = [said("One", "One"), said("One two", " two"), said("One two three", " three")]
    await ask(GuardedLLM(Scripted(responses=responses), guard_of(provider)), "stream_chat", "Hello")
    assert "One two three" == provider.guard_questions[-1].text
    calls = [called('{"q'), called({"q": "a"}), called('{"q": "a", "n": 1}'), called({"q": "a", "n": 1})]
    await ask(GuardedLLM(Scripted(responses=calls), guard_of(provider)), "stream_chat", "Hello")
    assert 1 == provider.guard_questions[-1].text.count("Call of the tool")


@every_endpoint
async def test_an_exception_that_quotes_the_model_is_withheld(
    provider: FakeProvider, endpoint: str, caplog: pytest.LogCaptureFixture
) -> None:
    """SDKs put a reply they cannot read into their exceptions; where that is unsafe, a refusal comes instead."""
    caplog.set_level(logging.DEBUG)

    class Quoting(Exception):
        def __init__(self, body: dict[str, str]) -> None:
            super().__init__("cannot be read")
            self.body = body

    error = Quoting({"content": SECRET_TEXT})
    with watching() as watcher:
        inner = Breaking(error=error, callback_manager=watcher.callback_manager)
        (response,) = await ask(GuardedLLM(inner, guard_of(provider, streaming="whole")), endpoint, "Hello")
    assert REFUSAL == text_of(response)
    assert "You take" not in watcher.everything + repr(response) + caplog.text


class Breaking(CompletionOnly):
    """An LLM whose every endpoint raises after it has begun."""

    error: Any = None

    def _pieces(self, prompt: str) -> Iterator[Any]:
        yield from super()._pieces(prompt)
        raise self.error


@every_endpoint
async def test_a_harmless_exception_is_raised_as_it_is(provider: FakeProvider, endpoint: str) -> None:
    """The very object, after everything it says was judged."""
    error = RuntimeError("out of order")
    with pytest.raises(RuntimeError) as raised:
        await ask(GuardedLLM(Breaking(error=error), guard_of(provider)), endpoint, "Hello")
    assert raised.value is error
    assert "out of order" in provider.guard_questions[-1].text


@every_endpoint
async def test_an_error_of_ours_is_raised_without_what_it_came_from(provider: FakeProvider, endpoint: str) -> None:
    """Ours quote nobody; an exception in the middle of which they were raised may."""

    class Unavailable(CompletionOnly):
        def _pieces(self, prompt: str) -> Iterator[Any]:
            yield from super()._pieces(prompt)
            error = GuardUnavailable("no verdict", reason="server")
            error.__context__ = error.__cause__ = RuntimeError(SECRET_TEXT)
            raise error

    with pytest.raises(GuardUnavailable) as raised:
        await ask(GuardedLLM(Unavailable(), guard_of(provider, on_no_verdict="raise")), endpoint, "Hello")
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None


async def test_where_replies_are_not_judged_exceptions_are_not_either(provider: FakeProvider) -> None:
    """A guard of prompts alone lets them out as they come."""
    llm = GuardedLLM(Breaking(error=RuntimeError("BOMB")), guard_of(provider, stages={"prompt"}))
    with pytest.raises(RuntimeError):
        llm.complete("Hello")
    assert 1 == len(provider.guard_questions)


async def test_observers_of_other_calls_hear_as_before(provider: FakeProvider) -> None:
    """Hiding is of one context: another LLM, in another task or in between two chunks, is observed."""
    hidden = GuardedLLM(CompletionOnly(says="a b c"), guard_of(provider, stages={"prompt"}))
    other = CompletionOnly(says="Somebody else.")
    with watching() as watcher:
        stream = hidden.stream_complete("Hello")
        next(stream)
        await asyncio.gather(ask(other, "achat", "Hello"), ask(hidden, "achat", "Hello"))
        list(stream)
    assert "Somebody else." in watcher.everything
    assert 2 == watcher.span_names.count("CompletionOnly.achat")
    assert 2 == watcher.span_names.count("GuardedLLM.achat")


async def test_the_guards_own_checks_are_observed(provider: FakeProvider) -> None:
    """The call inside is hidden, not the spans of the verdicts."""
    with watching() as watcher:
        await ask(scout(provider, "wrapped"), "achat", "Hello")
        await ask(scout(provider, "wrapped"), "stream_chat", "Hello")
    assert 2 * 4 == watcher.span_names.count("LlamaGuard.check")  # each is entered and left
    assert "LlamaScout.achat" not in watcher.span_names


def test_handlers_that_are_not_hidden_from_get_what_they_always_got() -> None:
    """The methods that ask first pass on arguments and results."""
    manager = CallbackManager([])
    assert "an id" == manager.on_event_start("llm", event_id="an id")
    assert get_dispatcher().event.__name__ == "event"


def test_it_stands_in_for_the_llm_inside(provider: FakeProvider) -> None:
    """Prompts, modes and callbacks that LlamaIndex applies around an LLM are the inner one's, unless set here."""
    manager = CallbackManager([])
    inner = CompletionOnly(
        system_prompt="Be kind.", callback_manager=manager, completion_to_prompt=lambda text: f"<{text}>"
    )
    llm = GuardedLLM(inner, guard_of(provider))
    assert llm.callback_manager is manager
    assert inner.metadata == llm.metadata
    for asked in (llm, inner):
        asked.predict(PromptTemplate("Hello {name}"), name="you")
    assert inner._prompts[0] == inner._prompts[1]
    assert inner._prompts[0].startswith("Be kind.")
    assert "Be brief." == GuardedLLM(inner, guard_of(provider), system_prompt="Be brief.").system_prompt


def test_what_traces_are_told_of_it(provider: FakeProvider) -> None:
    """What the inner LLM tells, under the wrapper's name."""
    told = scout(provider, "wrapped", temperature=0.5).to_payload()
    assert ("GuardedLLM", "LlamaScout", 0.5) == (told["class_name"], told["guarded"], told["temperature"])
    told = GuardedLLM(CompletionOnly(), guard_of(provider)).to_payload()
    assert ("GuardedLLM", "completion_only", "completion-only") == (
        told["class_name"],
        told["guarded"],
        told["model_name"],
    )


def test_a_wrapper_in_a_wrapper_works(provider: FakeProvider) -> None:
    """Each judges; observers hear of one call."""
    with watching() as watcher:
        llm = GuardedLLM(scout(provider, "wrapped"), guard_of(provider))
        assert SMALL_TALK == llm.complete("Hello").text
    assert 4 == len(provider.guard_questions)
    assert ["GuardedLLM.complete"] * 2 == [name for name in watcher.span_names if "complete" in name]


class Legacy(FunctionCallingLLM):
    """A function-calling LLM of an older kind, which knows nothing of `tool_required`."""

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(is_chat_model=True, is_function_calling_model=True)

    def _prepare_chat_with_tools(  # type: ignore[override]
        self, tools: Any, user_msg: Any = None, chat_history: Any = None, verbose: bool = False,
        allow_parallel_tool_calls: bool = False, **kwargs: Any,
    ) -> dict[str, Any]:  # fmt: skip
        assert "tool_required" not in kwargs
        return {"messages": [ChatMessage(content=user_msg)]}

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return called({"q": "weather"})

    def _unused(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    complete = stream_chat = stream_complete = _unused

    async def _aunused(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    achat = acomplete = astream_chat = astream_complete = _aunused

    def get_tool_calls_from_response(self, response: ChatResponse, error_on_no_tool_call: bool = True, **_: Any) -> Any:
        return [block.tool_name for block in response.message.blocks if isinstance(block, ToolCallBlock)]


def test_tools_go_the_inner_llms_way(provider: FakeProvider) -> None:
    """How they are prepared and read is its own affair, also where it is older than this version of LlamaIndex."""
    llm = GuardedLLM(Legacy(), guard_of(provider))
    response = llm.chat_with_tools([], user_msg="Look", tool_required=False)
    assert ["search"] == llm.get_tool_calls_from_response(response)
    assert [ToolCallBlock] == [type(block) for block in response.message.blocks]


def test_it_guards_llms_alone(provider: FakeProvider) -> None:
    """A wrong argument says what is wanted."""
    with pytest.raises(ValidationError, match="pass one"):
        GuardedLLM("gpt-4", guard_of(provider))
