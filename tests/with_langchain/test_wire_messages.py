"""LangChain's messages on their way to the API: every form of content it knows, nothing lost, nothing guessed."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from fake_provider import FakeProvider
from fake_provider.message_rules import message_problems
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from with_langchain.four_ways import Ask, every_way

from langchain_llama_guard import ChatLlamaScout, LlamaGuard
from langchain_llama_guard._wire_messages import wire_messages
from llama_guard_core.guardrail.policy import DEFAULT_APOLOGY

Scout = Callable[..., ChatLlamaScout]

DATA = base64.b64encode(b"a picture").decode()
URL = "https://example.com/picture"
TYPES = ("image/png", "image/jpeg", "image/webp", "image/gif")


def forms_of(media_type: str) -> list[dict[str, Any]]:
    """One picture in every form: v1, v0, OpenAI's two, Anthropic's."""
    inline = f"data:{media_type};base64,{DATA}"
    return [
        {"type": "image", "base64": DATA, "mime_type": media_type},
        {"type": "image", "source_type": "base64", "data": DATA, "mime_type": media_type},
        {"type": "image_url", "image_url": {"url": inline}},
        {"type": "image_url", "image_url": inline},
        {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": DATA}},
    ]


BY_ADDRESS: list[dict[str, Any]] = [
    {"type": "image", "url": URL},
    {"type": "image", "source_type": "url", "url": URL},
    {"type": "image_url", "image_url": {"url": URL}},
    {"type": "image_url", "image_url": URL},
    {"type": "image", "source": {"type": "url", "url": URL}},
]
INLINE = [form for media_type in TYPES for form in forms_of(media_type)]


@every_way
@pytest.mark.parametrize("media_type", TYPES)
async def test_an_inline_picture_goes_out_in_one_form(
    scout: Scout, provider: FakeProvider, ask: Ask, media_type: str
) -> None:
    """PNG, JPEG, WebP and GIF, in every form LangChain users write them, become the API's."""
    for form in forms_of(media_type):
        await ask(scout(), [HumanMessage(["What is this?", form])])
        expected = {"type": "image_url", "image_url": {"url": f"data:{media_type};base64,{DATA}"}}
        assert [{"type": "text", "text": "What is this?"}, expected] == provider.requests[-1].messages[0]["content"]


@every_way
async def test_a_picture_by_address_goes_out_in_one_form(scout: Scout, provider: FakeProvider, ask: Ask) -> None:
    """An address is passed on as it is; nothing is downloaded here."""
    for form in BY_ADDRESS:
        await ask(scout(), [HumanMessage([form])])
        assert [{"type": "image_url", "image_url": {"url": URL}}] == provider.requests[-1].messages[0]["content"]


@every_way
async def test_tools_may_answer_with_pictures_and_files(scout: Scout, provider: FakeProvider, ask: Ask) -> None:
    """Content blocks of a tool's result are converted like a user's."""
    call = AIMessage("", tool_calls=[{"name": "look", "args": {}, "id": "c1"}])
    pdf = {"type": "file", "base64": DATA, "mime_type": "application/pdf"}
    for form in (*INLINE[:5], *BY_ADDRESS):
        await ask(scout(), [HumanMessage("Look."), call, ToolMessage(["seen", form, pdf], tool_call_id="c1")])
        kinds = [part["type"] for part in provider.requests[-1].messages[2]["content"]]
        assert ["text", "image_url", "file"] == kinds


@pytest.mark.parametrize(
    "part",
    [
        {"type": "file", "base64": DATA, "mime_type": "application/pdf"},
        {"type": "file", "base64": DATA, "mime_type": "application/pdf", "filename": "a.pdf"},
        {"type": "file", "source_type": "base64", "data": DATA, "mime_type": "application/pdf"},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{DATA}"}},
        {"type": "file", "url": "https://example.com/a.pdf"},
    ],
    ids=["v1", "v1 named", "v0", "OpenAI", "address"],
)
def test_a_pdf_goes_out_as_a_file(part: dict[str, Any]) -> None:
    """OpenRouter reads PDFs for models that cannot; it wants them named."""
    wired = wire_messages([HumanMessage([part])])
    assert [] == list(message_problems(wired))
    assert wired[0]["content"][0]["file"]["filename"].endswith(".pdf")


@every_way
async def test_a_file_cannot_be_judged_and_is_refused(scout: Scout, provider: FakeProvider, ask: Ask) -> None:
    """A guarded model does not let a file pass unread: the policy's apology comes, and the model is not asked."""
    clients = {"http_client": provider.client(), "http_async_client": provider.async_client()}
    model = scout(guard=LlamaGuard(api_key="sk-or-v1-test", **clients))
    pdf = {"type": "file", "base64": DATA, "mime_type": "application/pdf"}
    message = await ask(model, [HumanMessage(["Summarise this.", pdf])])
    assert DEFAULT_APOLOGY == message.text
    assert "not_judgeable" in {record["no_verdict"] for record in message.response_metadata["llama_guard"]}
    assert [] == provider.requests_of("chat")


BAD_PICTURES: list[dict[str, Any]] = [
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,@@@@"}},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,abc"}},
    {"type": "image_url", "image_url": {"url": f"data:image/tiff;base64,{DATA}"}},
    {"type": "image_url", "image_url": {"url": f"data:text/html;base64,{DATA}"}},
    {"type": "image_url", "image_url": {"url": "data:image/svg+xml,<svg/>"}},
    {"type": "image_url", "image_url": {"url": "/home/me/picture.png"}},
    {"type": "image_url", "image_url": {"url": ""}},
    {"type": "image_url", "image_url": {}},
    {"type": "image", "base64": DATA},
    {"type": "image", "base64": DATA, "mime_type": "image/bmp"},
    {"type": "image", "file_id": "file-1"},
]
UNKNOWN: list[dict[str, Any]] = [
    {"type": "audio", "base64": DATA, "mime_type": "audio/wav"},
    {"type": "input_audio", "input_audio": {"data": DATA, "format": "wav"}},
    {"type": "video", "url": "https://example.com/a.mp4"},
    {"type": "tool_result", "tool_use_id": "c1", "content": "rain"},
    {"type": "UNKNOWN", "is_unknown": True},
    {"text": "no type"},
    {},
]


@every_way
@pytest.mark.parametrize("part", [*BAD_PICTURES, *UNKNOWN], ids=str)
async def test_what_the_api_has_no_form_for_raises_before_sending(
    scout: Scout, provider: FakeProvider, ask: Ask, part: dict[str, Any]
) -> None:
    """A bad picture, sound, video or an unknown part is never dropped and never sent."""
    with pytest.raises(ValueError, match=r"image|picture|Scout|mime|source"):
        await ask(scout(), [HumanMessage(["Well?", part])])
    assert [] == provider.requests


def test_roles_and_names_are_kept() -> None:
    """Each kind of message has its role; the names of those who speak go out."""
    messages: list[BaseMessage] = [
        SystemMessage("a", name="house"),
        SystemMessage("b", additional_kwargs={"__openai_role__": "developer"}),
        HumanMessage("c", name="ann"),
        AIMessage("d", name="bob"),
        ChatMessage(role="user", content="e", name="cid"),
        ChatMessage(role="developer", content="f"),
    ]
    wired = wire_messages(messages)
    assert [
        ("system", "house"),
        ("developer", None),
        ("user", "ann"),
        ("assistant", "bob"),
        ("user", "cid"),
        ("developer", None),
    ] == [(message["role"], message.get("name")) for message in wired]
    assert list("abcdef") == [message["content"] for message in wired]


@pytest.mark.parametrize(
    "message",
    [ChatMessage(role="critic", content="a"), FunctionMessage(name="f", content="a")],
    ids=["role", "function"],
)
def test_a_message_without_a_place_in_the_api_raises(message: BaseMessage) -> None:
    """An invented role or LangChain's old function message would be refused or misread by the host."""
    with pytest.raises(ValueError, match="has no place in this API"):
        wire_messages([message])


def test_calls_in_the_history_go_back_as_they_came() -> None:
    """Whole calls, invalid ones, and those that stand in Anthropic's content alone, each once and in full."""
    message = AIMessage(
        [
            {"type": "text", "text": "Looking."},
            {"type": "tool_use", "id": "c1", "name": "look", "input": {"at": "\u00fc"}},
            {"type": "tool_use", "id": "c3", "name": "look", "input": {"at": "z"}},
        ],
        tool_calls=[{"name": "look", "args": {"at": "\u00fc"}, "id": "c1"}],
        invalid_tool_calls=[
            {"name": "look", "args": '{"at": ', "id": "c2", "error": "cut", "type": "invalid_tool_call"}
        ],
    )
    (wired,) = wire_messages([message])
    assert [{"type": "text", "text": "Looking."}] == wired["content"]
    assert [("c1", '{"at": "\u00fc"}'), ("c2", '{"at": '), ("c3", '{"at": "z"}')] == [
        (call["id"], call["function"]["arguments"]) for call in wired["tool_calls"]
    ]


def test_thoughts_are_not_sent_back() -> None:
    """Scout's hosts have no field for what a model thought; the words it said all go."""
    message = AIMessage(
        [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "reasoning", "reasoning": "hm"},
            {"type": "text", "text": "Yes."},
            "No.",
        ],
        additional_kwargs={"reasoning_content": "hm"},
    )
    (wired,) = wire_messages([message])
    assert {
        "role": "assistant",
        "content": [{"type": "text", "text": "Yes."}, {"type": "text", "text": "No."}],
    } == wired


def test_a_cache_mark_stays_on_its_text() -> None:
    """`cache_control` goes out with the part it marks; nothing else of a foreign block does."""
    part = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}, "index": 0, "id": "x"}
    assert [{"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]}] == (
        wire_messages([HumanMessage([part])])
    )


texts = st.text(min_size=1, max_size=20)
parts = st.lists(
    st.one_of(texts, texts.map(lambda text: {"type": "text", "text": text}), st.sampled_from([*INLINE, *BY_ADDRESS])),
    min_size=1,
    max_size=4,
)
speakers = st.sampled_from([SystemMessage, HumanMessage, AIMessage])


@given(st.lists(st.tuples(speakers, texts) | st.tuples(st.just(HumanMessage), parts), min_size=1, max_size=6))
def test_everything_that_was_said_is_sent(said: list[tuple[Any, Any]]) -> None:
    """Whatever texts and pictures a conversation holds, all of them go out, in order, as the API takes them."""
    wired = wire_messages([kind(content) for kind, content in said])
    assert [] == list(message_problems(wired))
    for (_, content), message in zip(said, wired, strict=True):
        if isinstance(content, str):
            assert content == message["content"]
            continue
        words = [part if isinstance(part, str) else part.get("text", "picture") for part in content]
        assert words == [part.get("text", "picture") for part in message["content"]]
