"""The hosts of a worker, and what an attach point is built from: a guard and models that ask them over sockets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from fake_provider import FakeProvider, Fault, Received, Reply, ToolCall

from fault_matrix.dead_hosts import dead_hosts
from fault_matrix.failures import SAFE, UNSAFE, Failure
from fault_matrix.marks import MARK, OF_A_MODEL, UNSAFE_MARK, Script
from fault_matrix.racing_hosts import RacingServer, racing_hosts
from llama_guard_core import Policy
from llama_guard_core.classifier import LlamaGuard

TIMEOUT = 0.2
"""Seconds a call may take in all."""
PATIENT = 10.0
"""The same where nothing is to fail."""
KEY = "sk-or-v1-matrix"
TOOL = "search"
_JUDGED_AS = {"tool call": "tool_call", "tool result": "tool_result"}


class Hosts:
    """A host of guard and model that fails as it is told, one where nobody is to go, dead ones, and racing ones."""

    def __init__(
        self,
        url: str,
        provider: FakeProvider,
        elsewhere: FakeProvider,
        away: str,
        *,
        dead: dict[str, str],
        racing: dict[str, RacingServer],
    ) -> None:
        self.url = url
        self.provider = provider
        self.elsewhere = elsewhere
        self.away = away
        self.racing = racing
        origins = dead | {name: server.origin for name, server in racing.items()}
        self.dead = {name: f"{origin}/api/v1" for name, origin in origins.items()}
        self.script = Script(0, "")
        self.failure: Failure | None = None

    @classmethod
    @contextmanager
    def open(cls) -> Iterator[Hosts]:
        """Serve them all."""
        hosts: Hosts
        elsewhere = FakeProvider()
        provider = FakeProvider(chat=lambda asked: hosts.say(asked), guard=lambda _, text: hosts.judge(text))  # noqa: PLW0108 - there are no hosts yet
        with ExitStack() as stack:
            url, away = stack.enter_context(provider.serve()), stack.enter_context(elsewhere.serve())
            racing = stack.enter_context(racing_hosts(provider.answer))
            hosts = cls(url, provider, elsewhere, away, dead=stack.enter_context(dead_hosts()), racing=racing)
            yield hosts

    def begin(self, script: Script, failure: Failure | None) -> None:
        """Set up a case."""
        self.script, self.failure = script, failure
        self.provider.requests.clear()
        self.provider.guard_questions.clear()

    def judge(self, text: str) -> str | Fault:
        """What the guard says: the failure, of the text under test; of a failing model's words, that they are unsafe."""
        if UNSAFE_MARK in text:
            return UNSAFE
        if MARK not in text or self.failure is None:
            return SAFE
        if self.script.stage in OF_A_MODEL:
            return UNSAFE
        return self.failure.as_guard if self.failure.fault else SAFE

    def say(self, received: Received) -> str | Reply | Fault:
        """What the model says."""
        script = self.script
        if script.stage in {"calling model", *_JUDGED_AS}:
            call = ToolCall(TOOL, json.dumps({"query": script.query}), f"c{script.number}")
            reply = Reply("", (call,)) if received.messages[-1]["role"] == "user" else Reply("All done.")
        else:
            reply = Reply(script.reply)
        fails = self.failure if script.stage in OF_A_MODEL else None
        return fails.of(reply) if fails and fails.fault else reply

    @property
    def told_to_models(self) -> str:
        """What models were called with."""
        return repr([received.body["messages"] for received in self.provider.requests_of("chat")])

    def hang_up(self) -> None:
        """Let go whoever still waits."""
        assert self.provider._server
        for server in (self.provider._server, *self.racing.values()):
            server.hang_up()

    def are_let_go(self, *, within: float) -> bool:
        """Whether no connection is left, by so many seconds."""
        servers = self.racing.values()
        return self.provider.wait_for_connections(0, within=within) and all(
            server.wait_for_connections(0, within=within) for server in servers
        )


class Stand:
    """What the attach points of one half are built from.

    Attributes:
        hosts: the hosts.
        guard: the guard, which all cases of this stand share.
        ran: what the tool was run with in this case.
    """

    def __init__(
        self,
        hosts: Hosts,
        guard: Callable[..., LlamaGuard],
        *,
        stage: str,
        policy: Policy | None = None,
        dead_host: str | None = None,
        timeout: float = TIMEOUT,
        max_retries: int = 0,
    ) -> None:
        self.hosts = hosts
        self.stage = stage
        self.settings: dict[str, Any] = {"api_key": KEY, "timeout": timeout, "max_retries": max_retries}
        self._model_url = hosts.dead[dead_host] if dead_host and stage in OF_A_MODEL else hosts.url
        self._built: dict[Callable[[Stand], Any], Any] = {}
        self._kept: list[Any] = []
        self._models: list[Any] = []
        self.ran: list[str] = []
        policy = policy or Policy()
        if dead_host and stage not in OF_A_MODEL:  # a host that is dead at all stages is asked at one
            policy = policy.model_copy(update={"stages": Policy(stages={_JUDGED_AS.get(stage, stage)}).stages})
        guard_url = hosts.dead[dead_host] if dead_host and stage not in OF_A_MODEL else hosts.url
        self.guard = guard(**self.settings, base_url=guard_url, policy=policy)

    @property
    def script(self) -> Script:
        """The texts of this case."""
        return self.hosts.script

    def built(self, build: Callable[[Stand], Any]) -> Any:
        """What this builds, built once for all cases of the stand."""
        if build not in self._built:
            self._built[build] = build(self)
            self._kept += self._models
            self._models.clear()
        return self._built[build]

    def model(self, make: Callable[..., Any], **settings: Any) -> Any:
        """A chat model on the host, closed at the case's end."""
        made = make(**self.settings, base_url=self._model_url, **settings)
        self._models.append(made)
        return made

    def work(self, query: str) -> str:
        """What the tool does."""
        self.ran.append(query)
        return self.script.result

    def close(self) -> None:
        """Close what sync calls have opened."""
        self.guard.close()
        for model in (*self._kept, *self._models):
            model.close()

    async def aclose(self) -> None:
        """Close what async calls have opened in the running loop."""
        await self.guard.aclose()
        for model in (*self._kept, *self._models):
            await model.aclose()

    def forget(self) -> None:
        """Begin the next case without what the last one has made."""
        self._models.clear()
        self.ran.clear()
