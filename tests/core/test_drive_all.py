"""Several flows side by side: in order, bounded, and called off together."""

from __future__ import annotations

import asyncio

import pytest

from llama_guard_core.drive import arun_all
from llama_guard_core.errors import GuardUnavailable
from llama_guard_core.guardrail.decisions import Allow, Refuse
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.screening import Check, document_check, screen_document
from llama_guard_core.guardrail.verdict import Stage, Verdict
from llama_guard_core.messages import Image, Message, Text, Unjudgeable, user

RAISING = Policy(on_no_verdict="raise")


class Guard:
    """Takes a few turns of the loop for a verdict; says unsafe of "bad" and nothing of "dark"."""

    def __init__(self) -> None:
        self.under_way = self.most = 0
        self.judged: list[str] = []

    async def check(self, question: Check) -> Verdict:
        text = question.conversation[0].text
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(0)
            if text == "dark":
                msg = "no verdict"
                raise GuardUnavailable(msg, reason="server", stage=question.stage)
            for _ in range(len(text) * 20):
                await asyncio.sleep(0)
        finally:
            self.under_way -= 1
        self.judged.append(text)
        return Verdict(safe=text != "bad", stage=question.stage)


async def test_results_keep_the_order_of_the_flows_whatever_ends_first() -> None:
    guard = Guard()
    texts = ["a long one", "bad", "b"]
    decisions = await arun_all([screen_document(Policy(), user(text)) for text in texts], guard.check, at_once=9)
    assert [Allow, Refuse, Allow] == [type(decision) for decision in decisions]
    assert ["b", "bad", "a long one"] == guard.judged


@pytest.mark.parametrize("at_once", [1, 2, 5])
async def test_no_more_are_under_way_than_asked_for(at_once: int) -> None:
    guard = Guard()
    flows = [screen_document(Policy(), user(str(n))) for n in range(9)]
    assert 9 == len(await arun_all(flows, guard.check, at_once=at_once))
    assert at_once == guard.most


async def test_one_that_raises_calls_off_the_others() -> None:
    guard = Guard()
    flows = [screen_document(RAISING, user(text)) for text in ("a", "dark", "b", "c")]
    with pytest.raises(GuardUnavailable):
        await arun_all(flows, guard.check, at_once=2)
    assert (0, []) == (guard.under_way, guard.judged)


async def test_a_caller_who_gives_up_calls_off_all() -> None:
    guard = Guard()
    flows = [screen_document(RAISING, user(text)) for text in ("a", "b")]
    running = asyncio.ensure_future(arun_all(flows, guard.check, at_once=2))
    for _ in range(5):
        await asyncio.sleep(0)
    assert 2 == guard.under_way
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (0, []) == (guard.under_way, guard.judged)


async def test_of_nothing_comes_nothing() -> None:
    assert [] == await arun_all([], Guard().check, at_once=1)


@pytest.mark.parametrize("document", [user(""), user(" \n\t"), Message("user")])
def test_a_blank_document_is_not_asked_about(document: Message) -> None:
    assert None is document_check(Policy(), document)


@pytest.mark.parametrize("part", [Text("text"), Image("https://a.invalid/b.png"), Unjudgeable("audio")])
def test_a_document_is_asked_about_on_its_own(part: Text | Image | Unjudgeable) -> None:
    document = Message("user", (part,))
    assert Check(Stage.DOCUMENT, (document,)) == document_check(Policy(), document)
    assert None is document_check(Policy(stages=frozenset({Stage.PROMPT})), document)
