"""Several requests of which each depends on the replies before: the flow says what is asked next, two shells ask it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from llama_guard_core.errors import ProviderError
from llama_guard_core.provider.chat_clients import AsyncChatClients, ChatClients
from llama_guard_core.provider.endpoints import Endpoint

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Whole:
    """Asks for a whole reply; what comes of it is a `Completion`."""

    request: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Streamed:
    """Asks for a streamed reply; what comes of it is the list of its chunks."""

    request: Mapping[str, Any]


Asked = Endpoint[Any] | Whole | Streamed
"""What is asked: something to be looked up, or a reply of the model."""

Exchange = Generator[Asked, Any, T]
"""Yields what is asked, is sent the reply, and has a `ProviderError` thrown in where there is none."""


def carry_out(exchange: Exchange[T], clients: ChatClients) -> T:
    """Ask what an exchange asks, and return what it returns.

    Raises:
        ProviderError: where the exchange lets one out.
    """
    step: Callable[[Any], Asked] = exchange.send
    reply: Any = None
    while True:
        try:
            asked = step(reply)
        except StopIteration as returned:
            return cast("T", returned.value)
        try:
            reply, step = _reply(clients, asked), exchange.send
        except ProviderError as error:
            reply, step = error, exchange.throw


async def acarry_out(exchange: Exchange[T], clients: AsyncChatClients) -> T:
    """Ask what an exchange asks, and return what it returns; see `carry_out`."""
    step: Callable[[Any], Asked] = exchange.send
    reply: Any = None
    while True:
        try:
            asked = step(reply)
        except StopIteration as returned:
            return cast("T", returned.value)
        try:
            reply, step = await _areply(clients, asked), exchange.send
        except ProviderError as error:
            reply, step = error, exchange.throw


def _reply(clients: ChatClients, asked: Asked) -> Any:
    if isinstance(asked, Whole):
        return clients.complete(asked.request)
    return list(clients.stream(asked.request)) if isinstance(asked, Streamed) else clients.call(asked)


async def _areply(clients: AsyncChatClients, asked: Asked) -> Any:
    if isinstance(asked, Whole):
        return await clients.complete(asked.request)
    if isinstance(asked, Streamed):
        return [chunk async for chunk in clients.stream(asked.request)]
    return await clients.call(asked)
