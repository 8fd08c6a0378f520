"""LlamaGuard: puts the question to the model, reads the verdict."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from time import monotonic
from typing import Any

from pydantic import SecretStr
from typing_extensions import Self

from llama_guard_core.asking import Asking
from llama_guard_core.bulk.checks import ChecksMany
from llama_guard_core.drive import arun, run
from llama_guard_core.errors import GuardUnavailable, ProviderError
from llama_guard_core.guard_clients import GuardClients
from llama_guard_core.guard_host import GuardHost, Question
from llama_guard_core.guard_kinship import check_codes_agree
from llama_guard_core.guardrail.hardening import Hardening
from llama_guard_core.guardrail.hazards import LlamaGuardVersion
from llama_guard_core.guardrail.images import ImageRules
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.prompt import guard_questions
from llama_guard_core.guardrail.screening import Check, Flow, check_of
from llama_guard_core.guardrail.splitting import Splitting
from llama_guard_core.guardrail.verdict import Stage, Verdict
from llama_guard_core.judged_images import aas_sent, as_sent
from llama_guard_core.messages import ConversationLike, as_conversation
from llama_guard_core.provider.connection import Connection, Timeouts, checked_deadline
from llama_guard_core.provider.failover import HostOrder
from llama_guard_core.provider.hosts import require_one_key_each
from llama_guard_core.provider.known_hosts import HostLike, chosen_hosts
from llama_guard_core.provider.local_secret import local_secret
from llama_guard_core.provider.private_headers import PrivateHeaders
from llama_guard_core.provider.routing import ModelVariant, ProviderRouting
from llama_guard_core.self_test.guard_probes import AS_TESTED, OneHost, ProbeTexts, guard_self_test
from llama_guard_core.self_test.report import SelfTest, in_one_report
from llama_guard_core.verdict_cache import VerdictCache
from llama_guard_core.verdict_stores.verdict_store import VerdictStore

_log = logging.getLogger(__name__)


class LlamaGuard(ChecksMany):
    """Meta's Llama Guard behind an OpenAI-compatible API, with the policy for what follows from its verdicts.

    One object serves sync and async code, several threads and several event loops. Making one opens nothing
    and asks nothing.

    It is one layer, not a proof of safety: on Meta's own figures Llama Guard 4 finds 69 % of unsafe English
    text and flags 11 % of safe text. It has no category for prompt injection, jailbreaks or insults.

    Args:
        model: the guard model's id, at each of the hosts. Left out, each host's own for the best Llama Guard it has.
        api_key: the host's key. Left out, it is read from the host's environment variable, such as
            `OPENROUTER_API_KEY`, as by a copy that was made by pickle: pickles hold no key.
        host: where the guard is: OpenRouter if left out; the name of a known host (`"together"`, `"vllm"`, `"ollama"`,
            ...; docs/hosts.md has them all), an address, a `Host`, or an `Embedded` for a model file of yours. A list
            of these is a failover list: the next is asked where one is down, at a limit, or has withdrawn the model.
            A verdict is one host's alone, and says whose.
        base_url: the address of any OpenAI-compatible host, up to and including its `/v1`; with `host`, where that is.
        timeout: seconds for one attempt at one check, or `Timeouts`. A check that takes longer is no verdict.
        deadline: seconds for a check as a whole, with all its attempts and waits, hosts, chunks of a long text and
            pictures. What is not judged by then is not judged. `None` for no end.
        max_retries: further attempts after a failure that may pass; 0 for none.
        default_headers: sent with every request, in place of ours where they have the same name.
        http_client: an `httpx.Client` of yours for sync calls. You close it.
        http_async_client: an `httpx.AsyncClient` of yours for async calls. You close it.
        policy: what is judged and what follows; blocks every hazard at every stage by default.
        routing: which of OpenRouter's providers may judge.
        variant: how OpenRouter chooses among providers: `"balanced"`, `"nitro"`, `"exacto"`, as its site calls them.
        fallback_models: other Llama Guards that OpenRouter may ask where this one cannot be had. No others: a chat
            model would judge nothing, and an answer of one is no verdict.
        version: 1, 2, 3 or 4, where the model's id does not say which Llama Guard it is.
        raw_prompt: whether the published prompt is written here, for the host's raw completion endpoint, and not by the
            host's own template. Left out, so it is where that template is known to be broken (Ollama, llama.cpp,
            embedded files); the `repr` of a guard says which.
        splitting: how a long text is split to be judged: a `Splitting` or its settings. A text beyond its bound is not
            judged, and nothing is ever cut off.
        hardening: the forms in which a text is judged: a `Hardening` or its settings.
        images: which images are judged, and whether their addresses are passed on: an `ImageRules` or its settings.
        cache: where verdicts are kept, so that the same question is not asked twice, nor twice at once: one of its
            own, in this process, by default; a `VerdictCache` of yours, which guards may share; a store to keep them
            in, such as a `SQLiteStore`; or `False` for none.
        on_verdict: called with every verdict, whatever follows from it: for metrics, and to watch in monitor
            mode. What it raises is raised to the caller.

    Raises:
        ConfigurationError: if the policy names a hazard this version has not, the version is unknown, or the host
            cannot be asked so; the message names the host's limit.

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
        model: str | None = None,
        api_key: SecretStr | str | None = None,
        host: HostLike | Sequence[HostLike] | None = None,
        base_url: str | None = None,
        timeout: float | Timeouts | None = 10.0,
        deadline: float | None = 60.0,
        max_retries: int = 2,
        default_headers: Mapping[str, str] | None = None,
        http_client: Any = None,
        http_async_client: Any = None,
        policy: Policy | None = None,
        routing: ProviderRouting | None = None,
        variant: ModelVariant | None = None,
        fallback_models: Sequence[str] = (),
        version: LlamaGuardVersion | None = None,
        raw_prompt: bool | None = None,
        splitting: Splitting | dict[str, Any] | None = None,
        hardening: Hardening | dict[str, Any] | None = None,
        images: ImageRules | dict[str, Any] | None = None,
        cache: VerdictCache | VerdictStore | bool = True,
        on_verdict: Callable[[Verdict], None] | None = None,
    ) -> None:
        api_key, default_headers = local_secret(api_key), PrivateHeaders.of(default_headers)
        hosts = chosen_hosts(host, base_url)
        if api_key is not None:
            require_one_key_each(hosts)
        routers = [each for each in hosts if each.is_router] or hosts
        self._hosts = [
            GuardHost(
                each,
                model=model,
                version=version,
                raw_prompt=raw_prompt,
                variant=variant if each in routers else None,
                fallback_models=fallback_models if each in routers else (),
                routing=routing,
            )
            for each in hosts
        ]
        self.model = self._hosts[0].model
        self.host_names = tuple(each.name for each in hosts)
        self.taxonomy = self._hosts[0].taxonomy
        self.policy = policy or Policy()
        self._check(self.policy)
        self.splitting = Splitting.of(splitting)
        self.hardening = Hardening.of(hardening)
        self.images = ImageRules.of(images)
        self.cache = VerdictCache.of(cache)
        self.deadline = checked_deadline(deadline)
        self._on_verdict = on_verdict
        self._order = HostOrder(hosts)
        connections = [
            Connection(
                host=each, api_key=api_key, timeout=timeout, max_retries=max_retries, default_headers=default_headers
            )
            for each in hosts
        ]
        self._clients = GuardClients(connections, http_client, http_async_client)

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
        return self.judge(check_of(as_conversation(conversation), stage))

    async def acheck(self, conversation: ConversationLike, *, stage: Stage | str | None = None) -> Verdict:
        """Ask whether the end of a conversation is safe; see `check`."""
        return await self.ajudge(check_of(as_conversation(conversation), stage))

    def judge(self, question: Check) -> Verdict:
        """Put one question of a flow to the guard."""
        with _reported(question):
            begun, questions = monotonic(), self._questions(question)
            questions = as_sent(questions, self.images, question.stage, until=self._until(begun))
            return self._told(question, self._clients.verdict(self._asking(question, questions, begun), self.cache))

    async def ajudge(self, question: Check) -> Verdict:
        """Put one question of a flow to the guard."""
        with _reported(question):
            begun, questions = monotonic(), self._questions(question)
            questions = await aas_sent(questions, self.images, question.stage, until=self._until(begun))
            asking = self._asking(question, questions, begun)
            return self._told(question, await self._clients.averdict(asking, self.cache))

    def asking(self, question: Check) -> Asking:
        """A question on its way, for who sends its requests himself. Its pictures go as they are."""
        return self._asking(question, self._questions(question), monotonic())

    def with_policy(self, policy: Policy) -> Self:
        """The same guard, on the same connections, under another policy."""
        self._check(policy)
        twin = type(self).__new__(type(self))
        twin.__dict__.update(self.__dict__, policy=policy)
        return twin

    def self_test(self, texts: ProbeTexts | None = None) -> SelfTest:
        """Tell what is wrong with each host, and the remedy: whether it is asked rightly, not how well it judges.

        Args:
            texts: the words of the questions, for a guard that knows others than Meta's.

        Returns:
            The report on the first host; in its `others` those on the hosts that are asked when it fails.
        """
        return in_one_report([run(test, guard.judge) for guard, test in self._tests(texts)])

    async def aself_test(self, texts: ProbeTexts | None = None) -> SelfTest:
        """Tell what is wrong with each host, and the remedy; see `self_test`."""
        return in_one_report([await arun(test, guard.ajudge) for guard, test in self._tests(texts)])

    def close(self) -> None:
        """Close the connections for sync calls. The next call opens new ones."""
        self._clients.close()

    async def aclose(self) -> None:
        """Close the connections for async calls. The next call opens new ones."""
        await self._clients.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        known = vars(self)  # not yet all of it, where a debugger shows a constructor that fails
        return f"{type(self).__name__}({', '.join(map(repr, known.get('_hosts', ())))}, policy={known.get('policy')!r})"

    def _check(self, policy: Policy) -> None:
        for host in self._hosts:
            host.check_policy(policy)
        check_codes_agree(policy, [host.taxonomy for host in self._hosts])

    def _tests(self, texts: ProbeTexts | None) -> Iterator[tuple[Self, Flow[SelfTest]]]:
        for at, host in enumerate(self._hosts):
            twin = self.with_policy(Policy())
            twin.__dict__.update(AS_TESTED, _order=OneHost(at))
            yield twin, guard_self_test(host, texts)

    def _questions(self, question: Check) -> Sequence[Question]:
        return guard_questions(question.conversation, question.stage, self.splitting, self.hardening)

    def _until(self, begun: float) -> float | None:
        return None if self.deadline is None else begun + self.deadline

    def _asking(self, question: Check, questions: Sequence[Question], begun: float) -> Asking:
        return Asking(
            self._hosts,
            self._order,
            questions=questions,
            policy=self.policy,
            stage=question.stage,
            deadline=self.deadline,
            begun=begun,
        )

    def _told(self, question: Check, verdict: Verdict) -> Verdict:
        told = verdict if verdict.stage is question.stage else replace(verdict, stage=question.stage)
        if self._on_verdict:
            self._on_verdict(told)
        return told


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
