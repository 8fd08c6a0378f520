"""Agents under guard on public attacks: whatever tools give, nothing crashes and what is refused goes no further."""

from __future__ import annotations

import asyncio

import pytest
from agent_injection import Attack, attacks, needs_attacks, replies, says_unsafe, verdict
from with_langchain.guarded_agents import CONFIG, Bench, asks, is_accepted

pytestmark = needs_attacks


@pytest.mark.parametrize("attack", attacks(), ids=lambda attack: attack.name)
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_what_is_refused_goes_no_further_and_nothing_crashes(attack: Attack, asynchronous: bool) -> None:
    bench = Bench(replies(attack), results={"read": attack.result, "act": "done"})
    bench.provider._guard = verdict
    agent = bench.agent("read", "act")
    state = (
        asyncio.run(agent.ainvoke(asks(attack.prompt), CONFIG))
        if asynchronous
        else agent.invoke(asks(attack.prompt), CONFIG)
    )
    assert is_accepted(state["messages"])
    refused = [it for it in bench.provider.guard_questions if says_unsafe(it.role, it.text)]
    for question in refused:
        for received in bench.provider.requests_of("chat"):
            assert all(question.text != str(message.get("content")) for message in received.messages)
    assert all(count == 1 for count in bench.ran.values())
    results = [message for message in state["messages"] if message.type == "tool"]
    ran_and_shown = [message for message in results if message.status != "error"]
    assert len(ran_and_shown) <= sum(bench.ran.values())
