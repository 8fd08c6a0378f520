"""One question and the hosts that may answer it: what has been asked, what came of it, and who is asked next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from time import monotonic

from llama_guard_core.errors import GuardUnavailable, ProviderError
from llama_guard_core.guard_host import GuardHost, GuardRequest, Question
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.verdict import Stage, Verdict, worst_of
from llama_guard_core.provider.failover import HostOrder
from llama_guard_core.provider.wire import Completion
from llama_guard_core.verdict_cache import VerdictCache, question_key


class Asking:
    """Puts one question to one host after the other, until one has answered all of it.

    A verdict is one host's alone: where a long text is several requests and the host fails in the middle, the next
    one is asked about all of it. It does no I/O: the guard sends `requests` and hands in the answers.

    Args:
        hosts: how each host is asked, in order of preference.
        order: which of them are asked now.
        questions: what is asked, each of which must be answered.
        policy: which hazards are asked about.
        stage: what is judged.
        cache: the verdicts that are known already.
    """

    def __init__(
        self,
        hosts: Sequence[GuardHost],
        order: HostOrder,
        *,
        questions: Sequence[Question],
        policy: Policy,
        stage: Stage,
        cache: VerdictCache | None,
    ) -> None:
        self._hosts = hosts
        self._order = order
        self._questions = questions
        self._policy = policy
        self._stage = stage
        self._cache = cache
        self._begun = monotonic()
        self._failures: list[tuple[int, ProviderError]] = []
        self._cannot_be_shown: list[GuardUnavailable] = []
        self._written: dict[int, Sequence[GuardRequest]] = {}

    def known(self) -> Verdict | None:
        """A verdict that one of the hosts gave before on the same question, the preferred host's first."""
        if self._cache is None:
            return None
        for at, host in enumerate(self._hosts):
            has_not_begun = host.host.server is not None and not host.host.server.is_running
            if has_not_begun or not self._requests(at):
                continue
            if (verdict := self._cache.get(self._key(at))) is not None:
                return verdict
        return None

    def candidates(self) -> Iterator[tuple[int, Sequence[GuardRequest]]]:
        """The hosts to ask, by position, and what to send them: all but those that cannot be shown the question.

        Raises:
            ProviderError: once all have failed.
            GuardUnavailable: if none can be shown the question.
        """
        for at in self._order.candidates():
            if requests := self._requests(at):
                yield at, requests
        raise self._order.all_failed(self._failures) if self._failures else self._cannot_be_shown[0]

    def verdict_on(self, at: int, request: GuardRequest, completion: Completion) -> Verdict | GuardUnavailable:
        """What one answer says; the error if that is no verdict."""
        try:
            return self._hosts[at].read(request, completion, self._policy, self._stage)
        except GuardUnavailable as error:
            return error

    def settled(self, at: int, answers: Sequence[Verdict | Exception]) -> Verdict | None:
        """The verdict that a host's answers make up, kept for the next time; `None` if the next host is to be asked.

        Raises:
            ProviderError: if the host failed in a way that is for somebody to mend.
            GuardUnavailable: if it answered something else than verdicts.
        """
        try:
            verdict = worst_of(answers)
        except ProviderError as error:
            if not self._order.moves_on(at, error):
                name = self._hosts[at].host.name
                error.args = (str(error) if name in str(error) else f"{name}: {error}",)
                raise
            self._failures.append((at, error))
            return None
        if self._cache is not None and all(isinstance(answer, Verdict) for answer in answers):
            self._cache.put(self._key(at), verdict)
        return replace(verdict, latency=monotonic() - self._begun)

    def _requests(self, at: int) -> Sequence[GuardRequest]:
        """What this host is sent; nothing, if it cannot be shown the question."""
        if at not in self._written:
            try:
                self._written[at] = self._hosts[at].requests(self._questions, self._policy, self._stage)
            except GuardUnavailable as error:
                self._cannot_be_shown.append(error)
                self._written[at] = ()
        return self._written[at]

    def _key(self, at: int) -> str:
        host = self._hosts[at]
        bodies = [request.body for request in self._requests(at)]
        return question_key(host.host.base_url, bodies, read_as=host.read_as(self._policy))
