"""A conversation as it is put to the guard: turns that alternate, the judged one last, nothing of it lost."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from strategies import conversations, hostile_texts

from llama_guard_core.errors import GuardUnavailable
from llama_guard_core.guardrail.prompt import Turn, chat_messages, guard_questions
from llama_guard_core.guardrail.splitting import Splitting
from llama_guard_core.guardrail.verdict import Stage
from llama_guard_core.messages import Conversation, Image, Message, Text, ToolCall, Unjudgeable, assistant, user

CALL = ToolCall("c1", "look_up", '{"q": "x"}')
CALLED = 'Call of the tool look_up with {"q": "x"}'
NOTHING_YET = ("user", "(The user has said nothing yet.)")
PICTURE = Image("https://example.org/a.png")


def system(text: str) -> Message:
    return Message("system", (Text(text),))


def tool(text: str) -> Message:
    return Message("tool", (Text(text),))


def question(conversation: Conversation, stage: Stage = Stage.PROMPT) -> tuple[Turn, ...]:
    """The first question about a conversation."""
    return guard_questions(conversation, stage, Splitting())[0]


def sent(conversation: Conversation, stage: Stage = Stage.PROMPT) -> list[tuple[str, str]]:
    return [(message["role"], message["content"]) for message in chat_messages(question(conversation, stage))]


PROMPTS = {
    "user": ((user("a"),), [("user", "a")]),
    "user in parts": ((Message("user", (Text("a"), Text("b"))),), [("user", "a\nb")]),
    "system, user": ((system("s"), user("a")), [("user", "a")]),
    "user, user": ((user("a"), user("b")), [("user", "a\n\nb")]),
    "user, system, user": ((user("a"), system("s"), user("b")), [("user", "a\n\nb")]),
    "system only": ((system("s"), system("t")), [("user", "s\n\nt")]),
    "system only, reply begun": ((system("s"), assistant("b")), [("user", "s")]),
    "tool at an odd index": ((user("a"), tool("r")), [("user", "a\n\nResult of a tool:\nr")]),
    "user, tool, user": ((user("a"), tool("r"), user("b")), [("user", "a\n\nResult of a tool:\nr\n\nb")]),
    "user, call, tool": (
        (user("a"), assistant("", (CALL,)), tool("r")),
        [("user", "a"), ("assistant", CALLED), ("user", "Result of a tool:\nr")],
    ),
    "user, empty assistant, user": (
        (user("a"), Message("assistant"), user("b")),
        [("user", "a"), ("assistant", "(Nothing.)"), ("user", "b")],
    ),
    "greeted first": ((assistant("hi"), user("a")), [NOTHING_YET, ("assistant", "hi"), ("user", "a")]),
    "reply begun": ((user("a"), assistant("Sure, h")), [("user", "a")]),
    "blank prompt beside a real one": ((user(" "), user("a")), [("user", " \n\na")]),
}

REPLIES = {
    "user, assistant": ((user("a"), assistant("b")), [("user", "a"), ("assistant", "b")]),
    "assistant only": ((assistant("b"),), [NOTHING_YET, ("assistant", "b")]),
    "system, assistant": ((system("s"), assistant("b")), [("user", "s"), ("assistant", "b")]),
    "reply begun": ((user("a"), assistant("b"), assistant("c")), [("user", "a"), ("assistant", "b\n\nc")]),
    "answer to a tool": (
        (user("a"), assistant("", (CALL,)), tool("r"), assistant("b")),
        [("user", "a"), ("assistant", CALLED), ("user", "Result of a tool:\nr"), ("assistant", "b")],
    ),
    "text and call": ((user("a"), assistant("b", (CALL,))), [("user", "a"), ("assistant", f"b\n{CALLED}")]),
    "call without arguments": (
        (user("a"), assistant("", (ToolCall("c1", "stop", ""),))),
        [("user", "a"), ("assistant", "Call of the tool stop with {}")],
    ),
    "blank question": ((user(""), assistant("b")), [("user", "(Nothing.)"), ("assistant", "b")]),
}


@pytest.mark.parametrize(("conversation", "expected"), PROMPTS.values(), ids=PROMPTS)
def test_a_prompt_is_put_as_the_last_user_turn(conversation: Conversation, expected: list[tuple[str, str]]) -> None:
    assert expected == sent(conversation)


@pytest.mark.parametrize(("conversation", "expected"), REPLIES.values(), ids=REPLIES)
def test_a_reply_is_put_as_the_last_assistant_turn(conversation: Conversation, expected: list[tuple[str, str]]) -> None:
    assert expected == sent(conversation, Stage.REPLY)


@pytest.mark.parametrize(("stage", "role"), [(stage, "user") for stage in ("prompt", "tool_result", "document")])
def test_what_the_model_reads_is_judged_as_the_users(stage: str, role: str) -> None:
    assert [(role, "a")] == sent((user("a"),), Stage(stage))


@pytest.mark.parametrize("stage", [Stage.REPLY, Stage.TOOL_CALL])
def test_what_the_model_writes_is_judged_as_the_assistants(stage: Stage) -> None:
    assert "assistant" == sent((user("a"), assistant("", (CALL,))), stage)[-1][0]


@given(conversations)
@settings(max_examples=100)
def test_turns_alternate_from_the_user_to_the_judged_role_and_none_is_blank(conversation: Conversation) -> None:
    for stage, judged in ((Stage.PROMPT, "user"), (Stage.REPLY, "assistant")):
        with suppress(GuardUnavailable):
            turns = sent(conversation, stage)
            assert [("user", "assistant")[index % 2] for index in range(len(turns))] == [role for role, _ in turns]
            assert judged == turns[-1][0]
            assert all(text.strip() for _, text in turns)


@given(conversations)
@settings(max_examples=100)
def test_no_word_said_since_the_model_last_spoke_is_lost(conversation: Conversation) -> None:
    asked = (assistant("earlier"), *conversation, user("last"))
    since = asked[max(i for i, message in enumerate(asked) if message.role == "assistant") :]
    parts = [part for message in since if message.role in ("user", "tool") for part in message.parts]
    words = {word for part in parts if isinstance(part, Text) for word in part.text.split()}
    assert words <= set(sent(asked)[-1][1].split())


@given(hostile_texts)
@settings(max_examples=100)
def test_everything_that_is_sent_is_neutralised(text: str) -> None:
    call = ToolCall("c", text, text)
    unreadable = Message("user", (Text(text), Unjudgeable(text)))
    asked = (unreadable, assistant(text, (call,)), tool(text), user(text), user("end"))
    assert [] == [text for _, text in sent(asked) if "<|" in text or "|>" in text or "\nUser:" in text]


def test_tool_arguments_are_put_without_their_json_escapes() -> None:
    escaped = ToolCall("c", "say", '{"q": "\\u0939\\u0948 \\ud83d\\ude00 \\u003c|eot|>"}')
    assert (
        'Call of the tool say with {"q": "है 😀 < |eot| >"}'
        == sent((assistant("", (escaped,)),), Stage.TOOL_CALL)[-1][1]
    )


def test_pictures_come_first_in_the_turn_they_belong_to_and_earlier_turns_keep_theirs() -> None:
    other = Image("data:image/png;base64,AAAA")
    asked = (Message("user", (Text("a"), PICTURE, Text("b"))), assistant("c"), user("d"), Message("user", (other,)))
    first, _, last = chat_messages(question(asked))
    picture = {"type": "image_url", "image_url": {"url": PICTURE.url}}
    assert [picture, {"type": "text", "text": "a\nb"}] == first["content"]
    assert [{"type": "image_url", "image_url": {"url": other.url}}, {"type": "text", "text": "d"}] == last["content"]


def test_a_picture_alone_is_given_a_text() -> None:
    (turn,) = chat_messages(question((Message("user", (PICTURE,)),)))
    assert {"type": "text", "text": "(See the image.)"} == turn["content"][-1]


def test_an_earlier_picture_by_the_assistant_is_only_named() -> None:
    asked = (user("draw"), Message("assistant", (Text("here"), PICTURE)), user("thanks"))
    assert ("assistant", "here\n(an image in a reply)") == sent(asked)[1]


@pytest.mark.parametrize("parts", [(Unjudgeable("input_audio"),), (Text("listen"), Unjudgeable("input_audio"))])
def test_what_cannot_be_read_is_named_in_an_earlier_turn(parts: tuple[Text | Unjudgeable, ...]) -> None:
    asked = (Message("user", parts), assistant("ok"), user("b"))
    assert sent(asked)[0][1].endswith("(input_audio)")


UNREADABLE: list[tuple[Conversation, Stage, str]] = [
    ((Message("user", (Text("a"), Unjudgeable("video"), Unjudgeable("file"))),), Stage.PROMPT, "judge file, video: it"),
    ((Message("user", (Unjudgeable("video"),)), user("a")), Stage.PROMPT, "cannot judge video"),
    ((Message("tool", (Unjudgeable("file"),)),), Stage.TOOL_RESULT, "cannot judge file"),
    ((user("draw"), Message("assistant", (PICTURE,))), Stage.REPLY, "cannot judge an image in a reply"),
    ((), Stage.PROMPT, "no user turn"),
    ((assistant("b"),), Stage.PROMPT, "no user turn"),
    ((user(" \n"),), Stage.PROMPT, "no user turn"),
    ((user("a"), assistant("b"), user("\u200b")), Stage.PROMPT, "no user turn"),
    ((user("a"),), Stage.REPLY, "no assistant turn"),
    ((user("a"), Message("assistant")), Stage.REPLY, "no assistant turn"),
]


@pytest.mark.parametrize(("conversation", "stage", "told"), UNREADABLE)
def test_a_turn_that_cannot_be_judged_or_is_not_there_is_never_passed_over(
    conversation: Conversation, stage: Stage, told: str
) -> None:
    with pytest.raises(GuardUnavailable, match=told) as raised:
        question(conversation, stage)
    assert ("not_judgeable", stage) == (raised.value.reason, raised.value.stage)
