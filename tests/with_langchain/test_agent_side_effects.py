"""Side effects, counted: a refused tool has run 0 times and an allowed one exactly once, whatever happens around it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from fake_provider import Fault, Reply
from langchain.agents.middleware import ModelRetryMiddleware, ToolRetryMiddleware
from langgraph.types import Command
from with_langchain.guarded_agents import CONFIG, RUNS, Bench, Run, asks, call, is_accepted

from langchain_llama_guard import LlamaGuardMiddleware, Policy

HARMLESS, HARMFUL, POISONED = "a hut", "a BOMB", "a poisoned page"
CALLS = [calls for length in (1, 2, 3) for calls in itertools.product((HARMLESS, HARMFUL, POISONED), repeat=length)]
WORDS = {"words": "I do it.", "no words": ""}
RETRIES = {
    "no retry": lambda guard: [guard],
    "retries further in": lambda guard: [
        guard,
        ToolRetryMiddleware(max_retries=2),
        ModelRetryMiddleware(max_retries=1),
    ],
    "retries further out": lambda guard: [
        ToolRetryMiddleware(max_retries=2),
        ModelRetryMiddleware(max_retries=1),
        guard,
    ],
}

every_run = pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)


def acting(calls: tuple[str, ...], words: str = "", policy: Policy | None = None) -> Bench:
    """A model that makes these calls in one reply, each of a tool of its own, and is done."""
    made = tuple(call(f"tool{at}", text, f"c{at}") for at, text in enumerate(calls))
    results = {f"tool{at}": "the BOMB" if text == POISONED else "done" for at, text in enumerate(calls)}
    return Bench([Reply(words, made), *["Done."] * 3], policy=policy or Policy(), results=results)


def tools(calls: tuple[str, ...]) -> list[str]:
    return [f"tool{at}" for at in range(len(calls))]


def allowed(calls: tuple[str, ...]) -> dict[str, int]:
    return {f"tool{at}": 1 for at, text in enumerate(calls) if text != HARMFUL}


@every_run
@pytest.mark.parametrize("calls", CALLS, ids=" + ".join)
@pytest.mark.parametrize("words", WORDS)
async def test_of_calls_side_by_side_the_allowed_run_once_and_the_refused_never(
    run: Run, calls: tuple[str, ...], words: str
) -> None:
    bench = acting(calls, WORDS[words])
    state = await run(bench.agent(*tools(calls)), asks("Go"))
    assert allowed(calls) == bench.ran
    assert is_accepted(state["messages"])
    assert "BOMB" not in repr(state)


@every_run
@pytest.mark.parametrize("retries", RETRIES)
@pytest.mark.parametrize("calls", [(HARMLESS, HARMFUL), (POISONED, HARMLESS)], ids=" + ".join)
async def test_retries_repeat_nothing_that_was_refused(run: Run, retries: str, calls: tuple[str, ...]) -> None:
    bench = acting(calls)
    middleware = RETRIES[retries](LlamaGuardMiddleware(bench.guard))
    await run(bench.agent(*tools(calls), middleware=middleware), asks("Go"))
    assert allowed(calls) == bench.ran


@every_run
@pytest.mark.parametrize("retries", ["retries further in", "retries further out"])
async def test_a_tool_that_fails_is_tried_again_by_whoever_retries_and_judged_each_time(run: Run, retries: str) -> None:
    gives = iter([ConnectionError("away"), "the BOMB"])

    def work(text: str) -> str:
        given = next(gives)
        if isinstance(given, Exception):
            raise given
        return given

    bench = acting((HARMLESS,))
    bench.results["tool0"] = work
    middleware = RETRIES[retries](LlamaGuardMiddleware(bench.guard))
    state = await run(bench.agent("tool0", middleware=middleware), asks("Go"))
    assert {"tool0": 2} == bench.ran
    assert "BOMB" not in repr(state)


@every_run
@pytest.mark.parametrize("calls", [(HARMLESS, HARMFUL), (HARMFUL, HARMFUL, HARMLESS)], ids=" + ".join)
@pytest.mark.parametrize("answer", ["approve", "reject"])
async def test_across_an_interrupt_each_call_runs_as_often_as_it_was_allowed(
    run: Run, calls: tuple[str, ...], answer: str
) -> None:
    bench = acting(calls)
    agent = bench.agent(*tools(calls), exit_behavior="interrupt")
    await run(agent, asks("Go"))
    assert allowed(calls) == bench.ran
    waiting = agent.get_state(CONFIG).interrupts
    state = await run(agent, Command(resume={it.id: {"type": answer} for it in waiting}))
    approved = {f"tool{at}": 1 for at in range(len(calls))} if answer == "approve" else allowed(calls)
    assert approved == bench.ran
    assert is_accepted(state["messages"])


@every_run
@pytest.mark.parametrize("calls", [(HARMFUL,), (HARMLESS, HARMFUL)], ids=" + ".join)
async def test_where_a_refused_call_ends_the_run_no_call_of_that_reply_runs(run: Run, calls: tuple[str, ...]) -> None:
    bench = acting(calls)
    await run(bench.agent(*tools(calls), exit_behavior="end"), asks("Go"))
    assert {} == bench.ran


@every_run
async def test_a_call_that_nobody_could_judge_never_runs(run: Run) -> None:
    bench = acting((HARMLESS,))
    bench.provider.fail(Fault.status(500), on="guard", nth=2)
    await run(bench.agent("tool0"), asks("Go"))
    assert {} == bench.ran


@every_run
async def test_of_an_unsafe_reply_a_part_that_nobody_could_judge_never_runs(run: Run) -> None:
    """The whole is unsafe; of the harmless call alone no verdict can be had."""
    bench = acting((HARMLESS, HARMFUL))
    bench.provider.fail(Fault.status(500), on="guard", nth=3)
    state = await run(bench.agent("tool0", "tool1"), asks("Go"))
    assert {} == bench.ran
    answers: list[Any] = [message for message in state["messages"] if message.type == "tool"]
    assert {Policy().apology, "I can't help with that."} == {answer.content for answer in answers}
    assert is_accepted(state["messages"])


@every_run
async def test_a_conversation_that_is_taken_up_again_runs_nothing_twice(run: Run) -> None:
    bench = acting((HARMLESS, HARMFUL))
    agent = bench.agent("tool0", "tool1")
    await run(agent, asks("Go"))
    state = await run(bench.agent("tool0", "tool1"), asks("And now?"))
    assert {"tool0": 1} == bench.ran
    assert is_accepted(state["messages"])
