"""One table of scenarios, one expected outcome a row, whatever stands between the application and the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fake_provider import FakeProvider, Fault, Reply, ToolCall

from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.guardrail.policy import DEFAULT_APOLOGY, Policy

REFUSAL = "I can't help with that."
SAFE = "Mix the dough."
UNSAFE = "Mix the BOMB."


@dataclass(frozen=True)
class Said:
    """What the model says: text, and perhaps a call of a tool or thoughts."""

    text: str = SAFE
    arguments: str | None = None
    thoughts: str | None = None

    @property
    def is_text_alone(self) -> bool:
        return not (self.arguments or self.thoughts)


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


Told = tuple[str, list[dict[str, Any]]]
"""What was shown, and the records of what was decided."""


class Staged:
    """A scenario set up: the fake host that says what the scenario has it say, and the guard of one half."""

    def __init__(self, scenario: Scenario, guard: Callable[..., LlamaGuard]) -> None:
        said = scenario.said
        calls = (ToolCall("build", said.arguments),) if said.arguments else ()
        judging = {"guard": scenario.guard} if scenario.guard else {}
        self.scenario = scenario
        self.provider = FakeProvider(chat=lambda _: Reply(said.text, calls, reasoning=said.thoughts), **judging)
        clients = {"http_client": self.provider.client(), "http_async_client": self.provider.async_client()}
        self.host: dict[str, Any] = {"api_key": "sk-or-v1-agreement", "max_retries": 0, **clients}
        self.guard = guard(policy=scenario.policy, **self.host)

    @property
    def hosted_calls(self) -> int:
        """How often the model on the fake host was called."""
        return len(self.provider.requests_of("chat"))
