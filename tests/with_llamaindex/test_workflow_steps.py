"""The guard in the steps of somebody's own workflow."""

# Steps are found out about by their annotations: no `from __future__ import annotations`.

from typing import Annotated, Any

import pytest
from fake_provider import FakeProvider, Fault
from llama_index.core.base.llms.types import ChatMessage, TextBlock, ToolCallBlock
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.core.workflow import Event, StartEvent, StopEvent, Workflow, step
from with_llamaindex.agents import APOLOGY, MARKER, REFUSAL
from with_llamaindex.scouts import guard_of

from llamaindex_llama_guard import GuardUnavailable, RefusedEvent, UnsafeContent, WorkflowGuard, guard_resource


class Question(Event):
    text: str


def answering(provider: FakeProvider, says: str = "On Mondays.", **policy: Any) -> Workflow:
    """A workflow that asks the guard about the question and about the answer."""
    Guard = Annotated[WorkflowGuard, guard_resource(guard_of(provider, **policy))]  # noqa: N806 - a type

    class Answering(Workflow):
        @step
        async def screen(self, ev: StartEvent, guard: Guard) -> Question | RefusedEvent:
            return await guard.prompt(ev.question) or Question(text=ev.question)

        @step
        async def answer(self, ev: Question, guard: Guard) -> StopEvent | RefusedEvent:
            return await guard.reply(says, to=ev.text) or StopEvent(result=says)

        @step
        async def refuse(self, ev: RefusedEvent) -> StopEvent:
            return StopEvent(result=f"{ev.stage}: {ev.text}")

    return Answering()


async def test_what_is_harmless_passes(provider: FakeProvider) -> None:
    assert "On Mondays." == await answering(provider).run(question="When is it closed?")
    question, answer = provider.guard_questions
    assert (*question.turns, ("assistant", "On Mondays.")) == answer.turns


async def test_an_unsafe_question_is_refused_in_a_step(provider: FakeProvider) -> None:
    assert f"prompt: {REFUSAL}" == await answering(provider).run(question=f"Build a {MARKER}")


async def test_an_unsafe_answer_is_refused_in_a_step(provider: FakeProvider) -> None:
    assert f"reply: {REFUSAL}" == await answering(provider, f"Take a {MARKER}").run(question="When?")


async def test_without_a_verdict_the_policy_decides(provider: FakeProvider) -> None:
    provider.fail(Fault.status(503), on="guard")
    assert f"prompt: {APOLOGY}" == await answering(provider).run(question="When?")
    assert "On Mondays." == await answering(provider, on_no_verdict="allow").run(question="When?")
    with pytest.raises(GuardUnavailable):
        await WorkflowGuard(guard_of(provider, on_no_verdict="raise")).prompt("When?")


async def test_two_guards_in_one_workflow_are_two(provider: FakeProvider) -> None:
    strict, lenient = guard_of(provider), guard_of(provider, mode="monitor")

    class Both(Workflow):
        @step
        async def screen(
            self,
            ev: StartEvent,
            strict: Annotated[WorkflowGuard, guard_resource(strict)],
            lenient: Annotated[WorkflowGuard, guard_resource(lenient)],
        ) -> StopEvent:
            return StopEvent(result=[await strict.prompt(MARKER) is None, await lenient.prompt(MARKER) is None])

    assert [False, True] == await Both().run()


async def test_a_guard_is_made_once_for_all_steps(provider: FakeProvider) -> None:
    guard = guard_resource(guard_of(provider))
    seen: list[WorkflowGuard] = []

    class Twice(Workflow):
        @step
        async def first(self, ev: StartEvent, guard: Annotated[WorkflowGuard, guard]) -> Question:
            seen.append(guard)
            return Question(text="")

        @step
        async def second(self, ev: Question, guard: Annotated[WorkflowGuard, guard]) -> StopEvent:
            seen.append(guard)
            return StopEvent()

    await Twice().run()
    assert seen[0] is seen[1]


async def test_a_refused_event_tells_the_decision_and_nothing_of_what_was_judged(provider: FakeProvider) -> None:
    refused = await WorkflowGuard(guard_of(provider)).prompt(f"Build a {MARKER}")
    assert refused
    assert ("prompt", "S9") == (refused.stage, refused.decision["verdict"]["categories"][0]["code"])
    assert MARKER not in refused.model_dump_json()


async def test_a_policy_that_raises_raises(provider: FakeProvider) -> None:
    with pytest.raises(UnsafeContent):
        await WorkflowGuard(guard_of(provider, on_unsafe="raise")).prompt(MARKER)


CHAT = [ChatMessage(role="user", content="Which clocks?")]
ASKING = ChatMessage(
    role="assistant",
    blocks=[ToolCallBlock(tool_call_id="c1", tool_name="search", tool_kwargs={"query": "clocks"})],
)


async def test_calls_and_results_are_judged_in_their_conversation(provider: FakeProvider) -> None:
    guard = WorkflowGuard(guard_of(provider))
    assert await guard.tool_call("search", {"query": "clocks"}, after=[*CHAT, ASKING], call_id="c1") is None
    assert await guard.tool_result("Three clocks.", after=[*CHAT, ASKING]) is None
    called, result = provider.guard_questions
    assert ("user", "Which clocks?") == called.turns[0]
    assert (*called.turns, ("user", "Result of a tool:\nThree clocks.")) == result.turns
    assert "tool_call" == (await guard.tool_call("search", f'{{"query": "{MARKER}"}}')).stage
    assert "tool_result" == (await guard.tool_result(MARKER, after=[*CHAT, ASKING])).stage


async def test_passages_are_judged_on_their_own(provider: FakeProvider) -> None:
    guard = WorkflowGuard(guard_of(provider))
    assert await guard.document("The museum shows clocks.") is None
    node = TextNode(text="harmless", metadata={"title": f"build a {MARKER}"})
    assert "document" == (await guard.document(node)).stage
    assert "document" == (await guard.document(NodeWithScore(node=node))).stage


async def test_messages_are_taken_as_they_are(provider: FakeProvider) -> None:
    guard = WorkflowGuard(guard_of(provider))
    assert await guard.prompt(ChatMessage(role="user", blocks=[TextBlock(text=MARKER)]))
    assert await guard.prompt([*CHAT, ChatMessage(role="user", content=MARKER)])
    assert await guard.reply(ChatMessage(role="assistant", content=MARKER), to=CHAT)
    assert await guard.reply(ASKING, to=CHAT) is None
