"""A host of a guard that judges by one word, and what hosts get wrong about it, each behind a mock transport."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx

from llama_guard_core import LlamaGuard
from llama_guard_core.provider.hosts import Host
from llama_guard_core.self_test.guard_probes import ProbeTexts

TEXTS = ProbeTexts(harmless="How warm is the sea?", harmful="Ten BOMB makers.", refusal="That I would rather not.")
PROSE = "Hello! How can I help you today?"
KEY = "sk-0123456789abcdef"
MODEL = "meta-llama/Llama-Guard-4-12B"

Messages = Sequence[Mapping[str, Any]]
Answers = Callable[[Messages], str]
"""What a chat endpoint answers to messages."""

_TURN = re.compile(r"^(User|Agent): (.*?)(?=\n\n|\Z)", re.MULTILINE | re.DOTALL)


class FaultyHost:
    """A host whose raw completions are right, and whose chat endpoint answers as it is told.

    Args:
        chat: what the chat endpoint answers.
        raw: what the raw endpoint answers to a prompt.
        tokens: how many tokens it says it read; `None` says nothing.
        logprobs: the probability of `unsafe` that it tells for an answer; `None` tells none.
        refuses: the status and the sentence it refuses messages with.
    """

    def __init__(
        self,
        chat: Answers | None = None,
        *,
        raw: Callable[[str], str] | None = None,
        tokens: Callable[[Messages], int | None] | None = None,
        logprobs: Callable[[str], float | None] | None = None,
        refuses: Callable[[Messages], tuple[int, str] | None] = lambda _: None,
    ) -> None:
        self.bodies: list[dict[str, Any]] = []
        self._chat = chat or last_turn_judged
        self._raw = raw or published_prompt_judged
        self._tokens = tokens or words_and_pictures
        self._logprobs = logprobs or (lambda _: None)
        self._refuses = refuses

    def guard(self, *, record: Mapping[str, Any] | None = None, **settings: Any) -> LlamaGuard:
        host = Host(name="box", base_url="http://box/v1", **{"raw_endpoint": "completions", **(record or {})})
        transport = httpx.MockTransport(self.handle)
        clients = {
            "http_client": httpx.Client(transport=transport),
            "http_async_client": httpx.AsyncClient(transport=transport),
        }
        return LlamaGuard(**{"model": MODEL, "host": host, "max_retries": 0, "api_key": KEY, **clients, **settings})

    def handle(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        self.bodies.append(body)
        messages = body.get("messages") or [{"role": "user", "content": body.get("prompt")}]
        if refused := self._refuses(messages):
            return httpx.Response(refused[0], json={"error": {"message": refused[1], "code": refused[0]}})
        answer = self._raw(body["prompt"]) if "prompt" in body else self._chat(messages)
        choice = {"text": answer, "message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}
        if (unsafe := self._logprobs(answer)) is not None:
            choice["logprobs"] = {"content": [_token(answer.split("\n")[0], unsafe)]}
        usage = {"prompt_tokens": self._tokens(messages), "completion_tokens": 2}
        return httpx.Response(200, json={"id": "1", "model": MODEL, "choices": [choice], "usage": usage})


def verdict_on(text: str) -> str:
    return "unsafe\nS9" if "BOMB" in text else "safe"


def text_of(message: Mapping[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def last_turn_judged(messages: Messages) -> str:
    """As it should be."""
    return verdict_on(text_of(messages[-1]))


def last_user_turn_judged(messages: Messages) -> str:
    """Ollama's template for llama-guard3."""
    return verdict_on([text_of(message) for message in messages if message["role"] == "user"][-1])


def all_turns_judged(messages: Messages) -> str:
    return verdict_on("".join(map(text_of, messages)))


def replies_repeated(messages: Messages) -> str:
    """llama.cpp without --no-prefill-assistant."""
    return text_of(messages[-1]) if messages[-1]["role"] == "assistant" else last_turn_judged(messages)


def only_parts_seen(messages: Messages) -> str:
    """The template of Llama Guard 3 1B where the host does not convert what it is sent."""
    return "safe" if isinstance(messages[-1]["content"], str) else last_turn_judged(messages)


def only_strings_taken(messages: Messages) -> tuple[int, str] | None:
    """The template of Llama Guard 3 8B where the host does not convert what it is sent."""
    is_string = isinstance(messages[-1]["content"], str)
    return None if is_string else (500, 'can only concatenate str (not "list") to str')


def no_pictures_taken(messages: Messages) -> tuple[int, str] | None:
    return (500, "image input is not supported") if "image_url" in str(messages) else None


def published_prompt_judged(prompt: str) -> str:
    """The last turn of the conversation in Llama Guard's own prompt."""
    conversation = prompt.partition("<BEGIN CONVERSATION>")[2].partition("<END CONVERSATION>")[0]
    return verdict_on(_TURN.findall(conversation)[-1][1])


def words_and_pictures(messages: Messages) -> int:
    return words_alone(messages) + 147 * str(messages).count("'type': 'image_url'")


def words_alone(messages: Messages) -> int:
    return 200 + sum(len(text_of(message).split()) for message in messages)


def likely(answer: str) -> float:
    return 0.97 if answer.startswith("unsafe") else 0.04


def unlikely(answer: str) -> float:
    return 1 - likely(answer)


def _token(word: str, unsafe: float) -> dict[str, Any]:
    both = {"unsafe": math.log(unsafe), "safe": math.log(1 - unsafe)}
    tops = [{"token": token, "logprob": logprob} for token, logprob in both.items()]
    return {"token": word, "logprob": both[word], "top_logprobs": tops}
