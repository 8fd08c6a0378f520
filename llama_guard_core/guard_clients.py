"""The guard's clients: they carry out what an `Asking` says, with and without `await`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from llama_guard_core.asking import Asking
from llama_guard_core.errors import ProviderError
from llama_guard_core.guard_host import GuardRequest
from llama_guard_core.guardrail.verdict import Verdict
from llama_guard_core.provider.client import AsyncChatClient, ChatClient
from llama_guard_core.provider.connection import Connection

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
        self._sync = [ChatClient(each, http_client=http_client) for each in connections]
        self._async = [AsyncChatClient(each, http_client=http_async_client) for each in connections]

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, perhaps in another process, opens connections of its own. It holds the keys."""
        return type(self), (self._connections, self._http_client, self._http_async_client)

    def verdict(self, asking: Asking) -> Verdict:
        """The verdict of the first host that gives one.

        Raises:
            ProviderError: if none could be reached.
            GuardUnavailable: if no verdict came of it.
        """
        verdict, candidates = asking.known(), asking.candidates()
        while verdict is None:
            at, requests = next(candidates)
            verdict = asking.settled(at, self._answers(asking, at, requests))
        return verdict

    async def averdict(self, asking: Asking) -> Verdict:
        """The verdict of the first host that gives one; see `verdict`."""
        verdict, candidates = asking.known(), asking.candidates()
        while verdict is None:
            at, requests = next(candidates)
            verdict = asking.settled(at, await self._aanswers(asking, at, requests))
        return verdict

    def close(self) -> None:
        """Close the connections for sync calls."""
        for client in self._sync:
            client.close()

    async def aclose(self) -> None:
        """Close the connections for async calls of the running event loop."""
        for client in self._async:
            await client.aclose()

    def _answers(self, asking: Asking, at: int, requests: Sequence[GuardRequest]) -> list[Verdict | Exception]:
        """The verdicts of one host, as far as the first unsafe one."""
        answers: list[Verdict | Exception] = []
        for request in requests:
            try:
                answer = asking.verdict_on(at, request, self._sync[at].call(request.endpoint, request.body))
            except ProviderError as error:
                answers.append(error)
                continue
            answers.append(answer)
            if isinstance(answer, Verdict) and not answer.safe:
                break
        return answers

    async def _aanswers(self, asking: Asking, at: int, requests: Sequence[GuardRequest]) -> list[Verdict | Exception]:
        """The verdicts of one host, several asked for at once."""
        slots = asyncio.Semaphore(_REQUESTS_AT_ONCE)

        async def answer(request: GuardRequest) -> Verdict | Exception:
            async with slots:
                try:
                    completion = await self._async[at].call(request.endpoint, request.body)
                except ProviderError as error:
                    return error
                return asking.verdict_on(at, request, completion)

        if len(requests) == 1:
            return [await answer(requests[0])]
        return [*await asyncio.gather(*map(answer, requests))]
