"""The fake host itself: from a request to a response, checked, scripted and counted."""

from __future__ import annotations

import functools
import threading
from collections import Counter, deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx

from .answers import Answer, cut_into, html_answer, mock_response
from .brain import MARKERS, SMALL_TALK, converse, judge_by
from .error_bodies import refused
from .faults import Fault
from .field_rules import field_problems
from .guard_rules import guard_problems
from .message_rules import message_problems
from .received import GuardQuestion, Kind, Received, guard_question, read_request
from .rendering import Rendering, ToolDeltas, UsageShape
from .replies import Reply
from .server import LoopbackServer

BASE_URL = "https://openrouter.ai/api/v1"

Outcome = str | Reply | Fault | Answer
"""What a script may say: a text, a reply, something that goes wrong, or the very bytes."""

ChatScript = Iterable[Outcome] | Callable[[Received], Outcome]
GuardScript = Mapping[str, str] | Callable[[str, str], Outcome]

_PATH = "/api/v1/chat/completions"


@dataclass(frozen=True, slots=True)
class _Planned:
    fault: Fault
    kind: Kind | None
    calls: Container[int]


class FakeProvider:
    """A host of chat models and guards that is as strict, and as unreliable, as a test needs.

    Args:
        chat: what the chat models say: outcomes, used up one by one, or a function from the request to an
            outcome. By default they converse, call tools and fill schemas.
        guard: how a guard judges: marker words and their hazards, or a function from the judged role and
            text to an outcome.
        usage: where streams tell their usage.
        tool_deltas: how streams send tool calls.
        piece_size: cuts every body into pieces of so many bytes; by default one event or body a piece.

    Attributes:
        requests: every request that was accepted, in order.
        guard_questions: what the guards were asked.
        violations: every rule of the API that a request broke. Such a request is answered with 400 or 401.
        responses_open: responses that a mock transport delivered and that were not read to the end or closed.
    """

    def __init__(
        self,
        *,
        chat: ChatScript = converse,
        guard: GuardScript = MARKERS,
        usage: UsageShape = "choice",
        tool_deltas: ToolDeltas = "fragments",
        piece_size: int | None = None,
    ) -> None:
        self.requests: list[Received] = []
        self.guard_questions: list[GuardQuestion] = []
        self.violations: list[str] = []
        self.responses_open = 0
        self._chat = chat if callable(chat) else deque(chat)
        self._guard = guard if callable(guard) else _by_markers(guard)
        self._usage: UsageShape = usage
        self._tool_deltas: ToolDeltas = tool_deltas
        self._piece_size = piece_size
        self._planned: list[_Planned] = []
        self._counts: Counter[Kind | None] = Counter()
        self._lock = threading.Lock()
        self._server: LoopbackServer | None = None

    def fail(
        self, fault: Fault, *, on: Kind | None = None, first: int | None = None, nth: int | None = None
    ) -> FakeProvider:
        """Let calls fail: all of them, the `first` so many, or the `nth` alone, counted from 1.

        Args:
            fault: what goes wrong.
            on: fail calls of one kind only, and count only those.
            first: how many calls fail before they succeed.
            nth: the one call that fails.

        Returns:
            The provider itself, so that it can be written in one line.
        """
        if nth is not None:
            calls: Container[int] = {nth}
        else:
            calls = range(1, 2**31 if first is None else first + 1)
        self._planned.append(_Planned(fault, on, calls))
        return self

    def requests_of(self, kind: Kind) -> list[Received]:
        """Give the accepted requests of one kind."""
        return [received for received in self.requests if received.kind == kind]

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Answer a request without a socket: this is what stands behind `httpx.MockTransport`."""
        answer = self.answer(request)
        self._count_response(1)
        return mock_response(answer, request, functools.partial(self._count_response, -1))

    def client(self, **options: Any) -> httpx.Client:
        """Open a client that reaches this provider without a socket."""
        return httpx.Client(transport=httpx.MockTransport(self.handle), **options)

    def async_client(self, **options: Any) -> httpx.AsyncClient:
        """Open an async client that reaches this provider without a socket."""
        return httpx.AsyncClient(transport=httpx.MockTransport(self.handle), **options)

    @contextmanager
    def serve(self) -> Iterator[str]:
        """Serve on a port of this machine; gives the base URL, and breaks what is still open at the end."""
        server = self._server = LoopbackServer(self.answer)
        server.start()
        try:
            yield f"{server.origin}{_PATH.removesuffix('/chat/completions')}"
        finally:
            server.stop()

    @property
    def connections_open(self) -> int:
        """How many connections to the served variant are open."""
        return self._server.connections_open if self._server else 0

    @property
    def connections_made(self) -> int:
        """How many connections the served variant has seen."""
        return self._server.connections_made if self._server else 0

    def wait_for_connections(self, count: int, *, within: float = 5.0) -> bool:
        """Wait at most `within` seconds until so many connections are open; tells whether they are."""
        return self._server is not None and self._server.wait_for_connections(count, within=within)

    def answer(self, request: httpx.Request) -> Answer:
        """Check a request, record it, and decide what comes back."""
        if (request.method, request.url.path) != ("POST", _PATH):
            problem = f"no such endpoint: {request.method} {request.url.path}"
            return self._refuse([problem], html_answer(404, "Not Found"))
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not key.strip():
            return self._refuse(["no bearer key"], refused(401, "Missing Authentication header"))
        received = read_request(request)
        problems = ["the body is not a JSON object"] if received is None else _problems(received)
        if received is None or problems:
            return self._refuse(problems, refused(400, problems[0]))
        return self._cut(self._outcome(received))

    def _outcome(self, received: Received) -> Answer:
        number, fault = self._record(received)
        rendering = Rendering(received, number, self._usage, self._tool_deltas)
        if received.kind == "guard":
            question = guard_question(received)
            return _render(rendering, self._guard(question.role, question.text), fault)
        return _render(rendering, self._said(received, keep=fault is not None), fault)

    def _record(self, received: Received) -> tuple[int, Fault | None]:
        """Count a request; gives its number, and the fault that is planned for it."""
        with self._lock:
            self.requests.append(received)
            self._counts.update((None, received.kind))
            if received.kind == "guard":
                self.guard_questions.append(guard_question(received))
            counts = {kind: self._counts[kind] for kind in (None, received.kind)}
            due = (p.fault for p in self._planned if p.kind in counts and counts[p.kind] in p.calls)
            return counts[None], next(due, None)

    def _said(self, received: Received, *, keep: bool) -> Outcome:
        """Take what the script says next; a call that is to fail leaves it for the call that follows."""
        if not isinstance(self._chat, deque):
            return self._chat(received)
        if not self._chat:
            self.violations.append("a call more than the script has replies")
            return Fault.status(500)
        return self._chat[0] if keep else self._chat.popleft()

    def _refuse(self, problems: list[str], answer: Answer) -> Answer:
        self.violations.extend(problems)
        return answer

    def _cut(self, answer: Answer) -> Answer:
        if self._piece_size is None:
            return answer
        return replace(answer, pieces=cut_into(answer.pieces, self._piece_size))

    def _count_response(self, change: int) -> None:
        with self._lock:
            self.responses_open += change


def _problems(received: Received) -> list[str]:
    problems = [*field_problems(received.body), *message_problems(received.body.get("messages"))]
    if received.kind == "guard":
        problems += guard_problems(received.body)
    return problems


def _render(rendering: Rendering, said: Outcome, planned: Fault | None) -> Answer:
    if isinstance(said, Answer):
        return said
    if isinstance(said, Fault):
        usual = "\n\nsafe" if rendering.received.kind == "guard" else SMALL_TALK
        return said.spoil(rendering, Reply(usual))
    reply = Reply(said) if isinstance(said, str) else said
    return planned.spoil(rendering, reply) if planned else rendering.answer(reply)


def _by_markers(markers: Mapping[str, str]) -> Callable[[str, str], Outcome]:
    return lambda _, text: judge_by(markers, text)
