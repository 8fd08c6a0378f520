"""What a guard is told in a prompt that is written here, where a chat's messages would have said it."""

from __future__ import annotations

import httpx

from llama_guard_core import LlamaGuard
from llama_guard_core.messages import Message, Text, Unjudgeable, assistant, user


def test_what_the_guard_cannot_read_in_earlier_turns_is_named_there_too() -> None:
    """An earlier turn of audio alone is no empty turn."""
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.content.decode())
        return httpx.Response(200, json={"choices": [{"text": "\n\nsafe", "finish_reason": "stop"}]})

    earlier = Message("user", (Unjudgeable("audio"),))
    both = Message("user", (Text("Listen."), Unjudgeable("video")))
    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        guard = LlamaGuard(host="llama.cpp", http_client=client)
        assert guard.check((earlier, assistant("I did."), both, assistant("Well."), user("And now?"))).safe
    (prompt,) = asked
    assert "User: (audio)" in prompt
    assert r"User: Listen.\n(video)" in prompt
