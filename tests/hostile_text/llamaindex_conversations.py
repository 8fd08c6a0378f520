"""Fuzzed conversations of LlamaIndex: nothing of them is lost on the way to the guard, and what goes there comes back."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.llms.types import (
    AudioBlock,
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from hostile_text.counting import Row, cases_of
from hostile_text.marked import TYPED, Marks, check_asked, check_message, conversations, plain_of, stages_for
from llama_guard_core.messages import as_conversation
from llamaindex_llama_guard._conversation import conversation_of, message_of
from llamaindex_llama_guard._wire_messages import wire_messages

_PIXEL = b"\x89PNG\r\n\x1a\n" + b"\0" * 24


def rows(seed: int, cases: int) -> list[Row]:
    """Single messages, conversations, and conversations there and back."""
    return [
        _messages(seed, cases),
        conversations("LlamaIndex conversation", seed, cases // 4, _message, conversation_of),
        _there_and_back(seed, cases // 2),
        _long(seed),
    ]


def _messages(seed: int, cases: int) -> Row:
    row = Row("LlamaIndex message")
    for chance, _ in cases_of(row.name, seed, cases):
        marks = Marks(chance)
        message = _message(marks)
        if message is None:
            continue
        with row.case(marks.made, typed=TYPED):
            check_message(row, message_of(message), marks.made, message.role)
        with row.case(marks.made, typed=(ValueError, OSError, *TYPED)):
            wire_messages([message])
    return row


def _message(marks: Marks) -> ChatMessage | None:
    """A message; `None` where LlamaIndex itself refuses to make it."""
    role = marks.chance.choice([*MessageRole])
    try:
        blocks = [_block(marks) for _ in range(marks.chance.randint(0, 4))]
        extras = _extras(marks) if marks.chance.random() < 0.4 else {}
        return ChatMessage(role=role, blocks=blocks, additional_kwargs=extras)
    except (ValueError, TypeError, RecursionError, LookupError):  # pydantic's, or of what it was given
        return None


def _extras(marks: Marks) -> dict[str, Any]:
    """What stands beside the blocks: thoughts, calls in several forms, values of any kind."""
    calls: list[Any] = [
        {"id": "c1", "type": "function", "function": {"name": marks.word(), "arguments": marks.text()}},
        {"toolUseId": "c2", "name": marks.word(), "input": marks.mapping()},
        marks.text(),
        [marks.text()],
    ]
    listed = marks.chance.choice([calls, tuple(calls), calls])
    return {
        "tool_calls": listed,
        "reasoning_content": marks.text(),
        marks.chance.choice(["a", "\x1b"]): marks.mapping(),
    }


def _block(marks: Marks) -> Any:  # noqa: C901, PLR0911, PLR0912 - one line a form
    match marks.chance.randint(0, 13):
        case 0 | 1:
            return TextBlock(text=marks.text())
        case 2:
            return TextBlock(text="")
        case 3:
            return ThinkingBlock(content=marks.chance.choice([None, ""]))
        case 4:
            return ThinkingBlock(content=marks.text())
        case 5:
            return ImageBlock(url=marks.url())
        case 6:
            return marks.chance.choice(
                [
                    ImageBlock(image=_PIXEL),
                    ImageBlock(image=b"\x00"),
                    ImageBlock(),
                    ImageBlock(path="/no/such\x00"),
                    ImageBlock(url="x"),
                ]
            )
        case 7:
            return DocumentBlock(
                data=marks.text().encode("utf-8", "replace"), title=marks.word(), document_mimetype="text/plain"
            )
        case 8:
            return marks.chance.choice(
                [DocumentBlock(data=b"\xff\xfe", document_mimetype="text/plain"), DocumentBlock(url="http://x/y")]
            )
        case 9:
            return AudioBlock(audio=_PIXEL)
        case 10:
            return CitableBlock(title=marks.text(), source=marks.text(), content=[TextBlock(text=marks.text())])
        case 11:
            cited = TextBlock(text=marks.text())
            return CitationBlock(
                cited_content=cited, source=marks.text(), title=marks.text(), additional_location_info={"n": 1}
            )
        case 12:
            kwargs = marks.mapping() if marks.chance.random() < 0.7 else marks.text()
            return ToolCallBlock(
                tool_name=marks.word(), tool_kwargs=kwargs, tool_call_id=marks.chance.choice([None, "c1", "i" * 3000])
            )
        case _:
            return CachePoint(cache_control={"type": "ephemeral"})


def _there_and_back(seed: int, cases: int) -> Row:
    """What the API is sent says what the messages say, and is read by `check` as the same conversation."""
    row = Row("LlamaIndex there and back")
    for chance, _ in cases_of(row.name, seed, cases):
        marks = Marks(chance)
        calls = [
            ToolCallBlock(tool_call_id=f"c{number}", tool_name="f", tool_kwargs={"q": marks.text()})
            for number in range(chance.randint(0, 2))
        ]
        said = [
            ChatMessage(role="system", content=marks.text()),
            ChatMessage(role="user", blocks=[TextBlock(text=marks.text()), ImageBlock(url=marks.url())]),
            ChatMessage(role="assistant", blocks=[TextBlock(text=marks.text()), *calls]),
            *(
                ChatMessage(role="tool", content=marks.text(), additional_kwargs={"tool_call_id": call.tool_call_id})
                for call in calls
            ),
            ChatMessage(role="user", content=marks.text()),
        ]
        with row.case(marks.made, typed=()):
            if plain_of(conversation_of(said)) != plain_of(as_conversation(wire_messages(said))):
                row.wrong("dropped parts", marks.made)
            row.outcomes["the same"] += 1
    return row


def _long(seed: int) -> Row:
    """Thousands of messages, and one of megabytes."""
    row = Row("LlamaIndex long conversation")
    for chance, number in cases_of(row.name, seed, 2):
        marks = Marks(chance)
        roles = ("user", "assistant") if number else ("user",)
        said = [ChatMessage(role=roles[at % len(roles)], content=f"{marks.word()} and") for at in range(3000)]
        said.append(ChatMessage(role="user", content=f"{'word ' * 600_000}{marks.word()}"))
        with row.case("thousands of messages", typed=()):
            conversation = conversation_of(said)
            check_asked(row, conversation, next(iter(stages_for(conversation))), [[mark] for mark in marks.made])
    return row
