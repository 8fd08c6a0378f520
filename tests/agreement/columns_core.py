"""The scenarios in the core's own shells, around a model that is a function."""

from __future__ import annotations

from collections.abc import AsyncIterator

from agreement.scenarios import Staged, Told

from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.drive import arun, run
from llama_guard_core.drive_streams import aguard_stream, guard_stream
from llama_guard_core.guardrail.decisions import Allow, Refuse, decision_record
from llama_guard_core.guardrail.screening import guarded_call, screen_prompt
from llama_guard_core.guardrail.stream_guard import StreamGuard
from llama_guard_core.messages import Message, Text, ToolCall, user


class Core:
    """What a half does, without a framework."""

    def __init__(self, staged: Staged) -> None:
        said = staged.scenario.said
        calls = (ToolCall("c1", "build", said.arguments),) if said.arguments else ()
        self._staged, self._guard, self._policy = staged, staged.guard, staged.guard.policy
        self.calls = 0
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
        self.calls += 1
        return self._reply

    def _machine(self) -> StreamGuard[Message]:
        return StreamGuard(self._policy, self._asked, lambda pieces: pieces[-1])

    def _told(self, *decisions: Allow | Refuse) -> Told:
        refused = next((each.text for each in decisions if isinstance(each, Refuse)), None)
        records = [decision_record(each) for each in decisions if each.verdict is not None or each.error]
        return self._staged.scenario.said.text if refused is None else refused, records


def _alone(reply: Message) -> list[Message]:
    return [reply]


GUARD = LlamaGuard
COLUMNS = {"core": Core}
