"""The two shells: with and without `await` they ask, show and raise the same, and they close what they read."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import Any

import pytest
from core.judging import Guard, acaught, caught, words
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import conversations, policies

from llama_guard_core.drive import arun, run
from llama_guard_core.errors import GuardUnavailable
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.screening import Check, guarded_call, screen_prompt
from llama_guard_core.guardrail.verdict import Stage
from llama_guard_core.messages import Message, assistant, user

ASKED = (user("a"),)
verdicts = st.lists(st.sampled_from(["safe", "unsafe", "down"]), min_size=3, max_size=8)


@given(conversations, policies, verdicts, st.lists(st.text("ab ", max_size=3), max_size=3))
@settings(max_examples=60)
async def test_sync_and_async_flows_ask_and_decide_the_same(
    conversation: tuple[Message, ...], policy: Policy, said: list[str], replies: list[str]
) -> None:
    async def answer() -> list[str]:
        return replies

    def flow() -> Any:
        return guarded_call(policy, conversation, lambda reply: [assistant(text) for text in reply])

    guard, async_guard = Guard(said), Guard(said)
    expected = caught(lambda: run(flow(), guard, lambda: replies))
    actual = await acaught(arun(flow(), async_guard.ask, answer))
    assert (words(expected), guard.asked) == (words(actual), async_guard.asked)


async def test_a_failed_check_is_thrown_into_the_flow_which_decides_what_follows() -> None:
    def flow() -> Generator[Any, Any, str]:
        try:
            yield Check(Stage.PROMPT, ASKED)
        except GuardUnavailable as error:
            return error.reason
        return "judged"

    assert "server" == run(flow(), Guard(["down"]))
    assert "server" == await arun(flow(), Guard(["down"]).ask)


@pytest.mark.parametrize("ends", [StopIteration, LookupError])
async def test_what_else_a_check_raises_is_raised_and_is_not_the_flows_result(ends: type[Exception]) -> None:
    def check(_: Check) -> Any:
        raise ends

    with pytest.raises(ends):
        run(screen_prompt(Policy(mode="monitor"), ASKED), check)
    with pytest.raises((ends, RuntimeError)):
        await arun(screen_prompt(Policy(mode="monitor"), ASKED), check)


async def test_a_model_that_cannot_be_judged_raises_its_own_error() -> None:
    def call() -> Any:
        msg = "inner"
        raise GuardUnavailable(msg, reason="server")

    with pytest.raises(GuardUnavailable, match="inner"):
        run(guarded_call(Policy(), ASKED, list), Guard(), call)
    with pytest.raises(GuardUnavailable, match="inner"):
        await arun(guarded_call(Policy(), ASKED, list), Guard().ask, call)


async def test_a_flow_that_calls_a_model_says_so_if_none_was_given() -> None:
    with pytest.raises(TypeError, match="calls a model"):
        run(guarded_call(Policy(), ASKED, list), Guard())
    with pytest.raises(TypeError, match="calls a model"):
        await arun(guarded_call(Policy(), ASKED, list), Guard().ask)


# A model that is started beside the prompt's check

BESIDE = Policy(prompt_check="parallel")


class Model:
    """A model that takes some turns of the event loop and knows what became of its call."""

    def __init__(self, turns: int, error: Exception | None = None) -> None:
        self.turns, self.error = turns, error
        self.state = "not called"

    async def __call__(self) -> list[Message]:
        self.state = "called"
        try:
            for _ in range(self.turns):
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.state = "cancelled"
            raise
        self.state = "answered"
        if self.error:
            raise self.error
        return [assistant("b")]


def beside(policy: Policy = BESIDE) -> Any:
    return guarded_call(policy, ASKED, list)


async def test_the_models_call_begins_before_the_prompts_verdict_is_there() -> None:
    model, states = Model(turns=3), []

    async def check(question: Check) -> Any:
        for _ in range(10):
            await asyncio.sleep(0)
        states.append(model.state)
        return Guard()(question)

    outcome = await arun(beside(), check, model)
    assert [assistant("b")] == outcome.reply
    assert "answered" == states[0]


@pytest.mark.parametrize("said", ["unsafe", "down"])
@pytest.mark.parametrize("on", ["refuse", "raise"])
async def test_a_prompt_that_may_not_be_answered_cancels_the_call(said: str, on: str) -> None:
    model = Model(turns=1000)
    policy = BESIDE.model_copy(update={"on_unsafe": on, "on_no_verdict": on})
    outcome = await acaught(arun(beside(policy), Guard([said], turns=[3]).ask, model))
    assert "cancelled" == model.state
    assert outcome in ("UnsafeContent", "GuardUnavailable") if on == "raise" else outcome.reply is None
    assert {asyncio.current_task()} == asyncio.all_tasks()


async def test_a_call_that_failed_beside_an_unsafe_prompt_is_not_heard_of() -> None:
    outcome = await arun(beside(), Guard(["unsafe"], turns=[5]).ask, Model(turns=1, error=ConnectionError()))
    assert outcome.reply is None
    with pytest.raises(ConnectionError):
        await arun(beside(), Guard(["safe"], turns=[5]).ask, Model(turns=1, error=ConnectionError()))


async def test_a_caller_that_is_cancelled_cancels_check_and_call() -> None:
    model = Model(turns=1000)
    running = asyncio.ensure_future(arun(beside(), Guard(turns=[1000]).ask, model))
    for _ in range(5):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert "cancelled" == model.state
    assert {asyncio.current_task()} == asyncio.all_tasks()


def test_without_await_the_prompt_is_checked_first_whatever_the_policy_says() -> None:
    called: list[int] = []
    outcome = run(beside(), Guard(["unsafe"]), lambda: called.append(1))
    assert (None, []) == (outcome.reply, called)
