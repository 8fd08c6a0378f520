"""One table of scenarios, one expected outcome a row, whatever stands between the application and the model."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import Any

import pytest
from fake_provider import FakeProvider, Fault, Reply, ToolCall
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables import Runnable, RunnableLambda
from with_langchain.foreign_model import ForeignModel, calling, saying, thinking

from langchain_llama_guard import ChatLlamaScout, LlamaGuard, Policy, guarded
from llama_guard_core import GuardUnavailable, UnsafeContent
from llama_guard_core.drive import aguard_stream, arun, guard_stream, run
from llama_guard_core.guardrail.policy import DEFAULT_APOLOGY, Allow, Refuse, decision_record
from llama_guard_core.guardrail.screening import guarded_call, screen_prompt
from llama_guard_core.guardrail.stream_guard import StreamGuard
from llama_guard_core.messages import Message, Text, user
from llama_guard_core.messages import ToolCall as Call

REFUSAL = "I can't help with that."
SAFE = "Mix the dough."
UNSAFE = "Mix the BOMB."


@dataclass(frozen=True)
class Said:
    """What the model says: text, and perhaps a call of a tool or thoughts."""

    text: str = SAFE
    arguments: str | None = None
    thoughts: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What the caller gets and what was decided.

    Attributes:
        shown: the text, or the name of the exception's class.
        decided: empty where it raises; else per question its stage, `allow` or `refuse`, and why it was noted: hazards that were flagged,
            `overruled`, or the reason there is no verdict.
        calls: how often the model was called.
    """

    shown: str
    decided: tuple[str, ...]
    calls: int = 1


@dataclass(frozen=True)
class Scenario:
    """A policy, a prompt, a reply, and what the guard does instead of judging by the marker words."""

    outcome: Outcome
    policy: Policy = field(default_factory=Policy)
    prompt: str = "What shall I do?"
    said: Said = field(default_factory=Said)
    guard: Callable[[str, str], Any] | None = None


def _answers(answer: Any, *, to: str = "assistant") -> Callable[[str, str], Any]:
    return lambda role, _: answer if role == to else "safe"


ALLOWED = "prompt allow"
SCENARIOS: dict[str, Scenario] = {
    "safe": Scenario(Outcome(SAFE, (ALLOWED, "reply allow"))),
    "unsafe prompt": Scenario(Outcome(REFUSAL, ("prompt refuse",), 0), prompt="a BOMB"),
    "unsafe prompt, raise": Scenario(Outcome("UnsafeContent", (), 0), Policy(on_unsafe="raise"), "a BOMB"),
    "unsafe reply": Scenario(Outcome(REFUSAL, (ALLOWED, "reply refuse")), said=Said(UNSAFE)),
    "unsafe reply, raise": Scenario(Outcome("UnsafeContent", ()), Policy(on_unsafe="raise"), said=Said(UNSAFE)),
    "unsafe reply, a refusal of its own": Scenario(
        Outcome("No: S9", (ALLOWED, "reply refuse")),
        Policy(refusal=lambda verdict: f"No: {verdict.categories[0].code}"),
        said=Said(UNSAFE),
    ),
    "safe tool call": Scenario(Outcome("", (ALLOWED, "tool_call allow")), said=Said("", '{"what": "bread"}')),
    "unsafe tool call": Scenario(Outcome(REFUSAL, (ALLOWED, "tool_call refuse")), said=Said("", '{"what": "a BOMB"}')),
    "unsafe reasoning": Scenario(Outcome(REFUSAL, (ALLOWED, "reply refuse")), said=Said(thoughts="the BOMB")),
    "monitor": Scenario(Outcome(UNSAFE, (ALLOWED, "reply allow overruled")), Policy(mode="monitor"), said=Said(UNSAFE)),
    "flag": Scenario(Outcome(UNSAFE, (ALLOWED, "reply allow S9")), Policy(hazards={"S9": "flag"}), said=Said(UNSAFE)),
    "ignored hazard": Scenario(
        Outcome(UNSAFE, (ALLOWED, "reply allow")), Policy(hazards={"S9": "ignore"}), said=Said(UNSAFE)
    ),
    "ignored hazard beside another": Scenario(
        Outcome(REFUSAL, (ALLOWED, "reply refuse")), Policy(hazards={"S9": "ignore"}), guard=_answers("unsafe\nS9,S1")
    ),
    "unknown hazard": Scenario(Outcome(REFUSAL, (ALLOWED, "reply refuse")), guard=_answers("unsafe\nS99")),
    "bare unsafe": Scenario(
        Outcome(REFUSAL, (ALLOWED, "reply refuse")), Policy(hazards={"S9": "ignore"}), guard=_answers("unsafe")
    ),
    "unreadable verdict": Scenario(
        Outcome(DEFAULT_APOLOGY, (ALLOWED, "reply refuse unreadable")), guard=_answers("I think so")
    ),
    "guard down for the prompt": Scenario(
        Outcome(DEFAULT_APOLOGY, ("prompt refuse server",), 0), guard=_answers(Fault.status(503), to="user")
    ),
    "no verdict, refuse": Scenario(
        Outcome(DEFAULT_APOLOGY, (ALLOWED, "reply refuse server")), guard=_answers(Fault.status(503)), said=Said(UNSAFE)
    ),
    "no verdict, raise": Scenario(
        Outcome("GuardUnavailable", ()),
        Policy(on_no_verdict="raise"),
        guard=_answers(Fault.status(503)),
        said=Said(UNSAFE),
    ),
    "no verdict, allow": Scenario(
        Outcome(UNSAFE, (ALLOWED, "reply allow server")),
        Policy(on_no_verdict="allow"),
        guard=_answers(Fault.status(503)),
        said=Said(UNSAFE),
    ),
    "no verdict, monitor": Scenario(
        Outcome(UNSAFE, (ALLOWED, "reply allow overruled server")),
        Policy(mode="monitor"),
        guard=_answers(Fault.status(503)),
        said=Said(UNSAFE),
    ),
    "prompts alone": Scenario(Outcome(UNSAFE, (ALLOWED,)), Policy(stages={"prompt"}), said=Said(UNSAFE)),
    "replies alone": Scenario(Outcome(SAFE, ("reply allow",)), Policy(stages={"reply"}), "a BOMB"),
}


def _noted(record: dict[str, Any]) -> str:
    notes = [*record.get("flagged", []), "overruled" if record.get("overruled") else None, record["no_verdict"]]
    return " ".join(filter(None, [record["stage"], record["action"], *notes]))


class Staged:
    """A scenario set up: the fake host, the guard, and the models that say what the scenario has them say."""

    def __init__(self, scenario: Scenario) -> None:
        said = scenario.said
        calls = (ToolCall("build", said.arguments),) if said.arguments else ()
        judging = {"guard": scenario.guard} if scenario.guard else {}
        self.scenario = scenario
        self.provider = FakeProvider(chat=lambda _: Reply(said.text, calls, reasoning=said.thoughts), **judging)
        clients = {"http_client": self.provider.client(), "http_async_client": self.provider.async_client()}
        self.host: dict[str, Any] = {"api_key": "sk-or-v1-agreement", "max_retries": 0, **clients}
        self.guard = LlamaGuard(policy=scenario.policy, **self.host)
        self.foreign = ForeignModel(reply=_chunks(said))

    @property
    def calls(self) -> int:
        return len(self.foreign.seen) + len(self.provider.requests_of("chat"))


def _chunks(said: Said) -> list[AIMessageChunk]:
    if said.arguments:
        return calling("build", said.arguments[:9], said.arguments[9:])
    return [*(thinking(said.thoughts)[:1] if said.thoughts else ()), *saying(said.text[:4], said.text[4:])]


Told = tuple[str, list[dict[str, Any]]]
"""What was shown, and the records of what was decided."""


class Core:
    """The core's own shells, around a model that is a function."""

    def __init__(self, staged: Staged) -> None:
        said = staged.scenario.said
        calls = (Call("c1", "build", said.arguments),) if said.arguments else ()
        self._staged, self._guard, self._policy = staged, staged.guard, staged.guard.policy
        self._asked = (user(staged.scenario.prompt),)
        self._reply = Message("assistant", tuple(Text(text) for text in (said.thoughts, said.text) if text), calls)

    def plain(self) -> Told:
        done = run(guarded_call(self._policy, self._asked, _alone), self._guard.judge, self._call)
        return self._told(done.prompt, *done.decisions)

    async def aplain(self) -> Told:
        async def call() -> Message:
            return self._call()

        done = await arun(guarded_call(self._policy, self._asked, _alone), self._guard.ajudge, call)
        return self._told(done.prompt, *done.decisions)

    def streamed(self) -> Told:
        prompt = run(screen_prompt(self._policy, self._asked), self._guard.judge)
        if isinstance(prompt, Refuse):
            return self._told(prompt)
        events = guard_stream(self._machine(), iter([self._call()]), self._guard.judge)
        return self._told(prompt, *(event.decision for event in events))

    async def astreamed(self) -> Told:
        async def pieces() -> AsyncIterator[Message]:
            yield self._call()

        prompt = await arun(screen_prompt(self._policy, self._asked), self._guard.ajudge)
        if isinstance(prompt, Refuse):
            return self._told(prompt)
        events = aguard_stream(self._machine(), pieces(), self._guard.ajudge)
        return self._told(prompt, *[event.decision async for event in events])

    def _call(self) -> Message:
        self._staged.foreign.seen.append([])
        return self._reply

    def _machine(self) -> StreamGuard[Message]:
        return StreamGuard(self._policy, self._asked, lambda pieces: pieces[-1])

    def _told(self, *decisions: Allow | Refuse) -> Told:
        refused = next((each.text for each in decisions if isinstance(each, Refuse)), None)
        records = [decision_record(each) for each in decisions if each.verdict is not None or each.error]
        return self._staged.scenario.said.text if refused is None else refused, records


def _alone(reply: Message) -> list[Message]:
    return [reply]


class Announced(BaseCallbackHandler):
    """What a guarded chain tells of its decisions."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def on_custom_event(self, name: str, data: Any, **_: Any) -> None:
        self.records.append(data)


class InLangChain:
    """A Runnable that gives messages."""

    def __init__(self, staged: Staged, runnable: Runnable[Any, Any]) -> None:
        self._prompt, self._runnable = staged.scenario.prompt, runnable
        self._announced = Announced()
        self._config: Any = {"callbacks": [self._announced]}

    def plain(self) -> Told:
        return self._told(self._runnable.invoke(self._prompt, self._config))

    async def aplain(self) -> Told:
        return self._told(await self._runnable.ainvoke(self._prompt, self._config))

    def streamed(self) -> Told:
        return self._told(reduce(add, list(self._runnable.stream(self._prompt, self._config))))

    async def astreamed(self) -> Told:
        return self._told(reduce(add, [piece async for piece in self._runnable.astream(self._prompt, self._config)]))

    def _told(self, message: AIMessage) -> Told:
        return message.text, self._announced.records or message.response_metadata.get("llama_guard", [])


COLUMNS: dict[str, Callable[[Staged], Core | InLangChain]] = {
    "core": Core,
    "ChatLlamaScout": lambda s: InLangChain(s, ChatLlamaScout(guard=s.guard, **s.host)),
    "guarded model": lambda s: InLangChain(s, guarded(s.foreign, s.guard)),
    "guarded chain": lambda s: InLangChain(s, guarded(RunnableLambda(str) | s.foreign, s.guard)),
}
"""Whatever a guard can be attached to; LlamaIndex's classes make further columns."""

WAYS = ["plain", "aplain", "streamed", "astreamed"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("column", COLUMNS.values(), ids=COLUMNS)
@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
async def test_everywhere_the_outcome_is_the_same(scenario: Scenario, column: Any, way: str) -> None:
    staged = Staged(scenario)
    try:
        told = getattr(column(staged), way)()
        shown, records = await told if inspect.isawaitable(told) else told
    except (UnsafeContent, GuardUnavailable) as error:
        shown, records = type(error).__name__, []
    assert scenario.outcome == Outcome(shown, tuple(map(_noted, records)), staged.calls)
    assert [] == staged.provider.violations
    assert 0 == staged.provider.responses_open
