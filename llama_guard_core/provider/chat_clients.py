"""The chat model's clients: one for each host it may be had from, asked one after the other."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import aclosing, closing
from typing import Any, TypeVar

from typing_extensions import Self

from llama_guard_core.errors import ProviderError
from llama_guard_core.provider.chunks import CompletionChunk
from llama_guard_core.provider.client import AsyncChatClient, ChatClient
from llama_guard_core.provider.connection import Connection
from llama_guard_core.provider.endpoints import CHAT, Endpoint
from llama_guard_core.provider.failover import HostOrder
from llama_guard_core.provider.hosts import Host
from llama_guard_core.provider.wire import Completion

T = TypeVar("T")

_OPENROUTERS_OWN = frozenset({"provider", "plugins", "models", "route"})


def request_for(host: Host, request: Mapping[str, Any], *, own_id: bool, is_one_of_several: bool) -> dict[str, Any]:
    """A request as one host takes it.

    Args:
        host: the host.
        request: the request, with a model id as OpenRouter writes it.
        own_id: whether the host's own id for the model is put in, where it is known by another.
        is_one_of_several: whether the request was written for others, too; then OpenRouter's own fields go to it alone.
    """
    left_out = host.rejects.union(_OPENROUTERS_OWN if is_one_of_several and not host.is_router else ())
    written = {name: value for name, value in request.items() if name not in left_out}
    if own_id and host.chat_model and not host.is_router:
        written["model"] = host.chat_model
    return written


class _Hosts:
    """What the sync and the async clients share: who is asked, and with what."""

    def __init__(self, connections: Sequence[Connection], *, own_ids: bool) -> None:
        self._hosts = [connection.host for connection in connections]
        self._order = HostOrder(self._hosts)
        self._own_ids = own_ids

    def _request(self, at: int, request: Mapping[str, Any]) -> dict[str, Any]:
        several = len(self._hosts) > 1
        return request_for(self._hosts[at], request, own_id=self._own_ids, is_one_of_several=several)


class ChatClients(_Hosts):
    """Asks the first host that can answer. The same calls as `ChatClient` has.

    Args:
        connections: one for each host, in order of preference.
        http_client: a client of your own, for all of them.
        own_ids: whether each host is asked by its own id for Llama 4 Scout, and not by the request's.
    """

    def __init__(self, connections: Sequence[Connection], *, http_client: Any = None, own_ids: bool = False) -> None:
        super().__init__(connections, own_ids=own_ids)
        self._clients = [ChatClient(connection, http_client=http_client) for connection in connections]

    def complete(self, request: Mapping[str, Any]) -> Completion:
        """Ask for a whole reply; see `ChatClient.complete`."""
        errors: list[tuple[int, ProviderError]] = []
        for at in self._order.candidates():
            try:
                return self._clients[at].call(CHAT, self._request(at, request))
            except ProviderError as error:  # noqa: PERF203 - each host in turn
                if not self._order.moves_on(at, error):
                    raise
                errors.append((at, error))
        raise self._order.all_failed(errors)

    def stream(self, request: Mapping[str, Any]) -> Generator[CompletionChunk, None, None]:
        """Ask for a reply in chunks; see `ChatClient.stream`. Once a chunk is handed out no other host is asked."""
        errors: list[tuple[int, ProviderError]] = []
        for at in self._order.candidates():
            begun = False
            try:
                with closing(self._clients[at].stream(self._request(at, request))) as chunks:
                    for chunk in chunks:
                        begun = True
                        yield chunk
            except ProviderError as error:
                if begun or not self._order.moves_on(at, error):
                    raise
                errors.append((at, error))
            else:
                return
        raise self._order.all_failed(errors)

    def call(self, endpoint: Endpoint[T]) -> T:
        """Look something up at the first host."""
        return self._clients[0].call(endpoint)

    def close(self) -> None:
        """Close the connections. A later call opens new ones."""
        for client in self._clients:
            client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncChatClients(_Hosts):
    """Asks the first host that can answer. The same calls as `AsyncChatClient` has.

    Args:
        connections: one for each host, in order of preference.
        http_client: a client of your own, for all of them.
        own_ids: whether each host is asked by its own id for Llama 4 Scout, and not by the request's.
    """

    def __init__(self, connections: Sequence[Connection], *, http_client: Any = None, own_ids: bool = False) -> None:
        super().__init__(connections, own_ids=own_ids)
        self._clients = [AsyncChatClient(connection, http_client=http_client) for connection in connections]

    async def complete(self, request: Mapping[str, Any]) -> Completion:
        """Ask for a whole reply; see `ChatClient.complete`."""
        errors: list[tuple[int, ProviderError]] = []
        for at in self._order.candidates():
            try:
                return await self._clients[at].call(CHAT, self._request(at, request))
            except ProviderError as error:  # noqa: PERF203 - each host in turn
                if not self._order.moves_on(at, error):
                    raise
                errors.append((at, error))
        raise self._order.all_failed(errors)

    async def stream(self, request: Mapping[str, Any]) -> AsyncGenerator[CompletionChunk, None]:
        """Ask for a reply in chunks; see `ChatClient.stream`. Once a chunk is handed out no other host is asked."""
        errors: list[tuple[int, ProviderError]] = []
        for at in self._order.candidates():
            begun = False
            try:
                async with aclosing(self._clients[at].stream(self._request(at, request))) as chunks:
                    async for chunk in chunks:
                        begun = True
                        yield chunk
            except ProviderError as error:
                if begun or not self._order.moves_on(at, error):
                    raise
                errors.append((at, error))
            else:
                return
        raise self._order.all_failed(errors)

    async def call(self, endpoint: Endpoint[T]) -> T:
        """Look something up at the first host."""
        return await self._clients[0].call(endpoint)

    async def aclose(self) -> None:
        """Close the connections of the running event loop. A later call opens new ones."""
        for client in self._clients:
            await client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()
