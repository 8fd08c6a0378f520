"""The least that a guarded stream can be, written by hand on bare httpx for this one question.

They retry nothing, read no verdict but the two words, and make no message of any framework.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx
from typing_extensions import Self

from benchmarks.streaming_cases import GUARD_MODEL, KEY, MODEL

_REFUSAL = "I can't help with that."


class Ideals:
    """Guarded streams by hand. Both check the prompt while the model is thinking already."""

    def __init__(self, base_url: str) -> None:
        self._client = httpx.AsyncClient(headers={"authorization": f"Bearer {KEY}"})
        self._url = f"{base_url}/chat/completions"

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def whole(self, prompt: str) -> AsyncIterator[str]:
        """Show nothing before one check at the end."""
        async with _Reading(self._client, self._url, prompt) as reading:
            if not await self._is_safe(prompt):
                yield _REFUSAL
                return
            await reading.finished()
            yield reading.text if await self._is_safe(prompt, reading.text) else _REFUSAL

    async def greedy_windows(self, prompt: str) -> AsyncIterator[str]:
        """Check all there is as soon as the last check has ended, and show it."""
        async with _Reading(self._client, self._url, prompt) as reading:
            text = shown = ""
            safe = await self._is_safe(prompt)
            while safe:
                yield text[len(shown) :]
                shown, text = text, await reading.beyond(text)
                if text == shown:
                    return
                safe = await self._is_safe(prompt, text)
            yield _REFUSAL

    async def _is_safe(self, prompt: str, reply: str | None = None) -> bool:
        answer = [] if reply is None else [{"role": "assistant", "content": reply}]
        request = {"model": GUARD_MODEL, "messages": [{"role": "user", "content": prompt}, *answer]}
        completion = (await self._client.post(self._url, json=request)).json()
        return bool(completion["choices"][0]["message"]["content"] == "safe")


class _Reading:
    """A reply that is read in the background for as long as the `async with` block lasts."""

    def __init__(self, client: httpx.AsyncClient, url: str, prompt: str) -> None:
        request: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": prompt}], "stream": True}
        self._stream = client.stream("POST", url, json=request)
        self._news = asyncio.Event()
        self.text = ""

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._read())
        self._task.add_done_callback(lambda _: self._news.set())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def finished(self) -> None:
        """Wait for the end of the reply."""
        await self._task

    async def beyond(self, text: str) -> str:
        """All that was read, once it is more than `text` or there is no more."""
        while self.text == text and not self._task.done():
            self._news.clear()
            await self._news.wait()
        return self.text

    async def _read(self) -> None:
        async with self._stream as response:
            async for line in response.aiter_lines():
                if line.startswith("data: {"):
                    self.text += json.loads(line[6:])["choices"][0]["delta"]["content"]
                    self._news.set()
