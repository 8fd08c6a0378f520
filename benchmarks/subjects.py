"""Who is measured: clients that do the same work, each in its own way."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib.util import find_spec

import httpx
from langchain_core.language_models import BaseChatModel

from benchmarks.local_host import Behaviour, LocalHost
from benchmarks.measuring import Work
from langchain_llama_guard import ChatLlamaScout, LlamaGuard

BARE = "bare httpx"
SCOUT = "ChatLlamaScout"
SCOUT_AIOHTTP = "ChatLlamaScout over aiohttp"
GUARDED = "ChatLlamaScout, guarded"
OPENAI = "ChatOpenAI"
OPENROUTER = "ChatOpenRouter"

CALL, ACALL, STREAM, ASTREAM = "call", "acall", "stream", "astream"
CHUNKS = 2_000
KEY = "sk-local"
TEXT = "Name three rivers of Switzerland."
_MODEL = "meta-llama/llama-4-scout"

Subject = Mapping[str, Work]
"""One client: what it can do, by `CALL`, `ACALL`, `STREAM` and `ASTREAM`."""


class NotInstalled(Exception):  # noqa: N818 - what has happened
    """A client cannot be measured here; the message is the package it lacks."""


def subjects(host: LocalHost) -> dict[str, Callable[[], Subject]]:
    """Everybody who answers calls, by name. Making one raises `NotInstalled` where it is missing."""
    url = host.base_url(Behaviour(chunks=CHUNKS))
    guard = LlamaGuard(base_url=host.base_url(Behaviour("verdict")), api_key=KEY)
    return {
        BARE: lambda: bare_httpx(url),
        SCOUT: lambda: chat_model(ChatLlamaScout(base_url=url, api_key=KEY)),
        SCOUT_AIOHTTP: lambda: _scout_over_aiohttp(url),
        GUARDED: lambda: chat_model(ChatLlamaScout(base_url=url, api_key=KEY, guard=guard)),
        OPENAI: lambda: chat_model(chat_openai(url)),
        OPENROUTER: lambda: chat_model(chat_openrouter(url)),
    }


def bare_httpx(base_url: str) -> Subject:
    """The least that a call can be with httpx: the request as JSON, the answer's text out of its JSON.

    Of a stream only the lines are read, and their JSON is not: what it takes to have the bytes.
    """
    url, headers = f"{base_url}/chat/completions", {"authorization": f"Bearer {KEY}"}
    client, async_client = httpx.Client(headers=headers), httpx.AsyncClient(headers=headers)
    request = {"model": _MODEL, "messages": [{"role": "user", "content": TEXT}]}
    streamed = {**request, "stream": True}

    async def call() -> str:
        return _text(client.post(url, json=request))

    async def acall() -> str:
        return _text(await async_client.post(url, json=request))

    async def stream() -> None:
        with client.stream("POST", url, json=streamed) as response:
            for _ in response.iter_lines():
                pass

    async def astream() -> None:
        async with async_client.stream("POST", url, json=streamed) as response:
            async for _ in response.aiter_lines():
                pass

    return {CALL: call, ACALL: acall, STREAM: stream, ASTREAM: astream}


def _text(response: httpx.Response) -> str:
    return str(json.loads(response.content)["choices"][0]["message"]["content"])


def chat_model(model: BaseChatModel) -> Subject:
    """A chat model of LangChain's kind, called as its users call it."""

    async def call() -> str:
        return model.invoke(TEXT).text

    async def acall() -> str:
        return (await model.ainvoke(TEXT)).text

    async def stream() -> None:
        for _ in model.stream(TEXT):
            pass

    async def astream() -> None:
        async for _ in model.astream(TEXT):
            pass

    return {CALL: call, ACALL: acall, STREAM: stream, ASTREAM: astream}


def _scout_over_aiohttp(base_url: str) -> Subject:
    """Our chat model with the fastest transport that it can be given; sync calls have none."""
    _require("httpx_aiohttp")
    from httpx_aiohttp import HttpxAiohttpClient  # noqa: PLC0415 (it may be missing)

    model = ChatLlamaScout(base_url=base_url, api_key=KEY, http_async_client=HttpxAiohttpClient())
    return {name: work for name, work in chat_model(model).items() if name in {ACALL, ASTREAM}}


def chat_openai(base_url: str) -> BaseChatModel:
    """LangChain's client for OpenAI, which many use for other hosts."""
    _require("langchain_openai")
    from langchain_openai import ChatOpenAI  # noqa: PLC0415 (it may be missing)

    return ChatOpenAI(base_url=base_url, api_key=KEY, model=_MODEL)


def chat_openrouter(base_url: str) -> BaseChatModel:
    """LangChain's client for OpenRouter."""
    _require("langchain_openrouter")
    from langchain_openrouter import ChatOpenRouter  # noqa: PLC0415 (it may be missing)

    return ChatOpenRouter(base_url=base_url, api_key=KEY, model=_MODEL)


def _require(package: str) -> None:
    if not find_spec(package):
        raise NotInstalled(package)
