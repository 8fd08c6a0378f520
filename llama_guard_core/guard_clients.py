"""The guard's clients: they carry out what an `Asking` says, with and without `await`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from llama_guard_core.asking import Asking
from llama_guard_core.errors import ProviderError
from llama_guard_core.flights import Flights
from llama_guard_core.guard_host import GuardRequest
from llama_guard_core.guardrail.verdict import Verdict
from llama_guard_core.provider.client import AsyncChatClient, ChatClient
from llama_guard_core.provider.connection import Connection
from llama_guard_core.provider.failover import patience_among_several
from llama_guard_core.verdict_cache import VerdictCache, as_shared

_REQUESTS_AT_ONCE = 8


class GuardClients:
    """One client for each host and colour, opened at the first call.

    Args:
        connections: how each host is reached.
        http_client: an `httpx.Client` of the user's, for all sync calls.
        http_async_client: an `httpx.AsyncClient` of the user's, for all async calls.
    """

    def __init__(self, connections: Sequence[Connection], http_client: Any, http_async_client: Any) -> None:
        self._connections = connections
        self._http_client = http_client
        self._http_async_client = http_async_client
        self._is_list = len(connections) > 1
        self._flights: Flights[Verdict] = Flights()
        self._keys_were_read = False
        several = [(each, patience_among_several(each) if self._is_list else None) for each in connections]
        self._sync = [ChatClient(each, http_client=http_client, retry_policy=retries) for each, retries in several]
        self._async = [
            AsyncChatClient(each, http_client=http_async_client, retry_policy=retries) for each, retries in several
        ]

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy opens connections of its own; one made by pickle has no keys but what its environment has."""
        return type(self), (self._connections, self._http_client, self._http_async_client)

    def verdict(self, asking: Asking, cache: VerdictCache | None) -> Verdict:
        """The verdict that is known, or of the first host that gives one. Who asks the same beside it shares it.

        Raises:
            ProviderError: if none could be reached, or not in time.
            GuardUnavailable: if no verdict came of it.
            ConfigurationError: if a host, whichever of the list, needs a key or an address and there is none.
        """
        self._read_keys()
        if cache is None or asking.about is None:
            return self._asked(asking, cache)
        for key in asking.keys:
            if (known := cache.remembered(key)) is not None:
                return known
        try:
            verdict, is_others = self._flights.joined(
                asking.about, lambda: self._looked_up_or_asked(asking, cache), asking.until
            )
        except TimeoutError:
            raise asking.out_of_time() from None
        return as_shared(verdict) if is_others else verdict

    async def averdict(self, asking: Asking, cache: VerdictCache | None) -> Verdict:
        """The verdict that is known, or of the first host that gives one; see `verdict`."""
        self._read_keys()
        if cache is None or asking.about is None:
            return await self._aasked(asking, cache)
        for key in asking.keys:
            if (known := cache.remembered(key)) is not None:
                return known
        verdict, is_others = await self._flights.ajoined(asking.about, lambda: self._alooked_up_or_asked(asking, cache))
        return as_shared(verdict) if is_others else verdict

    def close(self) -> None:
        """Close the connections for sync calls."""
        for client in self._sync:
            client.close()

    async def aclose(self) -> None:
        """Close the connections for async calls of the running event loop."""
        for client in self._async:
            await client.aclose()

    def _read_keys(self) -> None:
        """At the first call to a list of hosts: what is missing is told then, and not when its host is needed."""
        if self._is_list and not self._keys_were_read:
            for connection in self._connections:
                if connection.host.server is None:
                    connection.request_headers()
                    connection.host.url_of("")
            self._keys_were_read = True

    def _looked_up_or_asked(self, asking: Asking, cache: VerdictCache) -> Verdict:
        for key in asking.keys:
            if (known := cache.get(key)) is not None:
                return known
        return self._asked(asking, cache)

    async def _alooked_up_or_asked(self, asking: Asking, cache: VerdictCache) -> Verdict:
        for key in asking.keys:
            if (known := await cache.aget(key)) is not None:
                return known
        return await self._aasked(asking, cache)

    def _asked(self, asking: Asking, cache: VerdictCache | None) -> Verdict:
        for at, requests in asking.candidates():
            answers = self._answers(asking, at, requests)
            if (verdict := asking.settled(at, answers)) is not None:
                if cache is not None and (key := asking.kept_under(at, answers)) is not None:
                    cache.put(key, verdict)
                return verdict
        raise AssertionError

    async def _aasked(self, asking: Asking, cache: VerdictCache | None) -> Verdict:
        for at, requests in asking.candidates():
            answers = await self._aanswers(asking, at, requests)
            if (verdict := asking.settled(at, answers)) is not None:
                if cache is not None and (key := asking.kept_under(at, answers)) is not None:
                    await cache.aput(key, verdict)
                return verdict
        raise AssertionError

    def _answers(self, asking: Asking, at: int, requests: Sequence[GuardRequest]) -> list[Verdict | Exception]:
        """The verdicts of one host: all of them, since a policy may let one hazard pass and not the next."""
        answers: list[Verdict | Exception] = []
        for request in requests:
            try:
                completion = self._sync[at].call(request.endpoint, request.body, until=asking.until)
            except ProviderError as error:  # noqa: PERF203 - each request by itself
                answers.append(error)
            else:
                answers.append(asking.verdict_on(at, request, completion))
        return answers

    async def _aanswers(self, asking: Asking, at: int, requests: Sequence[GuardRequest]) -> list[Verdict | Exception]:
        """The verdicts of one host, several asked for at once."""
        if len(requests) == 1:
            return [await self._aanswer(asking, at, requests[0])]
        slots = asyncio.Semaphore(_REQUESTS_AT_ONCE)

        async def answer(request: GuardRequest) -> Verdict | Exception:
            async with slots:
                return await self._aanswer(asking, at, request)

        return [*await asyncio.gather(*map(answer, requests))]

    async def _aanswer(self, asking: Asking, at: int, request: GuardRequest) -> Verdict | Exception:
        try:
            completion = await self._async[at].call(request.endpoint, request.body, until=asking.until)
        except ProviderError as error:
            return error
        return asking.verdict_on(at, request, completion)
