"""The chat model's clients: one for each host it may be had from, asked one after the other."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import aclosing, closing
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, Generic, TypeVar

from typing_extensions import Self

from llama_guard_core.errors import ProviderError
from llama_guard_core.provider.chunks import CompletionChunk
from llama_guard_core.provider.client import AsyncChatClient, ChatClient
from llama_guard_core.provider.connection import Connection
from llama_guard_core.provider.endpoints import CHAT, Endpoint
from llama_guard_core.provider.failover import HostOrder, patience_among_several
from llama_guard_core.provider.hosts import Host
from llama_guard_core.provider.routing import ModelVariant, with_variant
from llama_guard_core.provider.wire import Completion

C = TypeVar("C", ChatClient, AsyncChatClient)
T = TypeVar("T")

SCOUT = "meta-llama/llama-4-scout"
_OPENROUTERS_OWN = frozenset({"provider", "plugins", "models", "route"})


@dataclass(frozen=True, slots=True)
class ChosenModel:
    """The model somebody chose, which each host may know by another id.

    Attributes:
        id: its id. OpenRouter's for Llama 4 Scout stands for that model: each known host is asked by its own id for it.
            Any other is sent as it is written.
        variant: OpenRouter's suffix; the other hosts of a list do without.
    """

    id: str = SCOUT
    variant: ModelVariant | None = None

    @property
    def requested(self) -> str:
        """The id as it stands in a request that no host has been chosen for yet."""
        return with_variant(self.id, self.variant)

    def at(self, host: Host, *, is_one_of_several: bool) -> str:
        """The id by which a host is asked.

        Args:
            host: the host.
            is_one_of_several: whether the model was chosen for others, too.
        """
        if host.is_router:
            return self.requested
        if self.id == SCOUT and host.chat_model:
            return host.chat_model
        return self.id if is_one_of_several else self.requested


def request_for(
    host: Host, request: Mapping[str, Any], model: ChosenModel, *, is_one_of_several: bool
) -> dict[str, Any]:
    """A request as one host takes it.

    Args:
        host: the host.
        request: the request; a model id in it that is not the chosen one is one for this call alone, and sent as it is.
        model: the model that was chosen.
        is_one_of_several: whether the request was written for others, too; then OpenRouter's own fields go to it alone.
    """
    left_out = host.rejects.union(_OPENROUTERS_OWN if is_one_of_several and not host.is_router else ())
    written = {name: value for name, value in request.items() if name not in left_out}
    if written.get("model") == model.requested:
        written["model"] = model.at(host, is_one_of_several=is_one_of_several)
    return written


class _Hosts(Generic[C]):
    """What the sync and the async clients share: who is asked, and with what."""

    def __init__(
        self, kind: type[C], connections: Sequence[Connection], *, http_client: Any, model: ChosenModel | None
    ) -> None:
        self._kind: type[C] = kind
        self._connections = connections
        self._http_client = http_client
        self._model = model or ChosenModel()
        self._hosts = [connection.host for connection in connections]
        self._is_list = len(connections) > 1
        self._order = HostOrder(self._hosts)
        self._made: list[C] = []
        self._lock = Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy opens connections of its own; one made by pickle takes its keys from the environment it comes into."""
        if self._http_client is not None:
            msg = "clients that were given an http client cannot be copied: that one belongs to where it was opened"
            raise TypeError(msg)
        return _made_again, (type(self), self._connections, self._model)

    @property
    def host(self) -> Host:
        """The host that is preferred."""
        return self._hosts[0]

    @property
    def model(self) -> str:
        """The id of the chosen model there."""
        return self._model.at(self.host, is_one_of_several=self._is_list)

    def each(self) -> list[Self]:
        """The same clients for each host by itself, for who wants to know something about every one of them."""
        twins = []
        for host, client in zip(self._hosts, self._clients, strict=True):
            twin = type(self).__new__(type(self))
            twin.__dict__.update(self.__dict__, _hosts=[host], _made=[client], _order=HostOrder([host]))
            twins.append(twin)
        return twins

    def _request(self, at: int, request: Mapping[str, Any]) -> dict[str, Any]:
        return request_for(self._hosts[at], request, self._model, is_one_of_several=self._is_list)

    def _moves_on(self, at: int, error: ProviderError, *, begun: bool = False) -> bool:
        """Whether the next host is asked; an error that is raised instead says whose it is."""
        if not begun and self._order.moves_on(at, error):
            return True
        name = self._hosts[at].name
        if len(self._hosts) > 1 and name not in str(error):
            error.args = (f"{name}: {error}",)
        return False

    @property
    def _clients(self) -> list[C]:
        """Made at the first call, with the keys of all hosts: one that is missing is told before it is needed."""
        with self._lock:
            self._made = self._made or [self._client(connection) for connection in self._connections]
            return self._made

    def _client(self, connection: Connection) -> C:
        patience = patience_among_several(connection) if self._is_list else None
        return self._kind(_with_key(connection), http_client=self._http_client, retry_policy=patience)


class ChatClients(_Hosts[ChatClient]):
    """Asks the first host that can answer. The same calls as `ChatClient` has.

    Args:
        connections: one for each host, in order of preference.
        http_client: a client of your own, for all of them.
        model: the model that requests are about; Llama 4 Scout if left out.

    Raises:
        ConfigurationError: from the first call, if one of the hosts needs a key and there is none.
    """

    def __init__(
        self, connections: Sequence[Connection], *, http_client: Any = None, model: ChosenModel | None = None
    ) -> None:
        super().__init__(ChatClient, connections, http_client=http_client, model=model)

    def complete(self, request: Mapping[str, Any]) -> Completion:
        """Ask for a whole reply; see `ChatClient.complete`."""
        errors: list[tuple[int, ProviderError]] = []
        for at in self._order.candidates():
            try:
                return self._clients[at].call(CHAT, self._request(at, request))
            except ProviderError as error:  # noqa: PERF203 - each host in turn
                if not self._moves_on(at, error):
                    raise
                errors.append((at, error))
        raise self._order.all_failed(errors)

    def stream(self, request: Mapping[str, Any]) -> Generator[CompletionChunk, None, None]:
        """Ask for a reply in chunks; see `ChatClient.stream`. Once one is handed out, no other host is asked."""
        errors: list[tuple[int, ProviderError]] = []
        for at in self._order.candidates():
            begun = False
            try:
                with closing(self._clients[at].stream(self._request(at, request))) as chunks:
                    for chunk in chunks:
                        begun = True
                        yield chunk
            except ProviderError as error:
                if not self._moves_on(at, error, begun=begun):
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
        for client in self._made:
            client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncChatClients(_Hosts[AsyncChatClient]):
    """Asks the first host that can answer. The same calls as `AsyncChatClient` has; see `ChatClients`.

    Args:
        connections: one for each host, in order of preference.
        http_client: a client of your own, for all of them.
        model: the model that requests are about; Llama 4 Scout if left out.

    Raises:
        ConfigurationError: from the first call, if one of the hosts needs a key and there is none.
    """

    def __init__(
        self, connections: Sequence[Connection], *, http_client: Any = None, model: ChosenModel | None = None
    ) -> None:
        super().__init__(AsyncChatClient, connections, http_client=http_client, model=model)

    async def complete(self, request: Mapping[str, Any]) -> Completion:
        """Ask for a whole reply; see `ChatClient.complete`."""
        errors: list[tuple[int, ProviderError]] = []
        for at in self._order.candidates():
            try:
                return await self._clients[at].call(CHAT, self._request(at, request))
            except ProviderError as error:  # noqa: PERF203 - each host in turn
                if not self._moves_on(at, error):
                    raise
                errors.append((at, error))
        raise self._order.all_failed(errors)

    async def stream(self, request: Mapping[str, Any]) -> AsyncGenerator[CompletionChunk, None]:
        """Ask for a reply in chunks; see `ChatClient.stream`. Once one is handed out, no other host is asked."""
        errors: list[tuple[int, ProviderError]] = []
        for at in self._order.candidates():
            begun = False
            try:
                async with aclosing(self._clients[at].stream(self._request(at, request))) as chunks:
                    async for chunk in chunks:
                        begun = True
                        yield chunk
            except ProviderError as error:
                if not self._moves_on(at, error, begun=begun):
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
        for client in self._made:
            await client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _with_key(connection: Connection) -> Connection:
    """The connection with its key read, so that a missing one is told now, and no error will quote it."""
    if connection.host.server is not None or (key := connection.key()) is None:
        return connection
    return replace(connection, api_key=key)


def _made_again(kind: type[ChatClients], connections: Sequence[Connection], model: ChosenModel) -> ChatClients:
    return kind(connections, model=model)
