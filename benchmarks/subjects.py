"""Who is measured: a subject is one client, doing the same work as every other."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.util import find_spec

import httpx
from langchain_core.language_models import BaseChatModel

from benchmarks.local_host import Behaviour, LocalHost
from langchain_llama_guard import ChatLlamaScout, LlamaGuard

TEXT = "Name three rivers of Switzerland."
CHUNKS = 2_000
KEY = "sk-local"
MODEL = "meta-llama/llama-4-scout"

BARE = "bare httpx"
SCOUT = "ChatLlamaScout"
SCOUT_AIOHTTP = "ChatLlamaScout over aiohttp"
GUARDED = "ChatLlamaScout, guarded"
OPENAI = "ChatOpenAI"
OPENROUTER = "ChatOpenRouter"


@dataclass(frozen=True, slots=True)
class Subject:
    """One client; each attribute is one piece of work, or `None` where it has no such way.

    Attributes:
        call: a plain call, which returns the reply's text.
        acall: the same, asynchronously.
        stream: a streamed call, which returns how many pieces came.
        astream: the same, asynchronously.
    """

    call: Callable[[], str] | None = None
    acall: Callable[[], Awaitable[str]] | None = None
    stream: Callable[[], int] | None = None
    astream: Callable[[], Awaitable[int]] | None = None


@dataclass(frozen=True, slots=True)
class NotInstalled:
    """A client that cannot be measured here, and the package it lacks."""

    package: str


def subjects(host: LocalHost) -> dict[str, Subject | NotInstalled]:
    """Everybody who answers calls, by name."""
    url = host.base_url(Behaviour(chunks=CHUNKS))
    guard = LlamaGuard(base_url=host.base_url(Behaviour("verdict")), api_key=KEY)
    return {
        BARE: _bare_httpx(url),
        SCOUT: _chat_model(ChatLlamaScout(base_url=url, api_key=KEY)),
        SCOUT_AIOHTTP: _scout_over_aiohttp(url),
        GUARDED: _chat_model(ChatLlamaScout(base_url=url, api_key=KEY, guard=guard)),
        **{
            name: peer if isinstance(peer, NotInstalled) else _chat_model(peer)
            for name, peer in ((OPENAI, chat_openai(url)), (OPENROUTER, chat_openrouter(url)))
        },
    }


def chat_openai(base_url: str) -> BaseChatModel | NotInstalled:
    """LangChain's own client for hosts of this kind."""
    if not find_spec("langchain_openai"):
        return NotInstalled("langchain-openai")
    from langchain_openai import ChatOpenAI  # noqa: PLC0415 (it may be missing)

    return ChatOpenAI(base_url=base_url, api_key=KEY, model=MODEL)


def chat_openrouter(base_url: str) -> BaseChatModel | NotInstalled:
    """LangChain's own client for OpenRouter."""
    if not find_spec("langchain_openrouter"):
        return NotInstalled("langchain-openrouter")
    from langchain_openrouter import ChatOpenRouter  # noqa: PLC0415 (it may be missing)

    return ChatOpenRouter(base_url=base_url, api_key=KEY, model=MODEL)


def _chat_model(model: BaseChatModel) -> Subject:
    async def acall() -> str:
        return (await model.ainvoke(TEXT)).text

    async def astream() -> int:
        return len([chunk async for chunk in model.astream(TEXT)])

    return Subject(
        call=lambda: model.invoke(TEXT).text, acall=acall, stream=lambda: sum(1 for _ in model.stream(TEXT)), astream=astream
    )


def _scout_over_aiohttp(base_url: str) -> Subject | NotInstalled:
    if not find_spec("httpx_aiohttp"):
        return NotInstalled("httpx-aiohttp")
    from httpx_aiohttp import HttpxAiohttpClient  # noqa: PLC0415 (it may be missing)

    scout = _chat_model(ChatLlamaScout(base_url=base_url, api_key=KEY, http_async_client=HttpxAiohttpClient()))
    return Subject(acall=scout.acall, astream=scout.astream)


def _bare_httpx(base_url: str) -> Subject:
    """The least that a call can be with httpx: the request as JSON, the answer's text out of its JSON.

    Of a stream only the lines are read, and their JSON is not: what it takes to have the bytes.
    """
    url, headers = f"{base_url}/chat/completions", {"authorization": f"Bearer {KEY}"}
    client, async_client = httpx.Client(headers=headers), httpx.AsyncClient(headers=headers)
    request = {"model": MODEL, "messages": [{"role": "user", "content": TEXT}]}
    streamed = {**request, "stream": True}

    async def acall() -> str:
        return _text(await async_client.post(url, json=request))

    def stream() -> int:
        with client.stream("POST", url, json=streamed) as response:
            return sum(line.startswith("data: {") for line in response.iter_lines())

    async def astream() -> int:
        async with async_client.stream("POST", url, json=streamed) as response:
            return len([line async for line in response.aiter_lines() if line.startswith("data: {")])

    return Subject(call=lambda: _text(client.post(url, json=request)), acall=acall, stream=stream, astream=astream)


def _text(response: httpx.Response) -> str:
    return str(json.loads(response.content)["choices"][0]["message"]["content"])
