"""LlamaGuard: puts the question to the model, reads the verdict."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from time import monotonic
from typing import Any

from pydantic import SecretStr
from typing_extensions import Self

from llama_guard_core.errors import GuardUnavailable, ProviderError
from llama_guard_core.guardrail.hazards import LlamaGuardVersion, Taxonomy
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.prompt import guard_questions
from llama_guard_core.guardrail.screening import Check, prompt_stage
from llama_guard_core.guardrail.splitting import Splitting
from llama_guard_core.guardrail.verdict import Stage, Verdict, read_verdict, worst_of
from llama_guard_core.messages import Conversation, ConversationLike, as_conversation
from llama_guard_core.provider.client import AsyncChatClient, ChatClient
from llama_guard_core.provider.connection import Connection, Timeouts
from llama_guard_core.provider.hosts import OPENROUTER
from llama_guard_core.provider.routing import ProviderRouting
from llama_guard_core.provider.wire import Completion
from llama_guard_core.verdict_cache import VerdictCache, question_key

DEFAULT_GUARD_MODEL = "meta-llama/llama-guard-4-12b"
_MOST_TOKENS = 64  # a verdict naming all fourteen hazards takes about 45; some providers refuse fewer than 16
_CHUNKS_AT_ONCE = 8
_log = logging.getLogger(__name__)


class LlamaGuard:
    """Meta's Llama Guard behind an OpenAI-compatible API, with the policy for what follows from its verdicts.

    One object serves sync and async code, several threads and several event loops. Making one opens nothing
    and asks nothing.

    It is one layer, not a proof of safety: on Meta's own figures Llama Guard 4 finds 69 % of unsafe English
    text and flags 11 % of safe text. It has no category for prompt injection, jailbreaks or insults.

    Args:
        model: the guard model's id at the host.
        api_key: the host's key. Left out, it is read from `OPENROUTER_API_KEY`, for OpenRouter only.
        base_url: any other OpenAI-compatible host, up to and including its `/v1`.
        timeout: seconds for one attempt at one check, or `Timeouts`. A check that takes longer is no verdict.
        max_retries: further attempts after a failure that may pass; 0 for none.
        default_headers: sent with every request, in place of ours where they have the same name.
        http_client: an `httpx.Client` of yours for sync calls. You close it.
        http_async_client: an `httpx.AsyncClient` of yours for async calls. You close it.
        policy: what is judged and what follows; blocks every hazard at every stage by default.
        routing: which of OpenRouter's providers may judge.
        version: 1, 2, 3 or 4, where the model's id does not say which Llama Guard it is.
        splitting: how a long text is split to be judged: a `Splitting` or its settings. A text beyond its bound is not
            judged, and nothing is ever cut off.
        cache: where verdicts are kept, so that the same question is not asked twice: one of its own, in this process,
            by default; a `VerdictCache` of yours, which guards may share; or `False` for none.
        on_verdict: called with every verdict, whatever follows from it: for metrics, and to watch in monitor
            mode. What it raises is raised to the caller.

    Raises:
        ConfigurationError: if the policy names a hazard this version has not, or the version is unknown.

    Example:
        ```python
        guard = LlamaGuard()
        verdict = guard.check("How do I pick a lock?")
        print(verdict.safe, [str(category) for category in verdict.categories])
        ```
    """

    def __init__(
        self,
        *,
        model: str = DEFAULT_GUARD_MODEL,
        api_key: SecretStr | str | None = None,
        base_url: str | None = None,
        timeout: float | Timeouts | None = 10.0,
        max_retries: int = 2,
        default_headers: Mapping[str, str] | None = None,
        http_client: Any = None,
        http_async_client: Any = None,
        policy: Policy | None = None,
        routing: ProviderRouting | None = None,
        version: LlamaGuardVersion | None = None,
        splitting: Splitting | dict[str, Any] | None = None,
        cache: VerdictCache | bool = True,
        on_verdict: Callable[[Verdict], None] | None = None,
    ) -> None:
        self.model = model
        self.policy = policy or Policy()
        self.taxonomy = Taxonomy.for_model(model, version)
        self.policy.check_against(self.taxonomy)
        self.splitting = Splitting.of(splitting)
        self.cache = VerdictCache() if cache is True else None if cache is False else cache
        self._on_verdict = on_verdict
        self._connection = Connection(
            base_url=base_url,
            api_key=SecretStr(api_key) if isinstance(api_key, str) else api_key,
            timeout=timeout,
            max_retries=max_retries,
            default_headers=default_headers or {},
        )
        self._settings: dict[str, Any] = {"temperature": 0, "max_tokens": _MOST_TOKENS, "seed": 0}
        if self._connection.host.name == OPENROUTER.name:
            # Endpoints with a short context leave out the middle of a long chat unless told not to.
            self._settings["plugins"] = [{"id": "context-compression", "enabled": False}]
        if routing:
            self._settings["provider"] = routing.as_request()
        self._http_client = http_client
        self._http_async_client = http_async_client
        self._make_clients()

    def check(self, conversation: ConversationLike, *, stage: Stage | str | None = None) -> Verdict:
        """Ask whether the end of a conversation is safe.

        Args:
            conversation: a user's text, or messages: ours, or OpenAI-style dicts. The turns before the last
                are its context; system messages are not judged.
            stage: what the last turn is. Told by its role if left out: an assistant's is a reply, a tool's
                a tool result, everything else a prompt.

        Returns:
            The verdict. What follows from it is yours to decide: the policy is not applied here.

        Raises:
            GuardUnavailable: if no verdict could be had.
            ConfigurationError: if there is no key, or `conversation` is no conversation.
        """
        return self.judge(_question(as_conversation(conversation), stage))

    async def acheck(self, conversation: ConversationLike, *, stage: Stage | str | None = None) -> Verdict:
        """Ask whether the end of a conversation is safe; see `check`."""
        return await self.ajudge(_question(as_conversation(conversation), stage))

    def judge(self, question: Check) -> Verdict:
        """Put one question of a flow to the guard."""
        asked = monotonic()
        with _reported(question):
            requests = self._requests(question)
            key, known = self._known(requests)
            if known is None:
                known = self._kept(key, worst_of(self._answers(question, requests)), asked)
            return self._told(question, known)

    async def ajudge(self, question: Check) -> Verdict:
        """Put one question of a flow to the guard."""
        asked = monotonic()
        with _reported(question):
            requests = self._requests(question)
            key, known = self._known(requests)
            if known is None:
                known = self._kept(key, worst_of(await self._aanswers(question, requests)), asked)
            return self._told(question, known)

    def with_policy(self, policy: Policy) -> Self:
        """The same guard, on the same connections, under another policy."""
        policy.check_against(self.taxonomy)
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__, policy=policy)
        return twin

    def close(self) -> None:
        """Close the connections for sync calls. The next call opens new ones."""
        self._client.close()

    async def aclose(self) -> None:
        """Close the connections for async calls. The next call opens new ones."""
        await self._async_client.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the connections: a copy, perhaps in another process, opens its own. It holds the key."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_client", "_async_client")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._make_clients()

    def __repr__(self) -> str:
        host = self._connection.host.base_url
        routing = f", routing={self._settings['provider']!r}" if "provider" in self._settings else ""
        version = self.taxonomy.version
        return (
            f"{type(self).__name__}(model={self.model!r}, version={version}, base_url={host!r}{routing}, "
            f"policy={self.policy!r})"
        )

    def _make_clients(self) -> None:
        self._client = ChatClient(self._connection, http_client=self._http_client)
        self._async_client = AsyncChatClient(self._connection, http_client=self._http_async_client)

    def _requests(self, question: Check) -> list[dict[str, Any]]:
        """What is asked: one request, or one for each chunk of a long text."""
        questions = guard_questions(question.conversation, question.stage, self.splitting)
        return [{"model": self.model, "messages": messages, **self._settings} for messages in questions]

    def _answers(self, question: Check, requests: Sequence[dict[str, Any]]) -> list[Verdict | Exception]:
        """The verdicts on the chunks, as far as the first unsafe one."""
        answers: list[Verdict | Exception] = []
        for request in requests:
            try:
                verdict = self._read(question, self._client.complete(request))
            except (ProviderError, GuardUnavailable) as error:
                answers.append(error)
                continue
            answers.append(verdict)
            if not verdict.safe:
                break
        return answers

    async def _aanswers(self, question: Check, requests: Sequence[dict[str, Any]]) -> list[Verdict | Exception]:
        """The verdicts on all chunks, several asked for at once."""
        slots = asyncio.Semaphore(_CHUNKS_AT_ONCE)

        async def answer(request: dict[str, Any]) -> Verdict | Exception:
            async with slots:
                try:
                    return self._read(question, await self._async_client.complete(request))
                except (ProviderError, GuardUnavailable) as error:
                    return error

        if len(requests) == 1:
            return [await answer(requests[0])]
        return [*await asyncio.gather(*map(answer, requests))]

    def _read(self, question: Check, completion: Completion) -> Verdict:
        read = read_verdict(
            completion.text, taxonomy=self.taxonomy, stage=question.stage, finish_reason=completion.finish_reason
        )
        return replace(
            read,
            model=completion.model or self.model,
            provider=completion.provider,
            usage=completion.usage,
            generation_id=completion.id,
        )

    def _known(self, requests: Sequence[dict[str, Any]]) -> tuple[str, Verdict | None]:
        """What these requests are looked up by, and the verdict that was given on them before."""
        if self.cache is None:
            return "", None
        key = question_key(self._connection.host.base_url, requests)
        return key, self.cache.get(key)

    def _kept(self, key: str, verdict: Verdict, asked: float) -> Verdict:
        if self.cache is not None:
            self.cache.put(key, verdict)
        return replace(verdict, latency=monotonic() - asked)

    def _told(self, question: Check, verdict: Verdict) -> Verdict:
        told = replace(verdict, stage=question.stage)
        if self._on_verdict:
            self._on_verdict(told)
        return told


def _question(conversation: Conversation, stage: Stage | str | None) -> Check:
    if stage is not None:
        return Check(Stage(stage), conversation)
    is_reply = bool(conversation) and conversation[-1].role == "assistant"
    return Check(Stage.REPLY if is_reply else prompt_stage(conversation), conversation)


@contextmanager
def _reported(question: Check) -> Iterator[None]:
    """Let a failure out as the guard's, and log it: a policy may let unjudged text pass."""
    try:
        yield
    except ProviderError as error:
        _log.warning("no verdict on a %s: %s", question.stage.value, error.reason)
        msg = f"no verdict on the {question.stage.value.replace('_', ' ')}: {error}"
        raise GuardUnavailable(msg, reason=error.reason, stage=question.stage) from error
    except GuardUnavailable as error:
        _log.warning("no verdict on a %s: %s", question.stage.value, error.reason)
        raise
