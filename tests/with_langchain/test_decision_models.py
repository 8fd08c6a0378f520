"""Llama Guard as a decision model: what it answers, and `AutoModeMiddleware` that asks it before tools run."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from fake_provider import FakeProvider, Fault, Reply
from langchain_core.messages import AIMessage, HumanMessage
from with_langchain.channels import WAYS as CHANNEL_WAYS
from with_langchain.channels import Channels, Way
from with_langchain.four_ways import Ask, whole_ways
from with_langchain.guarded_agents import CONFIG, RUNS, Bench, Run, asks, call, is_accepted, last_text
from with_langchain.passages import guard_of

from langchain_llama_guard import ConfigurationError, GuardUnavailable, LlamaGuard, Policy, UnsafeContent
from llama_guard_core.guardrail.screening import Check
from llama_guard_core.guardrail.verdict import Verdict

decisions = pytest.importorskip("langchain_core.decisions", reason="decision models came with langchain-core 1.8")
Noul, NoulCriteria = decisions.Noul, decisions.NoulCriteria

from langchain_llama_guard.decision_models import LlamaGuardDecisionModel  # noqa: E402 - where it can be

IS_RISKY = Noul(instructions="Is it risky?", criteria=NoulCriteria(true="It does harm.", false="It does none."))
BAD_CALL = {"id": "c1", "name": "work", "args": {"text": "a BOMB"}}
GOOD_CALL = {"id": "c1", "name": "work", "args": {"text": "a hut"}}


@pytest.fixture
def guard(provider: FakeProvider) -> LlamaGuard:
    return guard_of(provider)


def asked(state: Any, **questions: Any) -> Any:
    return {"state": state, "questions": questions or {"is_risky": IS_RISKY}}


async def risk(ask: Ask, model: LlamaGuardDecisionModel, state: Any) -> float:
    return (await ask(model, asked(state))).nouls["is_risky"].noul


# What it answers


@whole_ways
@pytest.mark.parametrize(
    ("state", "role"),
    [
        ({"messages": [HumanMessage("Go")], "tool_call": BAD_CALL}, "assistant"),
        ({"tool_call": BAD_CALL}, "assistant"),
        ({"messages": [HumanMessage("a BOMB")]}, "user"),
        ([HumanMessage("Go"), AIMessage("a BOMB")], "assistant"),
        (AIMessage("a BOMB"), "assistant"),
        ("a BOMB", "user"),
        ({"ticket": {"text": "a BOMB"}}, "user"),
        ({"tool_call": "BOMB"}, "user"),
    ],
    ids=["call", "call alone", "prompt", "reply", "message", "text", "values", "call of no known form"],
)
async def test_what_is_unsafe_in_a_state_is_risky(
    guard: LlamaGuard, provider: FakeProvider, state: Any, role: str, ask: Ask
) -> None:
    assert 1.0 == await risk(ask, LlamaGuardDecisionModel(guard=guard), state)
    assert [role] == [question.role for question in provider.guard_questions]


@whole_ways
async def test_a_harmless_state_is_not_risky(guard: LlamaGuard, ask: Ask) -> None:
    for state in ("bread", {"messages": [HumanMessage("Go")], "tool_call": GOOD_CALL}):
        assert 0.0 == await risk(ask, LlamaGuardDecisionModel(guard=guard), state)


@whole_ways
async def test_a_call_is_judged_at_the_end_of_its_conversation_and_not_by_the_question(
    guard: LlamaGuard, provider: FakeProvider, ask: Ask
) -> None:
    asking = AIMessage("I work.", tool_calls=[{**GOOD_CALL, "type": "tool_call"}])
    state = {"messages": [HumanMessage("Go"), asking], "tool_call": GOOD_CALL, "tool_description": "It works."}
    await risk(ask, LlamaGuardDecisionModel(guard=guard), state)
    (question,) = provider.guard_questions
    assert ["user", "assistant"] == [role for role, _ in question.turns]
    assert "a hut" in question.text
    assert not any(word in str(question.turns) for word in ("risky", "It does", "It works"))


@whole_ways
async def test_an_answer_says_who_gave_it_and_what_it_cost(guard: LlamaGuard, ask: Ask) -> None:
    answer = await ask(LlamaGuardDecisionModel(guard=guard), asked("bread"))
    assert guard.model == answer.model
    assert answer.usage["input_tokens"] > 0
    assert answer.request_id


@whole_ways
@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"hazards": {"S9": "flag"}}, 0.0),
        ({"mode": "monitor"}, 0.0),
        ({"stages": ["prompt"]}, 0.0),
        ({"per_stage": {"tool_call": {"hazards": {"S9": "ignore"}}}}, 0.0),
        ({}, 1.0),
    ],
    ids=["flagged", "monitor", "not judged", "ignored for calls", "blocked"],
)
async def test_the_policy_decides_what_is_risky(
    provider: FakeProvider, policy: dict[str, Any], expected: float, ask: Ask
) -> None:
    model = LlamaGuardDecisionModel(guard=guard_of(provider, **policy))
    assert expected == await risk(ask, model, {"tool_call": BAD_CALL})


class _Scored(LlamaGuard):
    """A guard on a host that gives probabilities."""

    def __init__(self, score: float, **policy: Any) -> None:
        super().__init__(api_key="k", policy=Policy(**policy))
        self.score = score

    def judge(self, question: Check) -> Verdict:
        is_safe = "BOMB" not in question.conversation[-1].text
        return replace(Verdict(safe=is_safe, stage=question.stage), score=self.score)


@pytest.mark.parametrize(
    ("state", "score", "policy", "expected"),
    [
        ("bread", 0.2, {}, 0.2),
        ("a BOMB", 0.8, {}, 0.8),
        ("a BOMB", 0.8, {"mode": "monitor"}, 0.0),
        ("a BOMB", 0.3, {}, 1.0),
        ("bread", 0.6, {}, 0.0),
    ],
)
def test_the_hosts_probability_is_told_where_it_says_what_the_policy_decided(
    state: str, score: float, policy: dict[str, Any], expected: float
) -> None:
    model = LlamaGuardDecisionModel(guard=_Scored(score, **policy))
    assert expected == model.invoke(asked(state)).nouls["is_risky"].noul


@whole_ways
async def test_a_question_that_llama_guard_cannot_answer_raises_and_asks_nobody(
    guard: LlamaGuard, provider: FakeProvider, ask: Ask
) -> None:
    choice = decisions.Choice(instructions="Which?", criteria={"a": "A.", "b": "B."})
    for wrong in ({"is_risky": choice}, {"is_safe": IS_RISKY}, {"is_risky": IS_RISKY, "is_authorized": IS_RISKY}):
        with pytest.raises(ConfigurationError, match="risk_questions names is_risky"):
            await ask(LlamaGuardDecisionModel(guard=guard), asked("a BOMB", **wrong))
    assert [] == provider.guard_questions


def test_which_questions_are_about_risk_can_be_said(guard: LlamaGuard) -> None:
    model = LlamaGuardDecisionModel(guard=guard, risk_questions={"harmful", "toxic"})
    answer = model.invoke(asked("a BOMB", harmful=IS_RISKY, toxic=IS_RISKY))
    assert {"harmful": 1.0, "toxic": 1.0} == {name: noul.noul for name, noul in answer.nouls.items()}


@whole_ways
async def test_without_a_verdict_there_is_no_answer(guard: LlamaGuard, provider: FakeProvider, ask: Ask) -> None:
    provider.fail(Fault.status(500), on="guard")
    for policy in ({}, {"on_no_verdict": "raise"}):
        with pytest.raises(GuardUnavailable):
            await risk(ask, LlamaGuardDecisionModel(guard=guard_of(provider, **policy)), {"tool_call": GOOD_CALL})
    allowing = LlamaGuardDecisionModel(guard=guard_of(provider, on_no_verdict="allow"))
    assert 0.0 == await risk(ask, allowing, {"tool_call": GOOD_CALL})


@whole_ways
async def test_where_the_policy_says_raise_an_unsafe_state_does(provider: FakeProvider, ask: Ask) -> None:
    with pytest.raises(UnsafeContent):
        await risk(ask, LlamaGuardDecisionModel(guard=guard_of(provider, on_unsafe="raise")), {"tool_call": BAD_CALL})


@pytest.mark.parametrize("way", CHANNEL_WAYS.values(), ids=CHANNEL_WAYS)
async def test_the_state_is_in_no_trace_of_its_run(
    guard: LlamaGuard,
    way: Way,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """LangChain's event stream begins with what its caller gave it, and is for nobody else."""
    channels = Channels()
    state = {"messages": [HumanMessage("the BOMB")], "tool_call": BAD_CALL}
    with channels.open(caplog, monkeypatch):
        running = way(channels, LlamaGuardDecisionModel(guard=guard), asked(state), {"callbacks": channels.handlers()})
        if inspect.isawaitable(running):
            await running
    assert ({"result"} if "events" in request.node.name else set()) == channels.that_saw("BOMB")
    assert {"handler", "async handler", "tracer", "LangSmith", "collected runs"} <= channels.that_saw("is_risky")


def test_it_is_named_after_its_guard_and_written_out_without_it(guard: LlamaGuard) -> None:
    model = LlamaGuardDecisionModel(guard=guard)
    assert guard.model == model.model
    assert "guard" not in model.model_dump()
    assert "mine" == LlamaGuardDecisionModel(guard=guard, model="mine").model
    with pytest.raises(ValueError, match="guard"):
        LlamaGuardDecisionModel(guard=None, model="none")


def test_langchains_half_does_not_load_decision_models() -> None:
    code = "import sys, langchain_llama_guard; sys.exit('langchain_core.decisions' in sys.modules)"
    assert 0 == subprocess.run([sys.executable, "-c", code], check=False).returncode


def test_where_langchain_has_no_decision_models_the_import_says_what_is_needed() -> None:
    code = (
        "import sys; sys.modules['langchain_core.decisions'] = None\n"
        "try:\n    import langchain_llama_guard.decision_models\n"
        "except ImportError as error:\n    print(error)"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "LlamaGuardDecisionModel needs langchain-core 1.8" in told


# In an agent


def auto_mode(bench: Bench, **settings: Any) -> Any:
    """An agent whose tool `work` is asked about before it runs."""
    middleware = pytest.importorskip("langchain.agents.middleware.auto_mode", reason="it came with langchain 1.5")
    classifier = LlamaGuardDecisionModel(guard=bench.guard)
    asking = middleware.AutoModeMiddleware(tools=["work"], classifier=classifier, **settings)
    return bench.agent("work", middleware=[asking])


every_run = pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)


@every_run
async def test_in_auto_mode_an_unsafe_call_never_runs_and_the_agent_goes_on(run: Run) -> None:
    bench = Bench([Reply("", (call("work", "a BOMB"),)), "Then not."])
    state = await run(auto_mode(bench), asks("Go"))
    _, _, answer, last = state["messages"]
    assert {} == bench.ran
    assert ("c1", "error") == (answer.tool_call_id, answer.status)
    assert "BOMB" not in answer.text
    assert "Then not." == last.text
    assert is_accepted(state["messages"])


@every_run
async def test_in_auto_mode_a_safe_call_runs_once(run: Run) -> None:
    bench = Bench([Reply("", (call("work", "a hut"),)), "All done."])
    assert "All done." == last_text(await run(auto_mode(bench), asks("Go")))
    assert {"work": 1} == bench.ran


@every_run
async def test_in_auto_mode_one_of_two_calls_is_refused_and_the_other_runs_once(run: Run) -> None:
    bench = Bench([Reply("", (call("work", "a BOMB", "c1"), call("work", "a hut", "c2"))), "Half done."])
    state = await run(auto_mode(bench), asks("Go"))
    assert {"work": 1} == bench.ran
    assert {"c1": "error", "c2": "success"} == {m.tool_call_id: m.status for m in state["messages"] if m.type == "tool"}


@every_run
async def test_in_auto_mode_no_call_runs_while_the_guard_is_down(run: Run) -> None:
    bench = Bench([Reply("", (call("work", "a hut"),)), "All done."])
    bench.provider.fail(Fault.status(500), on="guard")
    with pytest.raises(GuardUnavailable):
        await run(auto_mode(bench), asks("Go"), CONFIG)
    assert {} == bench.ran
