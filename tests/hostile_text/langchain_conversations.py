"""Fuzzed conversations of LangChain: nothing of them is lost on the way to the guard, and what goes there comes back."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)

from hostile_text.counting import Row, cases_of
from hostile_text.marked import TYPED, Marks, check_asked, check_message, conversations, plain_of, stages_for
from langchain_llama_guard._conversation import conversation_of, message_of
from langchain_llama_guard._wire_messages import wire_messages
from llama_guard_core.messages import as_conversation


def rows(seed: int, cases: int) -> list[Row]:
    """Single messages, conversations, and conversations there and back."""
    return [
        _messages(seed, cases),
        conversations("LangChain conversation", seed, cases // 4, _message, conversation_of),
        _there_and_back(seed, cases // 2),
        _long(seed),
    ]


def _messages(seed: int, cases: int) -> Row:
    row = Row("LangChain message")
    for chance, _ in cases_of(row.name, seed, cases):
        marks = Marks(chance)
        message = _message(marks)
        if message is None:
            continue
        with row.case(message, typed=TYPED):
            check_message(row, message_of(message), marks.made, message)
        with row.case(message, typed=(ValueError,)):
            wire_messages([message])
    return row


def _message(marks: Marks) -> BaseMessage | None:
    """A message; `None` where LangChain itself refuses to make it."""
    kind = marks.chance.choice([_human, _human, _ai, _ai, _ai_chunk, _tool, _odd])
    try:
        return kind(marks)
    except (ValueError, TypeError, RecursionError, LookupError):  # pydantic's, or of what it was given
        return None


def _human(marks: Marks) -> BaseMessage:
    return HumanMessage(
        _content(marks), name=marks.chance.choice([None, "x" * 200]), id="i" * marks.chance.choice([1, 5000])
    )


def _odd(marks: Marks) -> BaseMessage:
    content = _content(marks)
    role = marks.chance.choice(["assistant", "user", "", "\x1b[2J", "robot", "SYSTEM", "developer"])
    kinds = [
        ChatMessage(content, role=role),
        SystemMessage(content),
        RemoveMessage(id="1"),
        FunctionMessage(content, name="f"),
    ]
    message = marks.chance.choice(kinds)
    if isinstance(message, RemoveMessage):
        marks.made.clear()
    return message


def _tool(marks: Marks) -> BaseMessage:
    content = marks.value() if marks.chance.random() < 0.2 else _content(marks)
    return ToolMessage(content, tool_call_id="c1", status=marks.chance.choice(["success", "error"]))


def _ai(marks: Marks) -> BaseMessage:
    calls = [{"name": marks.word(), "args": marks.mapping(), "id": _call_id(marks)} for _ in range(_few(marks))]
    broken = [
        {"name": marks.word(), "args": marks.text(), "id": _call_id(marks), "error": None} for _ in range(_few(marks))
    ]
    extras = {
        name: marks.value() for name in ("reasoning_content", "refusal", "thinking") if marks.chance.random() < 0.1
    }
    return AIMessage(_content(marks), tool_calls=calls, invalid_tool_calls=broken, additional_kwargs=extras)


def _ai_chunk(marks: Marks) -> BaseMessage:
    forms = [
        '{{"q": "{}"',
        '{{"q": "{}"}}',
        "{{" * 2000 + "{}",
        '"{}',
        "{}\x00",
        '{{"q": "", "q": "{}"}}',
        '{{"q": "{}", "q": 1}}',
    ]
    pieces = [
        {
            "name": marks.word(),
            "args": marks.chance.choice(forms).format(marks.word()),
            "id": _call_id(marks),
            "index": at,
        }
        for at in range(_few(marks))
    ]
    return AIMessageChunk(_content(marks), tool_call_chunks=pieces)


def _few(marks: Marks) -> int:
    return marks.chance.choice([0, 0, 1, 2])


def _call_id(marks: Marks) -> Any:
    return marks.chance.choice(["c1", "c2", "", None, "\x00", "i" * 3000])


def _content(marks: Marks) -> Any:
    match marks.chance.randint(0, 5):
        case 0:
            return ""
        case 1:
            return marks.text()
        case _:
            return [_part(marks) for _ in range(marks.chance.randint(0, 3))]


def _part(marks: Marks) -> Any:  # noqa: C901, PLR0911, PLR0912 - one line a form
    match marks.chance.randint(0, 17):
        case 0:
            return marks.text()
        case 1:
            return {"type": "text", "text": marks.text()}
        case 2:
            return {
                "type": "text",
                "text": marks.text(),
                "annotations": [{"cited": marks.text()}],
                "note": marks.text(),
            }
        case 3:
            return {"type": "text", "text": marks.chance.choice([None, 7, ""])}
        case 4:
            url = marks.url() if marks.chance.random() < 0.8 else None
            return {"type": "image_url", "image_url": {"url": url}, "alt": marks.text()}
        case 5:
            return {"type": "image", "url": marks.url(), "caption": marks.text()}
        case 6:
            return {"type": "text-plain", "text": marks.text(), "title": marks.text(), "mime_type": "text/plain"}
        case 7:
            return {"type": marks.chance.choice(["audio", "video", "file", "media"]), "data": marks.text()}
        case 8:
            return {
                "type": marks.chance.choice(["thinking", "reasoning"]),
                "thinking": marks.text(),
                "reasoning": marks.text(),
            }
        case 9:
            return {"type": "tool_use", "id": "c1", "name": "f", "input": {"q": marks.text()}}
        case 10:
            return {"type": "tool_call", "id": "c2", "name": marks.word(), "args": marks.mapping()}
        case 11:
            return {"type": "tool_result", "tool_use_id": "c1", "content": _content(marks)}
        case 12:
            return {"type": [marks.text()], "text": marks.text()}
        case 13:
            return {marks.chance.choice([1, None, ("a", "b"), b"c", 2.5]): marks.text()}
        case 14:
            return {"type": marks.text(), **marks.mapping()}
        case 15:
            return {"type": "refusal", "refusal": marks.text()}
        case 16:
            return {"type": "non_standard", "value": marks.mapping(), "id": marks.chance.choice([None, Ellipsis, 3])}
        case _:
            return {}


def _there_and_back(seed: int, cases: int) -> Row:
    """What the API is sent says what the messages say, and is read by `check` as the same conversation."""
    row = Row("LangChain there and back")
    for chance, _ in cases_of(row.name, seed, cases):
        marks = Marks(chance)
        calls = [
            {"name": "f", "args": {"q": marks.text()}, "id": f"c{number}"} for number in range(chance.randint(0, 2))
        ]
        image = {"type": "image_url", "image_url": {"url": marks.url()}}
        said: list[BaseMessage] = [
            SystemMessage(marks.text()),
            HumanMessage([marks.text(), {"type": "text", "text": marks.text()}, image]),
            AIMessage(marks.chance.choice(["", marks.text()]), tool_calls=calls),
            *(ToolMessage(marks.text(), tool_call_id=call["id"]) for call in calls),
            HumanMessage(marks.text()),
        ]
        with row.case(said, typed=()):
            if plain_of(conversation_of(said)) != plain_of(as_conversation(wire_messages(said))):
                row.wrong("dropped parts", said)
            row.outcomes["the same"] += 1
    return row


def _long(seed: int) -> Row:
    """Thousands of messages, and one of megabytes."""
    row = Row("LangChain long conversation")
    for chance, number in cases_of(row.name, seed, 2):
        marks = Marks(chance)
        texts = [f"{marks.word()} and" for _ in range(3000)]
        said = [(HumanMessage, AIMessage)[at % 2 if number else 0](text) for at, text in enumerate(texts)]
        said.append(HumanMessage(f"{'word ' * 600_000}{marks.word()}"))
        with row.case("thousands of messages", typed=()):
            conversation = conversation_of(said)
            check_asked(row, conversation, next(iter(stages_for(conversation))), [[mark] for mark in marks.made])
    return row
