"""Who is measured on our side: this package in each of its modes, and what it is compared with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

from benchmarks.streaming_cases import KEY, Ask
from benchmarks.streaming_ideals import Ideals
from langchain_llama_guard import ChatLlamaScout, LlamaGuard, Policy
from llamaindex_llama_guard import LlamaGuard as LlamaIndexLlamaGuard
from llamaindex_llama_guard import LlamaScout

UNGUARDED = "ChatLlamaScout, unguarded"
WINDOW = "ChatLlamaScout, window (the default)"
WINDOW_BESIDE = "ChatLlamaScout, window, prompt check beside"
WINDOW_SYNC = "ChatLlamaScout, window, sync"
WINDOW_LLAMA_INDEX = "LlamaScout (LlamaIndex), window"
WHOLE = "ChatLlamaScout, whole"
WHOLE_BESIDE = "ChatLlamaScout, whole, prompt check beside"
OPTIMISTIC = "ChatLlamaScout, optimistic"
IDEAL_WHOLE = "by hand: one check at the end"
IDEAL_WINDOWS = "by hand: greedy windows"

_POLICIES: dict[str, dict[str, Any]] = {
    WINDOW: {"streaming": "window"},
    WINDOW_BESIDE: {"streaming": "window", "prompt_check": "parallel"},
    WHOLE: {"streaming": "whole"},
    WHOLE_BESIDE: {"streaming": "whole", "prompt_check": "parallel"},
    OPTIMISTIC: {"streaming": "optimistic"},
}


def subjects(base_url: str, closing: AsyncExitStack) -> dict[str, Ask]:
    """Everybody on our side, by name.

    Args:
        base_url: the host that everybody asks.
        closing: closes what was opened.
    """
    host: dict[str, Any] = {"base_url": base_url, "api_key": KEY}
    guard = LlamaGuard(**host, policy=Policy(**_POLICIES[WINDOW]), cache=False)
    ideals = Ideals(base_url)
    for opened in (guard, ideals):
        closing.push_async_callback(opened.aclose)
    guards = {name: guard.with_policy(Policy(**policy)) for name, policy in _POLICIES.items()}
    return {
        UNGUARDED: _chat_model(ChatLlamaScout(**host), closing),
        **{name: _chat_model(ChatLlamaScout(**host, guard=one), closing) for name, one in guards.items()},
        WINDOW_SYNC: _chat_model_sync(ChatLlamaScout(**host, guard=guard), closing),
        WINDOW_LLAMA_INDEX: _llm(LlamaScout(**host, guard=LlamaIndexLlamaGuard(**host, cache=False)), closing),
        IDEAL_WHOLE: ideals.whole,
        IDEAL_WINDOWS: ideals.greedy_windows,
    }


def _chat_model(model: ChatLlamaScout, closing: AsyncExitStack) -> Ask:
    closing.push_async_callback(model.aclose)

    async def ask(prompt: str) -> AsyncIterator[str]:
        async for chunk in model.astream(prompt):
            yield chunk.text

    return ask


def _chat_model_sync(model: ChatLlamaScout, closing: AsyncExitStack) -> Ask:
    closing.callback(model.close)

    async def ask(prompt: str) -> AsyncIterator[str]:
        for chunk in model.stream(prompt):
            yield chunk.text

    return ask


def _llm(llm: LlamaScout, closing: AsyncExitStack) -> Ask:
    closing.push_async_callback(llm.aclose)

    async def ask(prompt: str) -> AsyncIterator[str]:
        async for response in await llm.astream_complete(prompt):
            yield response.delta or ""

    return ask
