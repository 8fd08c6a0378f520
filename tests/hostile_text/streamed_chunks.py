"""Streamed replies add up to what a whole reply says: in the core, as LangChain's chunks, as LlamaIndex's responses."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from functools import reduce
from operator import add
from typing import Any

from hostile_text.counting import Row, cases_of
from hostile_text.junk import CONTROLS
from llama_guard_core.messages import Message, ToolCall
from llama_guard_core.provider.chunks import CompletionChunk, chunks_of, collected
from llama_guard_core.provider.tool_call_slots import ToolCallFragment
from llama_guard_core.provider.wire import Completion

Says = tuple[str, list[tuple[str, str, str]]]
"""A reply's text, and its calls with their arguments read where they can be."""
_ARGUMENTS = [
    *('{"q": "knife"}', "{}", '{"q": ', "[1]", '"x"', "null", '{"a": {"b": [1, 2.0, NaN]}}', "{" * 5000),
    '{"a":' * 300 + "1" + "}" * 300,
]


def rows(seed: int, cases: int) -> list[Row]:
    """The core's, LangChain's and LlamaIndex's way to add up, as far as they are installed."""
    ways = {"core": _core, "LangChain": _langchain, "LlamaIndex": _llamaindex}
    return [_added_up(f"streamed chunks, {name}", seed, cases, way) for name, way in ways.items()]


def _added_up(
    name: str, seed: int, cases: int, way: Callable[[Completion, list[CompletionChunk]], tuple[Any, Any]]
) -> Row:
    row = Row(name)
    for chance, _ in cases_of(name, seed, cases):
        whole = _reply(chance)
        with row.case(whole.text, typed=()):
            said, said_in_pieces = way(whole, _pieces(chance, whole))
            if repr(said) != repr(said_in_pieces):  # not-a-numbers are not equal
                row.wrong("dropped parts", (said, said_in_pieces))
            row.outcomes["the same"] += 1
    return row


def _reply(chance: random.Random) -> Completion:
    text = "".join(chance.choices([*CONTROLS, "a", "bc", " ", "\n", "😀"], k=chance.randint(0, 12)))
    calls = tuple(ToolCall(f"c{number}", "f", chance.choice(_ARGUMENTS)) for number in range(chance.randint(0, 2)))
    return Completion(text=text, tool_calls=calls, finish_reason="stop", id="1", model="m")


def _pieces(chance: random.Random, whole: Completion) -> list[CompletionChunk]:
    """The chunks that `chunks_of` makes, cut into smaller ones."""
    said, last = chunks_of(whole)
    chunks = [CompletionChunk(piece) for piece in _cut(chance, said.text)]
    for fragment in said.tool_calls:
        first, *others = _cut(chance, fragment.arguments)
        chunks.append(
            CompletionChunk(tool_calls=(ToolCallFragment(fragment.index, fragment.id, fragment.name, first),))
        )
        chunks += [CompletionChunk(tool_calls=(ToolCallFragment(fragment.index, arguments=piece),)) for piece in others]
    return [*chunks, last]


def _cut(chance: random.Random, text: str) -> list[str]:
    cuts = sorted(chance.randint(0, len(text)) for _ in range(chance.randint(0, 3)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def _core(whole: Completion, chunks: list[CompletionChunk]) -> tuple[Any, Any]:
    added = collected(chunks)
    return (whole.text, whole.tool_calls, whole.id), (added.text, added.tool_calls, added.id)


def _langchain(whole: Completion, chunks: list[CompletionChunk]) -> tuple[Any, Any]:
    from langchain_llama_guard._conversation import message_of  # noqa: PLC0415 - the row is for where it is installed
    from langchain_llama_guard._replies import ai_message, generation_chunk  # noqa: PLC0415

    summed = reduce(add, (generation_chunk(chunk).message for chunk in chunks))
    return _said(message_of(ai_message(whole))), _said(message_of(summed))


def _llamaindex(whole: Completion, chunks: list[CompletionChunk]) -> tuple[Any, Any]:
    from llamaindex_llama_guard._conversation import message_of  # noqa: PLC0415 - as above
    from llamaindex_llama_guard._replies import StreamedReply, chat_response  # noqa: PLC0415

    growing = StreamedReply()
    last = [growing.receive(chunk) for chunk in chunks][-1]
    return _said(message_of(chat_response(whole).message)), _said(message_of(last.message))


def _said(message: Message) -> Says:
    """By the calls' ids: LangChain puts those whose arguments it cannot read behind the others."""
    return message.text, sorted((call.id, call.name, _read(call.arguments)) for call in message.tool_calls)


def _read(arguments: str) -> str:
    try:
        return json.dumps(json.loads(arguments), sort_keys=True)
    except (ValueError, RecursionError):
        return arguments
