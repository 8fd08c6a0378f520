"""`guard.input()`, `guard.output()` and the guard itself, as steps of a chain."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from fake_provider import FakeProvider, Fault
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough
from langchain_core.runnables.utils import AddableDict
from with_langchain.attach_points import PROMPT, Scene
from with_langchain.channels import Channels
from with_langchain.ways import WAYS, Run

from langchain_llama_guard import GuardUnavailable, InputGuard, LlamaGuard, OutputGuard, Policy, UnsafeContent, Verdict
from llama_guard_core.guardrail.policy import DEFAULT_APOLOGY

REFUSAL = "I can't help with that."


def refused(message_id: str | None = None) -> AIMessage:
    return AIMessage(REFUSAL, id=message_id, response_metadata={"finish_reason": "content_filter"})


QUESTION = {"question": "What shall I do?"}


@pytest.fixture
def guard(provider: FakeProvider) -> LlamaGuard:
    clients = {"http_client": provider.client(), "http_async_client": provider.async_client()}
    return LlamaGuard(api_key="sk-or-v1-nodes", max_retries=0, **clients)


def _whole(scene: Scene) -> Runnable[Any, Any]:
    return scene.guard.input("question") | PROMPT | scene.foreign | StrOutputParser() | scene.guard.output()


@pytest.mark.parametrize("run", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(("says", "shown"), [("the dough", "the dough"), ("the BOMB", REFUSAL)], ids=["safe", "unsafe"])
async def test_node_by_node_a_chain_shows_what_is_safe_and_the_refusal_for_the_rest(
    says: str, shown: str, run: Run
) -> None:
    scene = Scene(says=(says,))
    assert shown == await run(_whole(scene), QUESTION, {})
    assert ["user", "assistant"] == [question.role for question in scene.provider.guard_questions]


@pytest.mark.parametrize("run", WAYS.values(), ids=WAYS)
async def test_an_unsafe_prompt_raises_at_its_step_and_goes_no_further(run: Run) -> None:
    """A step has no other way to stop the steps behind it, whatever the policy says of refusing."""
    scene = Scene()
    with pytest.raises(UnsafeContent) as raised:
        await run(_whole(scene), {"question": "a BOMB"}, {})
    assert ("prompt", REFUSAL) == (raised.value.stage.value, raised.value.refusal)
    assert 0 == scene.model_calls


@pytest.mark.parametrize("run", WAYS.values(), ids=WAYS)
async def test_a_fallback_turns_what_the_input_step_raises_into_an_answer(run: Run) -> None:
    scene = Scene()
    chain = _whole(scene).with_fallbacks(
        [RunnableLambda(lambda value: value["error"].refusal)],
        exceptions_to_handle=(UnsafeContent,),
        exception_key="error",
    )
    assert REFUSAL == await run(chain, {"question": "a BOMB"}, {})


@pytest.mark.parametrize("run", WAYS.values(), ids=WAYS)
async def test_without_a_verdict_the_input_step_raises_and_the_output_step_apologises(
    run: Run, guard: LlamaGuard, provider: FakeProvider
) -> None:
    provider.fail(Fault.status(500), on="guard")
    with pytest.raises(GuardUnavailable):
        await run(guard.input(), "Hi", {})
    assert DEFAULT_APOLOGY == await run(guard.output(), "Hi", {})


@pytest.mark.parametrize("run", WAYS.values(), ids=WAYS)
async def test_in_monitor_mode_both_steps_pass_on_what_they_judge_unsafe(run: Run, guard: LlamaGuard) -> None:
    watching = guard.with_policy(Policy(mode="monitor"))
    assert "a BOMB" == await run(watching.input() | watching.output(), "a BOMB", {})


@pytest.mark.parametrize(
    ("value", "refused"),
    [
        ("a BOMB", REFUSAL),
        (AIMessage("a BOMB", id="m1"), refused("m1")),
        ([HumanMessage("Hi"), AIMessage("a BOMB", id="m1")], [refused("m1")]),
    ],
    ids=["text", "message", "messages"],
)
async def test_the_output_step_refuses_in_the_form_of_the_value(value: Any, refused: Any, guard: LlamaGuard) -> None:
    assert refused == guard.output().invoke(value)
    assert refused == await guard.output().ainvoke(value)


def test_the_output_step_judges_what_its_key_names(guard: LlamaGuard) -> None:
    assert {"answer": REFUSAL} == guard.output("answer").invoke({"answer": "a BOMB", "n": 1})
    assert {"answer": "fine", "n": "a BOMB"} == guard.output("answer").invoke({"answer": "fine", "n": "a BOMB"})


def test_the_output_step_raises_where_no_refusal_fits(guard: LlamaGuard) -> None:
    with pytest.raises(UnsafeContent):
        guard.output().invoke({"answer": "a BOMB"})


async def test_steps_pass_a_streams_pieces_on_as_they_were_once_all_are_judged(guard: LlamaGuard) -> None:
    async def apieces() -> AsyncIterator[str]:
        for piece in pieces:
            yield piece

    pieces = ["Mix ", "the dough."]
    for step in (guard.input(), guard.output()):
        assert pieces == list(step.transform(iter(pieces)))
        assert pieces == [piece async for piece in step.atransform(apieces())]


SNAPSHOTS: list[list[Any]] = [
    [{"a": "a BOMB"}, {"a": "fine"}],
    [{"a": "fine"}, {"a": "a BOMB"}],
    [AddableDict(a={"b": "a BOMB"}), AddableDict(a={"b": "fine"})],
    ["a BOMB", {"a": "fine"}],
]


@pytest.mark.parametrize("snapshots", SNAPSHOTS)
@pytest.mark.parametrize("key", [None, "a"])
def test_snapshots_in_a_stream_are_all_judged(snapshots: list[Any], key: str | None, guard: LlamaGuard) -> None:
    for step in (guard.input(key), guard.output()):
        with pytest.raises(UnsafeContent):
            list(step.transform(iter(snapshots)))


def test_snapshots_of_a_mapping_are_refused_by_key(guard: LlamaGuard) -> None:
    assert [{"a": REFUSAL}] == list(guard.output("a").transform(iter(SNAPSHOTS[0])))
    safe = [{"a": "fi"}, {"a": "fine"}]
    assert safe == list(guard.output("a").transform(iter(safe)))


def test_a_stream_of_nothing_stays_one(guard: LlamaGuard) -> None:
    assert [] == list(guard.output("a").transform(iter([])))
    assert [] == list(guard.input("a").transform(iter([])))


class Told(BaseCallbackHandler):
    def __init__(self) -> None:
        self.runs: list[str] = []
        self.decided: list[tuple[str, str]] = []

    def on_chain_start(self, *_: Any, **named: Any) -> None:
        self.runs.append(named["name"])

    def on_custom_event(self, name: str, data: Any, **_: Any) -> None:
        self.decided.append((name, data["action"]))


@pytest.mark.parametrize("run", WAYS.values(), ids=WAYS)
async def test_the_steps_have_names_in_traces_and_tell_their_decisions(run: Run) -> None:
    told = Told()
    await run(_whole(Scene()), QUESTION, {"callbacks": [told]})
    assert [("llama_guard", "allow"), ("llama_guard", "refuse")] == told.decided
    assert {"InputGuard", "OutputGuard"} <= set(told.runs)


@pytest.mark.parametrize("run", WAYS.values(), ids=WAYS)
async def test_a_step_that_withholds_a_value_has_it_in_no_trace_of_its_own(run: Run, guard: LlamaGuard) -> None:
    channels = Channels()
    assert REFUSAL == await run(guard.output(), "a BOMB", {"callbacks": channels.handlers()})
    with pytest.raises(UnsafeContent):
        await run(guard.input(), "a BOMB", {"callbacks": channels.handlers()})
    assert set() == channels.that_saw("BOMB")
    assert {"handler", "async handler", "tracer"} <= channels.that_saw("")


@pytest.mark.parametrize("run", [WAYS["invoke"], WAYS["ainvoke"]], ids=["sync", "async"])
async def test_the_guard_as_a_step_gives_its_verdict_and_traces_no_text(run: Run, guard: LlamaGuard) -> None:
    channels = Channels()
    chain = RunnablePassthrough() | guard | RunnableLambda(lambda verdict: f"{verdict.safe} {verdict.stage.value}")
    assert "False prompt" == await run(chain, "a BOMB", {})
    assert "False reply" == await run(chain, AIMessage("a BOMB"), {})
    await run(guard, "a BOMB", {"callbacks": channels.handlers()})
    assert set() == channels.that_saw("BOMB")


async def test_the_guard_as_a_step_streams_and_batches_like_any_other(guard: LlamaGuard) -> None:
    (verdict,) = [verdict async for verdict in guard.astream("a BOMB")]
    assert isinstance(verdict, Verdict)
    assert [True, False] == [verdict.safe for verdict in guard.batch(["bread", "a BOMB"])]
    assert [True, False] == [verdict.safe for verdict in await guard.abatch(["bread", "a BOMB"])]


async def test_the_guard_as_a_step_raises_when_it_has_no_verdict(guard: LlamaGuard, provider: FakeProvider) -> None:
    """It decides nothing, so no policy can say what follows."""
    provider.fail(Fault.status(500), on="guard")
    with pytest.raises(GuardUnavailable):
        guard.invoke("Hi")
    with pytest.raises(GuardUnavailable):
        await guard.with_policy(Policy(on_no_verdict="allow")).ainvoke("Hi")


def test_steps_are_of_the_types_that_are_exported(guard: LlamaGuard) -> None:
    assert (InputGuard, OutputGuard) == (type(guard.input()), type(guard.output()))
