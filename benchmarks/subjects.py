"""Who is measured: clients that do the same work, each in its own way."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from importlib.util import find_spec
from itertools import cycle
from typing import Any, TypeVar

import httpx
from langchain_core.language_models import BaseChatModel
from pydantic import SecretStr

from benchmarks.local_host import Behaviour, LocalHost
from benchmarks.measuring import Work
from langchain_llama_guard import ChatLlamaScout, LlamaGuard

T = TypeVar("T")

BARE = "bare httpx"
SCOUT = "ChatLlamaScout"
SCOUT_AIOHTTP = "ChatLlamaScout over aiohttp"
GUARDED = "ChatLlamaScout, guarded"
OPENAI = "ChatOpenAI"
OPENROUTER = "ChatOpenRouter"

CALL, ACALL, STREAM, ASTREAM = "call", "acall", "stream", "astream"
CHUNKS = 2_000
KEY = SecretStr("sk-local")
TEXT = "Name three rivers of Switzerland."
_MODEL = "meta-llama/llama-4-scout"

Subject = Mapping[str, Work]
"""What a client can do: `CALL` and `ACALL` return the reply's text, `STREAM` and `ASTREAM` how many pieces had any."""


class NotInstalled(Exception):
    """A client cannot be measured here; the message is the package it lacks."""


def subjects(host: LocalHost, closing: AsyncExitStack) -> dict[str, Callable[[], Subject]]:
    """Everybody who answers calls, by name. Making one raises `NotInstalled` where it is missing.

    Args:
        host: who is called.
        closing: closes what was opened.
    """
    url = host.base_url(Behaviour(chunks=CHUNKS))
    guard = closing.enter_context(LlamaGuard(base_url=host.base_url(Behaviour("verdict")), api_key=KEY, cache=False))
    closing.push_async_callback(guard.aclose)
    return {
        BARE: lambda: bare_httpx(url, closing),
        SCOUT: lambda: _chat_model(_scout(url, closing)),
        SCOUT_AIOHTTP: lambda: _scout_over_aiohttp(url, closing),
        GUARDED: lambda: _chat_model(_scout(url, closing, guard=guard)),
        OPENAI: lambda: _chat_model(chat_openai(url)),
        OPENROUTER: lambda: _chat_model(chat_openrouter(url)),
    }


def installed(makers: Mapping[str, Callable[[], T]]) -> tuple[dict[str, T], dict[str, str]]:
    """Everybody who can be made, and the package that each of the others lacks."""
    made = {name: _made_or_missing(make) for name, make in makers.items()}
    present = {name: one for name, one in made.items() if not isinstance(one, NotInstalled)}
    return present, {name: str(one) for name, one in made.items() if isinstance(one, NotInstalled)}


def _made_or_missing(make: Callable[[], T]) -> T | NotInstalled:
    try:
        return make()
    except NotInstalled as missing:
        return missing


def bare_httpx(
    base_url: str, closing: AsyncExitStack, async_clients: Sequence[httpx.AsyncClient] | None = None
) -> Subject:
    """The least that a call with httpx can be: the request as JSON, and the text out of the JSON that comes.

    Args:
        base_url: the host.
        closing: closes the clients.
        async_clients: they take async calls in turn; a plain one if left out.
    """
    url, headers = f"{base_url}/chat/completions", {"authorization": f"Bearer {KEY.get_secret_value()}"}
    client = closing.enter_context(httpx.Client(headers=headers))
    async_clients = async_clients or [httpx.AsyncClient()]
    for async_client in async_clients:
        async_client.headers.update(headers)
        closing.push_async_callback(async_client.aclose)
    in_turn = cycle(async_clients)
    request = {"model": _MODEL, "messages": [{"role": "user", "content": TEXT}]}
    streamed = {**request, "stream": True}

    async def call() -> str:
        return _text(client.post(url, json=request))

    async def acall() -> str:
        return _text(await next(in_turn).post(url, json=request))

    async def stream() -> int:
        with client.stream("POST", url, json=streamed) as response:
            return sum(_piece(line) != "" for line in response.iter_lines())

    async def astream() -> int:
        async with next(in_turn).stream("POST", url, json=streamed) as response:
            return sum([_piece(line) != "" async for line in response.aiter_lines()])

    return {CALL: call, ACALL: acall, STREAM: stream, ASTREAM: astream}


def _text(response: httpx.Response) -> str:
    return str(json.loads(response.content)["choices"][0]["message"]["content"])


def _piece(line: str) -> str:
    return str(json.loads(line[6:])["choices"][0]["delta"]["content"]) if line.startswith("data: {") else ""


def _chat_model(model: BaseChatModel) -> Subject:

    async def call() -> str:
        return model.invoke(TEXT).text

    async def acall() -> str:
        return (await model.ainvoke(TEXT)).text

    async def stream() -> int:
        return sum(chunk.content != "" for chunk in model.stream(TEXT))

    async def astream() -> int:
        return sum([chunk.content != "" async for chunk in model.astream(TEXT)])

    return {CALL: call, ACALL: acall, STREAM: stream, ASTREAM: astream}


def _scout(base_url: str, closing: AsyncExitStack, **settings: Any) -> ChatLlamaScout:
    model = closing.enter_context(ChatLlamaScout(base_url=base_url, api_key=KEY, **settings))
    closing.push_async_callback(model.aclose)
    return model


def _scout_over_aiohttp(base_url: str, closing: AsyncExitStack) -> Subject:
    """Our chat model over the fastest transport it can be given, which sync calls have not."""
    require("httpx_aiohttp")
    from httpx_aiohttp import HttpxAiohttpClient  # noqa: PLC0415 (it may be missing)

    client = HttpxAiohttpClient()
    closing.push_async_callback(client.aclose)
    works = _chat_model(_scout(base_url, closing, http_async_client=client))
    return {name: works[name] for name in (ACALL, ASTREAM)}


def chat_openai(base_url: str) -> BaseChatModel:
    """LangChain's client for OpenAI, which many use for other hosts."""
    require("langchain_openai")
    from langchain_openai import ChatOpenAI  # noqa: PLC0415 (it may be missing)

    return ChatOpenAI(base_url=base_url, api_key=KEY, model=_MODEL)


def chat_openrouter(base_url: str) -> BaseChatModel:
    """LangChain's client for OpenRouter."""
    require("langchain_openrouter")
    from langchain_openrouter import ChatOpenRouter  # noqa: PLC0415 (it may be missing)

    return ChatOpenRouter(base_url=base_url, api_key=KEY, model=_MODEL)


def require(package: str) -> None:
    """Do without a client whose package is missing.

    Raises:
        NotInstalled: if it is.
    """
    if not find_spec(package):
        raise NotInstalled(package)
