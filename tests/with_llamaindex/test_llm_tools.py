"""Tools: what is sent, what comes back in pieces, and who calls them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fake_provider import FakeProvider, Reply, ToolCall
from llama_index.core.agent.react import ReActChatFormatter, ReActOutputParser
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, TextBlock, ToolCallBlock
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.memory import ChatMemoryBuffer  # the default leaves a database open
from llama_index.core.tools import FunctionTool
from with_llamaindex.scouts import (
    KINDS,
    CompletionOnly,
    ask,
    guard_of,
    scout,
    text_of,
)

from llamaindex_llama_guard.guarded_llms import GuardedLLM

# LlamaIndex's agents look at deprecated attributes of their own: of their models, and of their context.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step"),
]

every_kind = pytest.mark.parametrize("kind", KINDS)
every_guarded = pytest.mark.parametrize("kind", ["guarded", "wrapped"])


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def fail(reason: str) -> str:
    """Fail."""
    raise RuntimeError(reason)


TOOLS = [FunctionTool.from_defaults(add), FunctionTool.from_defaults(fail)]
ADD_2_3 = ToolCall("add", '{"a": 2, "b": 3}', "c1")
ADD_4_5 = ToolCall("add", '{"a": 4, "b": 5}', "c2")


def function_calling(provider: FakeProvider, kind: str = "unguarded", **settings: Any) -> FunctionCallingLLM:
    llm = scout(provider, kind, **settings)
    assert isinstance(llm, FunctionCallingLLM)
    return llm


@every_kind
async def test_a_call_stands_in_blocks_and_beside_them(kind: str) -> None:
    """Agents read the blocks, structured streams and chat engines `additional_kwargs["tool_calls"]`."""
    for endpoint in ("chat", "achat", "stream_chat", "astream_chat"):
        provider = FakeProvider(chat=[Reply("", (ADD_2_3, ADD_4_5))])
        llm = function_calling(provider, kind)
        prepared = llm._prepare_chat_with_tools(TOOLS, user_msg="Add", allow_parallel_tool_calls=True)
        responses = await ask(llm, endpoint, "Add", tools=prepared["tools"])
        message = responses[-1].message
        blocks = [block for block in message.blocks if isinstance(block, ToolCallBlock)]
        assert [("add", {"a": 2, "b": 3}), ("add", {"a": 4, "b": 5})] == [
            (it.tool_name, it.tool_kwargs) for it in blocks
        ]
        assert [it.tool_call_id for it in blocks] == [call["id"] for call in message.additional_kwargs["tool_calls"]]
        assert not message.content
        selected = llm.get_tool_calls_from_response(responses[-1])
        assert [{"a": 2, "b": 3}, {"a": 4, "b": 5}] == [it.tool_kwargs for it in selected]


@pytest.mark.parametrize("deltas", ["fragments", "repeat_names", "one_index"])
async def test_calls_of_a_stream_can_be_read_at_every_step(deltas: Any) -> None:
    """While arguments arrive, there is something to read of them, and at the end all of them; deltas are texts."""
    for kind in KINDS:
        provider = FakeProvider(chat=[Reply("", (ADD_2_3, ADD_4_5))], tool_deltas=deltas)
        llm = function_calling(provider, kind)
        tools = llm._prepare_chat_with_tools(TOOLS)["tools"]
        responses = await ask(llm, "astream_chat", "Add", tools=tools)
        for response in responses:
            assert "" == response.delta
            for selected in llm.get_tool_calls_from_response(response, error_on_no_tool_call=False):
                assert (
                    selected.tool_kwargs.items()
                    <= {"a": selected.tool_kwargs.get("a"), "b": selected.tool_kwargs.get("b")}.items()
                )
        assert [{"a": 2, "b": 3}, {"a": 4, "b": 5}] == [
            selected.tool_kwargs for selected in llm.get_tool_calls_from_response(responses[-1])
        ]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ('{"a": 1}', {"a": 1}), ('{"a": 1, "b": [2, ', {"a": 1, "b": [2]}), ('{"a": "x', {"a": None}), ("", {}),
        ("{", {}), ("[1]", {}), ("null", {}), ("not json", {}), ("}{", {}), ({"a": 1}, {"a": 1}),
    ],
)  # fmt: skip
def test_arguments_that_are_no_object_yet_are_read_as_far_as_they_go(written: Any, expected: Any) -> None:
    """FunctionAgent asks after every chunk: nothing it can be given raises."""
    block = ToolCallBlock(tool_call_id="c1", tool_name="add", tool_kwargs=written)
    llm = function_calling(FakeProvider())
    (selected,) = llm.get_tool_calls_from_response(ChatResponse(message=ChatMessage(role="assistant", blocks=[block])))
    assert ("c1", "add", expected) == (selected.tool_id, selected.tool_name, selected.tool_kwargs)


def test_no_call_is_an_error_unless_it_is_not(provider: FakeProvider) -> None:
    """The error says whether the model or the guard is why."""
    llm = function_calling(provider, "guarded")
    answered = llm.chat([ChatMessage(content="Hello")])
    assert [] == llm.get_tool_calls_from_response(answered, error_on_no_tool_call=False)
    with pytest.raises(ValueError, match="answered in words"):
        llm.get_tool_calls_from_response(answered)
    with pytest.raises(ValueError, match="the guard refused"):
        llm.get_tool_calls_from_response(llm.chat([ChatMessage(content="BOMB")]))


def test_history_is_copied_and_the_message_added() -> None:
    """The caller's list stays as it was."""
    llm = function_calling(FakeProvider())
    history = [ChatMessage(content="Hi")]
    for asked in ("Add", ChatMessage(content="Add")):
        prepared = llm._prepare_chat_with_tools(TOOLS, user_msg=asked, chat_history=history, temperature=0.5)
        assert ["Hi", "Add"] == [message.content for message in prepared["messages"]]
        assert 0.5 == prepared["temperature"]
    assert 1 == len(history)


def test_nothing_is_said_of_tools_where_there_are_none() -> None:
    """Hosts refuse an empty list and a choice among nothing."""
    prepared = function_calling(FakeProvider())._prepare_chat_with_tools([], user_msg="Hi", tool_required=True)
    assert {"messages"} == set(prepared)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, "auto"), ({"tool_required": True}, "required"), ({"tool_choice": "none"}, "none"),
        ({"tool_choice": "add"}, {"type": "function", "function": {"name": "add"}}),
    ],
)  # fmt: skip
@every_kind
def test_a_choice_reaches_the_host(kind: str, asked: dict[str, Any], expected: Any) -> None:
    """In the words of the API, whatever it was asked for in."""
    provider = FakeProvider(chat=["Fine."])
    function_calling(provider, kind).chat_with_tools(TOOLS, user_msg="Hi", **asked)
    assert expected == provider.requests_of("chat")[0].body["tool_choice"]
    assert ["add", "fail"] == [tool["function"]["name"] for tool in provider.requests_of("chat")[0].body["tools"]]


@every_kind
async def test_one_call_is_kept_where_one_is_asked(kind: str) -> None:
    """A host may give two; `predict_and_call` would not know what to do with them."""
    provider = FakeProvider(chat=[Reply("", (ADD_2_3, ADD_4_5))] * 4)
    llm = function_calling(provider, kind)
    one = llm.chat_with_tools(TOOLS, user_msg="Add")
    assert 1 == len(llm.get_tool_calls_from_response(one)) == len(one.message.additional_kwargs["tool_calls"])
    both = await llm.achat_with_tools(TOOLS, user_msg="Add", allow_parallel_tool_calls=True)
    assert 2 == len(llm.get_tool_calls_from_response(both))
    assert "5" == llm.predict_and_call(TOOLS, user_msg="Add").response
    answer = await llm.apredict_and_call(TOOLS, user_msg="Add", allow_parallel_tool_calls=True)
    assert "5\n\n9" == answer.response


@every_kind
async def test_a_tool_that_fails_is_an_answer_or_an_error(kind: str) -> None:
    """As `error_on_tool_error` says."""
    provider = FakeProvider(chat=[Reply("", (ToolCall("fail", '{"reason": "out of order"}'),))] * 4)
    llm = function_calling(provider, kind)
    assert "out of order" in llm.predict_and_call(TOOLS, user_msg="Go").response
    assert "out of order" in (await llm.apredict_and_call(TOOLS, user_msg="Go")).response
    with pytest.raises(ValueError, match="out of order"):
        llm.predict_and_call(TOOLS, user_msg="Go", error_on_tool_error=True)
    with pytest.raises(ValueError, match="out of order"):
        await llm.apredict_and_call(TOOLS, user_msg="Go", error_on_tool_error=True)


def test_an_llm_without_functions_says_so_when_asked_for_them(provider: FakeProvider) -> None:
    """The wrapper adds no abilities; `predict_and_call` goes by words, as it would for the LLM inside."""
    inner = CompletionOnly(says='Thought: so\nAction: add\nAction Input: {"a": 2, "b": 3}')
    wordy = GuardedLLM(inner, guard_of(provider))
    assert not wordy.metadata.is_function_calling_model
    with pytest.raises(NotImplementedError, match="does not call functions"):
        wordy.chat_with_tools(TOOLS, user_msg="Hi")

    def answer(llm: Any) -> str:
        react = {"react_chat_formatter": ReActChatFormatter(), "output_parser": ReActOutputParser()}
        return llm.predict_and_call(TOOLS, user_msg="2+3?", memory=ChatMemoryBuffer.from_defaults(), **react).response

    assert answer(inner) == answer(wordy)


async def test_a_reply_of_many_calls_is_judged_with_all_its_arguments() -> None:
    """In a stream and whole, the guard is asked about every argument of every call."""
    for kind in ("guarded", "wrapped"):
        for endpoint in ("chat", "astream_chat"):
            provider = FakeProvider(chat=[Reply("Adding.", (ADD_2_3, ADD_4_5))])
            responses = await ask(scout(provider, kind), endpoint, "Add")
            assert "Adding." == text_of(responses[-1])
            judged = provider.guard_questions[-1].text
            assert [True] * 4 == [word in judged for word in ("Adding.", "add", '"a": 2', '"b": 5')]
            assert 1 == judged.count('"a": 2')
            assert isinstance(responses[-1].message.blocks[0], TextBlock)
            assert json.loads(responses[-1].message.additional_kwargs["tool_calls"][1]["function"]["arguments"]) == {
                "a": 4,
                "b": 5,
            }
