"""What all fake hosts are: an address that answers, holds a request to its rules, and fails when it is told to."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

import httpx

from .judging import Asked, BrokenPrompt, read
from .published import Family
from .spoken import Spoken, prose, verdict

Fault = Callable[[httpx.Request], httpx.Response]
Answer = Callable[[dict[str, Any]], dict[str, Any]]

CHAT_MODELS_WORDS = "Hello! How can I help you today?"


class Refused(Exception):
    """The host will not serve a request.

    Args:
        status: the HTTP status.
        message: its sentence.
        word: its word for programs.
    """

    def __init__(self, status: int, message: str, word: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.word = word


class FakeHost:
    """A host of guards at an address.

    Args:
        base_url: its address, up to and including the version.
        key: the key it takes; None where it asks for none, and no key must be shown to it.
        models: id → which Llama Guard that is.

    Attributes:
        bodies: every JSON body that was asked about, in order.
        asked: what its guards read in the prompts.
        violations: what broke a rule of the host, or would have judged something else than was meant.
        left_out: fields that it ignores in silence.
        calls: how many requests came, failed ones included.
    """

    begins = "\n\n"
    joined = ","
    ends = ""

    def __init__(self, base_url: str, *, key: str | None, models: Mapping[str, Family]) -> None:
        self.base_url = base_url
        self.key = key
        self.models = models
        self.bodies: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.asked: list[Asked] = []
        self.violations: list[str] = []
        self.left_out: list[str] = []
        self.calls = 0
        self._faults: list[tuple[Fault, Container[int]]] = []

    def fail(self, fault: Fault, *, first: int | None = None, nth: int | None = None) -> None:
        """Let calls fail: all from now on, the `first` so many, or the `nth` alone, counted from 1 from now on."""
        begun = self.calls
        calls = range(begun + 1, 2**31 if first is None else begun + first + 1) if nth is None else {begun + nth}
        self._faults = [(fault, calls)]

    def recover(self) -> None:
        """Fail no more."""
        self._faults = []

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Answer a request without a socket."""
        self.calls += 1
        for fault, calls in self._faults:
            if self.calls in calls:
                return fault(request)
        try:
            return httpx.Response(200, content=self.padded(json.dumps(self._answered(request)).encode()))
        except Refused as refusal:
            return httpx.Response(refusal.status, json=self.error_body(refusal))

    def client(self) -> httpx.Client:
        """A client that reaches this host alone."""
        return httpx.Client(transport=httpx.MockTransport(self.handle))

    def async_client(self) -> httpx.AsyncClient:
        """An async client that reaches this host alone."""
        return httpx.AsyncClient(transport=httpx.MockTransport(self.handle))

    def routes(self) -> Mapping[str, Answer]:
        """Path → what answers there."""
        raise NotImplementedError

    def error_body(self, refusal: Refused) -> dict[str, Any]:
        """The body of a refusal, in the host's own shape."""
        return {"error": {"message": refusal.message, "type": refusal.word, "param": None, "code": refusal.word}}

    def padded(self, body: bytes) -> bytes:
        """The body as it goes over the wire."""
        return body

    def family_of(self, model: object) -> Family:
        """Which Llama Guard an id means here."""
        if model not in self.models:
            self.broken(404, f"The model `{model}` does not exist.", "model_not_found")
        return self.models[str(model)]

    def judged(self, prompt: str, family: Family, images: Sequence[str] = ()) -> Spoken:
        """What a guard says to a prompt."""
        try:
            asked = read(prompt, family, images)
        except BrokenPrompt as broken:
            self.violations.append(f"a prompt that no model was trained on: {broken}")
            return prose(CHAT_MODELS_WORDS)
        if asked is None:
            return prose(CHAT_MODELS_WORDS)
        self.asked.append(asked)
        return verdict(asked.codes, begins=self.begins, joined=self.joined, ends=self.ends)

    def broken(self, status: int, message: str, word: str = "invalid_request_error") -> None:
        """Note a broken rule, and refuse the request."""
        self.violations.append(message)
        raise Refused(status, message, word)

    def check_sampling(self, settings: Mapping[str, Any]) -> None:
        """A guard that is sampled says now this and now that."""
        if settings.get("temperature") != 0:
            self.violations.append("a guard is asked at temperature 0")

    def _answered(self, request: httpx.Request) -> dict[str, Any]:
        self._check_key(request.headers.get("authorization"))
        answer = self.routes().get(request.url.path)
        if request.method != "POST" or answer is None:
            self.broken(404, f"no such endpoint: {request.method} {request.url.path}", "not_found")
        body = json.loads(request.content)
        self.bodies.append(body)
        self.paths.append(request.url.path)
        assert answer is not None
        return answer(body)

    def _check_key(self, shown: str | None) -> None:
        if self.key is None and shown is not None:
            self.violations.append("a key was shown to a host that takes none")
        elif self.key is not None and shown != f"Bearer {self.key}":
            self.broken(401, "Invalid API Key", "invalid_api_key")
