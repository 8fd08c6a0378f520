"""What the models say when a test has not scripted it: enough to hold a conversation with tools and schemas."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from .received import Received
from .replies import Reply, ToolCall
from .schema_instances import hints_in, instance_of

SMALL_TALK = "Hello there. How can I help you today? Ask me anything about the weather, or about cats."
"""Says nothing that was asked, so that a text which turns up somewhere was not put there by an echo."""

MARKERS = {
    "BOMB": "S9",
    "KNIFE": "S1",
    "FRAUD": "S2",
    "DIAGNOSIS": "S6",
    "ADDRESS": "S7",
    "SLUR": "S10",
    "BALLOT": "S13",
    "EXPLOIT": "S14",
    "HEIST": "S1,S2",
    "NAMELESS": "",
}
"""Word that makes a text unsafe → the hazards it stands for."""


def judge_by(markers: Mapping[str, str], text: str) -> str:
    """Judge a text by the marker words in it, in Llama Guard's words."""
    codes = [codes for marker, codes in markers.items() if marker in text]
    if not codes:
        return "\n\nsafe"
    hazards = ",".join(filter(None, codes))
    return f"\n\nunsafe\n{hazards}" if hazards else "\n\nunsafe"


def converse(received: Received) -> Reply:
    """Answer as an obliging chat model: with a tool if one is wanted, in the form that was asked for."""
    tool = _wanted_tool(received)
    if tool:
        return _call_of(tool, received.last_text)
    return Reply(_until_stop(_said(received), received.body.get("stop")))


def _wanted_tool(received: Received) -> dict[str, Any] | None:
    functions: list[dict[str, Any]] = [tool["function"] for tool in received.body.get("tools", ())]
    choice = received.body.get("tool_choice", "auto")
    if isinstance(choice, dict):
        return _by_name(functions, choice["function"]["name"])
    named = [function for function in functions if _is_spoken_of(function["name"], received.last_text)]
    if choice == "required":
        return (named or functions)[0]
    asked = choice == "auto" and received.messages[-1]["role"] == "user"
    return named[0] if asked and named else None


def _by_name(functions: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(function for function in functions if function["name"] == name)


def _is_spoken_of(name: str, text: str) -> bool:
    return any(len(word) > 3 and word.lower() in text.lower() for word in re.split(r"[_-]", name))


def _call_of(function: dict[str, Any], text: str) -> Reply:
    arguments = instance_of({"type": "object", **function.get("parameters", {})}, hints_in(text))
    return Reply("", (ToolCall(function["name"], json.dumps(arguments, ensure_ascii=False)),))


def _said(received: Received) -> str:
    response_format = received.body.get("response_format", {"type": "text"})
    hints = hints_in(received.last_text)
    if response_format["type"] == "json_schema":
        return json.dumps(instance_of(response_format["json_schema"]["schema"], hints), ensure_ascii=False)
    if response_format["type"] == "json_object":
        return json.dumps({key: f"some {key}" for key in hints.phrases} or {"answer": "yes"}, ensure_ascii=False)
    return SMALL_TALK


def _until_stop(text: str, stop: str | list[str] | None) -> str:
    for word in [stop] if isinstance(stop, str) else stop or ():
        text = text.partition(word)[0]
    return text
