"""Agents under guard on public attacks: whatever tools give, nothing crashes and what is refused goes no further."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from agent_injection import Attack, attacks, needs_attacks, replies, says_unsafe, verdict
from fake_provider import FakeProvider
from llama_index.core.tools import FunctionTool
from with_llamaindex.agents import function_agent, run, scripted

pytestmark = [
    needs_attacks,
    pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:is_running called from within a step"),
]


@pytest.mark.parametrize(
    ("attack", "streaming"),
    [pytest.param(attack, at % 2 == 0, id=attack.name) for at, attack in enumerate(attacks())],
)
async def test_what_is_refused_goes_no_further_and_nothing_crashes(attack: Attack, streaming: bool) -> None:
    """Every second one is streamed."""
    provider, ran = FakeProvider(guard=verdict), Counter[str]()

    def read(text: str) -> Any:
        """Read something."""
        ran["read"] += 1
        return attack.result

    async def act(text: str) -> str:
        """Do something."""
        ran["act"] += 1
        return "done"

    scripted(provider, *replies(attack))
    tools = [FunctionTool.from_defaults(read), FunctionTool.from_defaults(async_fn=act)]
    seen = await run(function_agent(provider, tools, streaming=streaming), attack.prompt)
    assert [] == provider.violations  # among them: histories that no provider accepts
    refused = [
        it.text.removeprefix("Result of a tool:\n") for it in provider.guard_questions if says_unsafe(it.role, it.text)
    ]
    shown = [str(message.get("content")) for asked in provider.requests_of("chat") for message in asked.messages]
    assert [] == [text for text in refused if text in [*shown, *(text for _, text in seen.remembered)]]
    assert all(count == 1 for count in ran.values())
