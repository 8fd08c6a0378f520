"""A request as the host received it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import httpx

Kind = Literal["chat", "guard"]


@dataclass(frozen=True, slots=True)
class Received:
    """One request for a completion.

    Attributes:
        kind: whether a chat model or a guard was asked.
        body: the JSON body.
        headers: the HTTP headers.
    """

    kind: Kind
    body: dict[str, Any]
    headers: httpx.Headers

    @property
    def model(self) -> str:
        """The model asked for."""
        return str(self.body.get("model", ""))

    @property
    def stream(self) -> bool:
        """Whether an event stream was asked for."""
        return self.body.get("stream") is True

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages."""
        return list(self.body["messages"])

    @property
    def last_text(self) -> str:
        """The text of the last message."""
        return text_of(self.messages[-1].get("content"))


@dataclass(frozen=True, slots=True)
class GuardQuestion:
    """What a guard was asked to judge.

    Attributes:
        role: whose turn was judged: `user` or `assistant`.
        text: the text of that turn.
        images: the addresses of its pictures.
        turns: role and text of every turn, the judged one last.
    """

    role: str
    text: str
    images: tuple[str, ...]
    turns: tuple[tuple[str, str], ...]


def read_request(request: httpx.Request) -> Received | None:
    """Read the JSON object a request carries, or `None` if it carries none."""
    try:
        body = json.loads(request.content)
    except ValueError:
        return None
    if not isinstance(body, dict):
        return None
    kind: Kind = "guard" if str(body.get("model", "")).startswith("meta-llama/llama-guard") else "chat"
    return Received(kind, body, request.headers)


def guard_question(received: Received) -> GuardQuestion:
    """Read what a guard is asked: the last turn, in its conversation."""
    turns = tuple((str(m["role"]), text_of(m["content"])) for m in received.messages)
    role, text = turns[-1]
    return GuardQuestion(role, text, _images_of(received.messages[-1]["content"]), turns)


def text_of(content: object) -> str:
    """All text of a message's content, a line for each part."""
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in _parts_of(content, "text"))


def _images_of(content: object) -> tuple[str, ...]:
    return tuple(part["image_url"]["url"] for part in _parts_of(content, "image_url"))


def _parts_of(content: object, kind: str) -> list[dict[str, Any]]:
    parts = content if isinstance(content, Sequence) and not isinstance(content, str) else ()
    return [part for part in parts if part["type"] == kind]
