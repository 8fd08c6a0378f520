"""The rules a guard's request keeps on top of the API's: its chat template mislabels, in silence, what breaks them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .shapes import integer_from, is_list, is_object

_NOT_FOR_A_GUARD = ("tools", "tool_choice", "response_format", "parallel_tool_calls")
_FEWEST_TOKENS = 16


def guard_problems(body: dict[str, Any]) -> Iterator[str]:
    """Tell what is wrong with a request to a guard."""
    yield from (f"a guard does not take {name}" for name in _NOT_FOR_A_GUARD if name in body)
    if body.get("temperature") != 0:
        yield "a guard is asked at temperature 0"
    if not integer_from(_FEWEST_TOKENS)(body.get("max_tokens")):
        yield f"a guard needs max_tokens of at least {_FEWEST_TOKENS}"
    messages = body.get("messages")
    turns = [turn for turn in messages if is_object(turn)] if is_list(messages) else []
    yield from _turn_problems(turns)


def _turn_problems(turns: list[dict[str, Any]]) -> Iterator[str]:
    for position, turn in enumerate(turns):
        if turn.get("role") != ("assistant" if position % 2 else "user"):
            yield "Conversation roles must alternate user/assistant/user/assistant/..."
            return
    for turn in turns:
        yield from (f"a guard's turn has no {key}" for key in turn if key not in {"role", "content"})
        yield from _content_problems(turn.get("content"), turn["role"])


def _content_problems(content: object, role: str) -> Iterator[str]:
    if isinstance(content, str):
        return
    parts = content if is_list(content) else []
    kinds = [part.get("type") if is_object(part) else None for part in parts]
    if "text" not in kinds:
        yield "a guard's turn has a part of text"
    elif "image_url" in kinds and role != "user":
        yield "images stand in user turns only"
