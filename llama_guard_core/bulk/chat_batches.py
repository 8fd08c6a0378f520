"""A chat model's chats through a Batch API, guarded: what a framework's own class of them is made of.

A batch is no way around the guard: each prompt is judged before anything is submitted, and again with its reply when
that is fetched, which may be in another process.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Generic, TypeVar

from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.drive import arun_all, run
from llama_guard_core.errors import LlamaGuardError
from llama_guard_core.guardrail.decisions import Refuse
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.screening import Flow, screen_prompt
from llama_guard_core.messages import Conversation
from llama_guard_core.provider.batch_client import AsyncBatchClient, BatchClient
from llama_guard_core.provider.batch_jobs import BatchJob
from llama_guard_core.provider.batch_requests import BatchRequest
from llama_guard_core.provider.batch_results import BatchResult
from llama_guard_core.provider.chat_clients import ChosenModel
from llama_guard_core.provider.connection import Connection
from llama_guard_core.provider.failures import failure
from llama_guard_core.provider.wire import Completion

C = TypeVar("C")
M = TypeVar("M")
R = TypeVar("R")

_CHECKS_AT_ONCE = 16


class ChatBatches(ABC, Generic[C, M, R]):
    """Sends many chats of a model as one job, and fetches the replies; see the frameworks' own classes.

    Args:
        connections: how each host of the model is reached, by a client of the user's or one of ours.
        http_client: an `httpx.Client` of the user's.
        http_async_client: an `httpx.AsyncClient` of the user's.
        chosen: the model.
        guard: what judges prompts and replies, if anything does.

    Raises:
        ConfigurationError: if no Batch API is known of at the hosts.
    """

    def __init__(
        self,
        connections: Callable[[Any], Sequence[Connection]],
        *,
        http_client: Any,
        http_async_client: Any,
        chosen: ChosenModel,
        guard: LlamaGuard | None,
    ) -> None:
        every, async_every = connections(http_client), connections(http_async_client)
        at = next((at for at, one in enumerate(every) if one.host.batches), 0)
        self._client = BatchClient(every[at], http_client=http_client)
        self._async_client = AsyncBatchClient(async_every[at], http_client=http_async_client)
        self._id = chosen.at(every[at].host, is_one_of_several=len(every) > 1)
        self._guard = guard

    def submit(self, chats: Mapping[str, C], **kwargs: Any) -> BatchJob | None:
        """Submit the chats that may be sent.

        Args:
            chats: prompts or messages, by a name of yours that the reply will be found by.
            **kwargs: further fields of each request, such as `tools` in OpenAI's form.

        Returns:
            The job; `None` if the guard lets none be sent.

        Raises:
            ConfigurationError: if the model is not offered in batch, or a chat holds anything but text.
            ProviderError: if it failed. It is not sent twice where the host may have taken it.
        """
        said = self._said(chats)
        if self._guard is None:
            allowed = list(said)
        else:
            flows = {name: self._may_be_sent(self._guard.policy, each) for name, each in said.items()}
            allowed = [name for name, flow in flows.items() if run(flow, self._guard.judge)]
        with self._errors():
            self._client.require_offered(self._id)
            requests = [BatchRequest(name, self._request(said[name], kwargs)) for name in allowed]
            return self._client.submit(requests, model=self._id) if requests else None

    async def asubmit(self, chats: Mapping[str, C], **kwargs: Any) -> BatchJob | None:
        """Submit the chats that may be sent; see `submit`. Prompts are judged several at once."""
        said = self._said(chats)
        if self._guard is None:
            allowed = list(said)
        else:
            flows = [self._may_be_sent(self._guard.policy, each) for each in said.values()]
            may_be_sent = await arun_all(flows, self._guard.ajudge, at_once=_CHECKS_AT_ONCE)
            allowed = [name for name, is_one in zip(said, may_be_sent, strict=True) if is_one]
        with self._errors():
            await self._async_client.require_offered(self._id)
            requests = [BatchRequest(name, self._request(said[name], kwargs)) for name in allowed]
            return await self._async_client.submit(requests, model=self._id) if requests else None

    def wait(self, job: BatchJob | str, *, until: float | None = None, **pauses: float) -> BatchJob:
        """Look at a job until it is over; see `BatchClient.wait`."""
        with self._errors():
            return self._client.wait(_id_of(job), until=until, **pauses)

    async def awaited(self, job: BatchJob | str, *, until: float | None = None, **pauses: float) -> BatchJob:
        """Look at a job until it is over; see `BatchClient.wait`."""
        with self._errors():
            return await self._async_client.wait(_id_of(job), until=until, **pauses)

    def replies(self, job: BatchJob | str | None, chats: Mapping[str, C]) -> dict[str, R | LlamaGuardError]:
        """What came of each chat.

        Args:
            job: the job or its id; what it has not done yet has no reply.
            chats: the chats as they were submitted.

        Returns:
            By name: the reply, or the refusal in its place; or what the model's own call would have raised.

        Raises:
            ProviderError: if the results cannot be had.
        """
        said = self._said(chats)
        with self._errors():
            found = self._client.results(_id_of(job), asked=self._asked(said)).by_id() if job else {}
        return {name: self._reply(each, found.get(name)) for name, each in said.items()}

    async def areplies(self, job: BatchJob | str | None, chats: Mapping[str, C]) -> dict[str, R | LlamaGuardError]:
        """What came of each chat; see `replies`. Replies are judged several at once."""
        said = self._said(chats)
        with self._errors():
            asked = self._asked(said)
            found = (await self._async_client.results(_id_of(job), asked=asked)).by_id() if job else {}
        slots = asyncio.Semaphore(_CHECKS_AT_ONCE)

        async def reply(name: str) -> R | LlamaGuardError:
            async with slots:
                return await self._areply(said[name], found.get(name))

        return dict(zip(said, await asyncio.gather(*map(reply, said)), strict=True))

    def close(self) -> None:
        """Close the connections for sync calls."""
        self._client.close()

    async def aclose(self) -> None:
        """Close the connections for async calls."""
        await self._async_client.aclose()

    # What a framework has to say

    @abstractmethod
    def _messages(self, chat: C) -> M:
        """A chat in the framework's messages."""

    @abstractmethod
    def _conversation(self, messages: M) -> Conversation:
        """The messages as the guard judges them."""

    @abstractmethod
    def _request(self, messages: M, kwargs: dict[str, Any]) -> dict[str, Any]:
        """The request that the model would send."""

    @abstractmethod
    def _judged(self, messages: M, read: Callable[[], Completion]) -> R:
        """The reply in the framework's form, judged if there is a guard. It may raise what the model would."""

    @abstractmethod
    async def _ajudged(self, messages: M, read: Callable[[], Completion]) -> R:
        """The reply in the framework's form; see `_judged`."""

    def _errors(self) -> AbstractContextManager[None]:
        """Lets provider errors out as the framework's."""
        return nullcontext()

    def _said(self, chats: Mapping[str, C]) -> dict[str, M]:
        return {name: self._messages(chat) for name, chat in chats.items()}

    def _asked(self, said: Mapping[str, M]) -> dict[str, Mapping[str, Any]]:
        return {name: self._request(messages, {}) for name, messages in said.items()}

    def _may_be_sent(self, policy: Policy, messages: M) -> Flow[bool]:
        try:
            decision = yield from screen_prompt(policy, self._conversation(messages))
        except LlamaGuardError:
            return False
        return not isinstance(decision, Refuse)

    def _reply(self, messages: M, result: BatchResult | None) -> R | LlamaGuardError:
        try:
            with self._errors():
                return self._judged(messages, lambda: _completion(result))
        except LlamaGuardError as error:
            return error

    async def _areply(self, messages: M, result: BatchResult | None) -> R | LlamaGuardError:
        try:
            with self._errors():
                return await self._ajudged(messages, lambda: _completion(result))
        except LlamaGuardError as error:
            return error


def _completion(result: BatchResult | None) -> Completion:
    if result is None:
        advice = "It was not submitted, or its batch was over before it was done: submit it again."
        raise failure(reason="empty", said="there is no result for it", advice=advice, retryable=False)
    return result.completion


def _id_of(job: BatchJob | str) -> str:
    return job if isinstance(job, str) else job.id
