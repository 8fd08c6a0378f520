"""The sync and the async client: two thin shells that send, wait and repeat."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import aclosing, closing, suppress
from functools import partial
from itertools import count
from typing import Any, TypeVar

import httpx
from typing_extensions import Self

from llama_guard_core.errors import ProviderError
from llama_guard_core.provider.calls import Calls, serialised
from llama_guard_core.provider.chunks import CompletionChunk
from llama_guard_core.provider.connection import Connection
from llama_guard_core.provider.deadlines import asleep, moving_on_at, set_deadline, sleep
from llama_guard_core.provider.endpoints import CHAT, Endpoint
from llama_guard_core.provider.failures import failure
from llama_guard_core.provider.forgotten_locals import LocalsForgotten
from llama_guard_core.provider.http_bodies import abody_of, body_of
from llama_guard_core.provider.http_pools import asent, ending_at, open_async_client, open_client, sent
from llama_guard_core.provider.loop_pools import LoopPools
from llama_guard_core.provider.retry_policy import RetryPolicy
from llama_guard_core.provider.wire import Completion

T = TypeVar("T")
_WORTH_A_CONNECTION = 1.0  # seconds that are waited for the end of a body, once all of its reply is there


class ChatClient(Calls):
    """Asks a host for completions. Opens a connection at the first call; safe to use from several threads.

    Args:
        connection: where to call, as whom, how patiently.
        http_client: a client of your own, used for every call and never closed here. Its timeouts hold unless the
            connection sets some.
        retry_policy: instead of the usual one with `connection.max_retries`.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        http_client: httpx.Client | None = None,
        retry_policy: RetryPolicy | None = None,
    ) -> None:
        super().__init__(connection, http_client, retry_policy)
        self._users_client = http_client
        self._own_client: httpx.Client | httpx.BaseTransport | None = None
        self._lock = threading.Lock()

    def complete(self, request: Mapping[str, Any]) -> Completion:
        """Ask for a whole reply of a chat; see `call`."""
        return self.call(CHAT, request)

    def call(self, endpoint: Endpoint[T], request: Mapping[str, Any] | None = None, *, until: float | None = None) -> T:
        """Ask an endpoint for a whole reply.

        Args:
            endpoint: which, and how its reply is read.
            request: the JSON of the request; without one it is a plain look-up (GET).
            until: when it has to be done with all repetitions, by the monotonic clock.

        Raises:
            ProviderError: if no reply could be had, after the repetitions that the policy allows.
        """
        body, failed = None if request is None else serialised(request), None
        for attempt in count(1):
            sleep(self._wait_before(attempt, failed, until=until))
            sleep(self._turn(until))
            with LocalsForgotten():
                outcome = self._attempt(endpoint, body, until)
            if not isinstance(outcome, ProviderError):
                self._succeeded()
                return outcome
            failed = self._told(outcome, request or {})
        raise AssertionError

    def stream(self, request: Mapping[str, Any]) -> Generator[CompletionChunk, None, None]:
        """Ask for a reply in chunks, the last of which carries `final`.

        Closing the generator closes the connection, which stops the generation (and its price) at most providers.

        Args:
            request: the JSON of the request; `stream` is added.

        Raises:
            ProviderError: at any point. Nothing is repeated once a chunk has been handed out.
        """
        body, failed, begun = serialised({**request, "stream": True}), None, False
        for attempt in count(1):
            sleep(self._wait_before(attempt, failed, begun=begun))
            sleep(self._turn(None))
            failed = None
            try:
                with LocalsForgotten(), closing(self._chunks(body)) as chunks:
                    for chunk in chunks:
                        begun = True
                        yield chunk
            except ProviderError as error:
                failed = self._told(error, request)
            if failed is None:
                self._succeeded()
                return

    def close(self) -> None:
        """Close the connections. A later call opens new ones."""
        with self._lock:
            client, self._own_client = self._own_client, None
        if client is not None:
            client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _client(self) -> httpx.Client | httpx.BaseTransport:
        if self._users_client is not None:
            return self._users_client
        with self._lock:
            if self._own_client is None:
                self._own_client = open_client(self._connection.host.max_connections)
                weakref.finalize(self, self._own_client.close)
            return self._own_client

    def _attempt(self, endpoint: Endpoint[T], body: bytes | None, until: float | None) -> T | ProviderError:
        client = self._client()
        request = self._built(client, endpoint, body, until)  # which may take its time: an embedded server starts
        deadline = self._deadline(until)
        try:
            with closing(sent(client, request)) as response:
                reply = self._whole(response, deadline)
                for piece in body_of(response):
                    reply.receive(piece)
            return reply.read_by(endpoint)
        except ProviderError as error:
            return error
        except httpx.HTTPError as error:
            return self._transport_failure(error)

    def _chunks(self, body: bytes) -> Generator[CompletionChunk, None, None]:
        client = self._client()
        request = self._built(client, CHAT, body, None)
        broken: ProviderError | None = None
        try:
            with closing(sent(client, request)) as response:
                set_deadline(request, None)
                reply, pieces = self._streamed(response), body_of(response)
                for piece in pieces:
                    yield from reply.receive(piece)
                    if reply.done:
                        break
                    reply.go_on()
                yield from reply.end()
                # The body's own end is read too: without it the connection could not be used again.
                set_deadline(request, _WORTH_A_CONNECTION)
                with suppress(httpx.HTTPError):
                    next(pieces, None)
        except httpx.HTTPError as error:
            broken = self._transport_failure(error)
        if broken is not None:
            raise broken


class AsyncChatClient(Calls):
    """Asks a host for completions, asynchronously, from any number of event loops.

    Args:
        connection: where to call, as whom, how patiently.
        http_client: a client of your own, used for every call and never closed here; it belongs to one event loop.
            Its timeouts hold unless the connection sets some.
        retry_policy: instead of the usual one with `connection.max_retries`.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        http_client: httpx.AsyncClient | None = None,
        retry_policy: RetryPolicy | None = None,
    ) -> None:
        super().__init__(connection, http_client, retry_policy)
        self._users_client = http_client
        self._pools = LoopPools(partial(open_async_client, connection.host.max_connections))

    async def complete(self, request: Mapping[str, Any]) -> Completion:
        """Ask for a whole reply of a chat; see `call`."""
        return await self.call(CHAT, request)

    async def call(
        self, endpoint: Endpoint[T], request: Mapping[str, Any] | None = None, *, until: float | None = None
    ) -> T:
        """Ask an endpoint for a whole reply; see `ChatClient.call`."""
        body, failed = None if request is None else serialised(request), None
        for attempt in count(1):
            await asleep(self._wait_before(attempt, failed, until=until))
            await asleep(self._turn(until))
            with LocalsForgotten():
                outcome = await self._attempt(endpoint, body, until)
            if not isinstance(outcome, ProviderError):
                self._succeeded()
                return outcome
            failed = self._told(outcome, request or {})
        raise AssertionError

    async def stream(self, request: Mapping[str, Any]) -> AsyncGenerator[CompletionChunk, None]:
        """Ask for a reply in chunks, the last of which carries `final`.

        Closing the generator (`aclose`) closes the connection, which stops the generation (and its price) at most
        providers.

        Args:
            request: the JSON of the request; `stream` is added.

        Raises:
            ProviderError: at any point. Nothing is repeated once a chunk has been handed out.
        """
        body, failed, begun = serialised({**request, "stream": True}), None, False
        for attempt in count(1):
            await asleep(self._wait_before(attempt, failed, begun=begun))
            await asleep(self._turn(None))
            failed = None
            try:
                with LocalsForgotten():
                    async with aclosing(self._chunks(body)) as chunks:
                        async for chunk in chunks:
                            begun = True
                            yield chunk
            except ProviderError as error:
                failed = self._told(error, request)
            if failed is None:
                self._succeeded()
                return

    async def aclose(self) -> None:
        """Close the connections of the running event loop. A later call opens new ones."""
        await self._pools.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def _client(self) -> httpx.AsyncClient | httpx.AsyncBaseTransport:
        return self._users_client or await self._pools.client()

    async def _attempt(self, endpoint: Endpoint[T], body: bytes | None, until: float | None) -> T | ProviderError:
        client = await self._client()
        request = self._built(client, endpoint, body, until)
        deadline = self._deadline(until)
        with ending_at(client, deadline):
            try:
                async with aclosing(await asent(client, request)) as response:
                    reply = self._whole(response, deadline)
                    async for piece in abody_of(response):
                        reply.receive(piece)
                return reply.read_by(endpoint)
            except ProviderError as error:
                return error
            except httpx.HTTPError as error:
                return self._transport_failure(error)
        return failure(reason="timeout", said="no whole reply in time")

    async def _chunks(self, body: bytes) -> AsyncGenerator[CompletionChunk, None]:
        client = await self._client()
        request = self._built(client, CHAT, body, None)
        deadline = self._deadline(None)
        broken: ProviderError | None = failure(reason="timeout", said="nothing came for too long")
        try:
            with ending_at(client, deadline):
                response = await asent(client, request)
                broken = None
            if broken is not None:
                raise broken
            async with aclosing(response):
                set_deadline(request, None)
                reply, pieces = self._streamed(response), abody_of(response)
                async for piece in pieces:
                    for chunk in reply.receive(piece):
                        yield chunk
                    if reply.done:
                        break
                    reply.go_on()
                for chunk in reply.end():
                    yield chunk
                # The body's own end is read too: without it the connection could not be used again.
                with suppress(httpx.HTTPError), moving_on_at(time.monotonic() + _WORTH_A_CONNECTION):
                    await anext(pieces, None)
        except httpx.HTTPError as error:
            broken = self._transport_failure(error)
        if broken is not None:
            raise broken
