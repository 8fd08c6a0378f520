"""One question and the hosts that may answer it: what has been asked, what came of it, and who is asked next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from time import monotonic

from llama_guard_core.errors import GuardUnavailable, ProviderError
from llama_guard_core.guard_host import GuardHost, GuardRequest, Question
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.verdict import Stage, Verdict, worst_of
from llama_guard_core.provider.failover import HostOrder
from llama_guard_core.provider.failures import failure
from llama_guard_core.provider.wire import Completion
from llama_guard_core.verdict_cache import question_key


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
        deadline: seconds in which it has to be answered, whoever is asked; `None` for no end.
        begun: when the question was put, by the monotonic clock.
    """

    def __init__(
        self,
        hosts: Sequence[GuardHost],
        order: HostOrder,
        *,
        questions: Sequence[Question],
        policy: Policy,
        stage: Stage,
        deadline: float | None,
        begun: float,
    ) -> None:
        self._hosts = hosts
        self._order = order
        self._questions = questions
        self._policy = policy
        self._stage = stage
        self._deadline = deadline
        self._begun = begun
        self._failures: list[tuple[int, ProviderError]] = []
        self._cannot_be_shown: list[GuardUnavailable] = []
        self._written: dict[int, Sequence[GuardRequest]] = {}
        self._keys: dict[int, str] = {}

    @property
    def until(self) -> float | None:
        """When it has to be answered, by the monotonic clock."""
        return None if self._deadline is None else self._begun + self._deadline

    @cached_property
    def keys(self) -> Sequence[str]:
        """What a verdict on it may be kept under: one key for each host that can be asked, the preferred one's first.

        Without those of servers of this process that are yet to be started.
        """
        return [self._key(at) for at in range(len(self._hosts)) if self._has_begun(at) and self._requests(at)]

    @property
    def about(self) -> str | None:
        """What tells it from other questions to the same guard; `None` where that cannot be said."""
        return " ".join(self.keys) or None

    def candidates(self) -> Iterator[tuple[int, Sequence[GuardRequest]]]:
        """The hosts to ask, by position, and what to send them: all but those that cannot be shown the question.

        Raises:
            ProviderError: once all have failed.
            GuardUnavailable: if none can be shown the question.
        """
        for at in self._order.candidates():
            if requests := self._requests(at):
                if self._is_late():
                    raise self.out_of_time()
                yield at, requests
        raise self._order.all_failed(self._failures) if self._failures else self._cannot_be_shown[0]

    def verdict_on(self, at: int, request: GuardRequest, completion: Completion) -> Verdict | GuardUnavailable:
        """What one answer says; the error if that is no verdict."""
        try:
            return self._hosts[at].read(request, completion, self._policy, self._stage)
        except GuardUnavailable as error:
            return error

    def settled(self, at: int, answers: Sequence[Verdict | Exception]) -> Verdict | None:
        """The verdict that a host's answers make up; `None` if the next host is to be asked.

        Raises:
            ProviderError: if the host failed in a way that is for somebody to mend, or time is up.
            GuardUnavailable: if it answered something else than verdicts.
        """
        try:
            verdict = worst_of(answers)
        except ProviderError as error:
            if self._is_late():  # it is not the host's fault if it was given no time
                raise self.out_of_time() from None
            if not self._order.moves_on(at, error):
                name = self._hosts[at].host.name
                error.args = (str(error) if name in str(error) else f"{name}: {error}",)
                raise
            self._failures.append((at, error))
            return None
        return replace(verdict, latency=monotonic() - self._begun)

    def kept_under(self, at: int, answers: Sequence[Verdict | Exception]) -> str | None:
        """The key under which a host's verdict is kept; `None` for one that is not whole."""
        is_whole = all(isinstance(answer, Verdict) and answer.all_named for answer in answers)
        return self._key(at) if is_whole else None

    def out_of_time(self) -> ProviderError:
        """One error about all of them, and not a host's: it says which failed before."""
        failed = "; ".join(f"{self._hosts[at].host.name}: {error.reason}" for at, error in self._failures)
        said = f"no verdict within {self._deadline:g} seconds" + (f" ({failed})" if failed else "")
        advice = "Allow more with deadline, or less for one attempt with timeout and max_retries."
        return failure(reason="timeout", said=said, advice=advice)

    def _is_late(self) -> bool:
        return self.until is not None and monotonic() >= self.until

    def _has_begun(self, at: int) -> bool:
        server = self._hosts[at].host.server
        return server is None or server.is_running

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
        if at not in self._keys:
            host = self._hosts[at]
            bodies = [request.body for request in self._requests(at)]
            self._keys[at] = question_key(host.host.base_url, bodies, read_as=host.read_as(self._policy))
        return self._keys[at]
