"""What an agent's history says before its model is called: what of it is asked about, and what follows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage

from langchain_llama_guard._conversation import conversation_of
from langchain_llama_guard._history import prompt_refusal, refused_answer, replacements, was_refused_apart
from langchain_llama_guard._refusals import REFUSED, refusal_message
from llama_guard_core.guardrail.history import HistoryCheck, decided, history_checks
from llama_guard_core.guardrail.policy import Allow, Policy, Refuse, decision_records
from llama_guard_core.guardrail.screening import Flow, reply_check, screen
from llama_guard_core.guardrail.verdict import Stage
from llama_guard_core.messages import Message


class AgentTurn:
    """The history before one call of an agent's model.

    Args:
        policy: what is judged and what follows.
        messages: the agent's messages.
        is_judged: whether this is the hook that judges them.
        prompt_beside: whether the newest prompt is judged beside the model, and not here.
        ends_on_tools: whether a refused tool call or result ends the run.
        asks_human: whether a human decides about refused calls. What a human was asked about stays in the history.
    """

    def __init__(
        self,
        policy: Policy,
        messages: Sequence[BaseMessage],
        *,
        is_judged: bool,
        prompt_beside: bool,
        ends_on_tools: bool,
        asks_human: bool,
    ) -> None:
        self._messages = messages
        self._ends_on_tools = ends_on_tools
        self._checks = history_checks(policy, conversation_of(messages)) if is_judged else []
        if asks_human:
            self._checks = [it for check in self._checks for it in self._without_human_calls(policy, check)]
        if prompt_beside and self._checks and self._checks[-1].check.stage is Stage.PROMPT:
            self._checks.pop()
        self.flows: list[Flow[Allow | Refuse]] = [screen(policy, it.check) for it in self._checks]

    def update(self, decisions: Sequence[Allow | Refuse]) -> dict[str, Any] | None:
        """What changes in the agent's state: unsafe messages are replaced, and the run may end."""
        about = decided(self._checks, decisions, len(self._messages))
        replaced = replacements(self._messages, about)
        if said := self._last_word(about, replaced):
            return {"messages": [*replaced, said], "jump_to": "end"}
        return {"messages": replaced} if replaced else None

    def _without_human_calls(self, policy: Policy, asked: HistoryCheck) -> list[HistoryCheck]:
        """The question about a reply without its calls, if a human was asked about one of these."""
        at = asked.places[-1]
        if not was_refused_apart(self._messages[at]):
            return [asked]
        *before, reply = asked.check.conversation
        check = reply_check(policy, tuple(before), Message("assistant", reply.parts))
        return [HistoryCheck(check, asked.places)] if check else []

    def _last_word(self, about: Sequence[Allow | Refuse], replaced: Sequence[BaseMessage]) -> AIMessage | None:
        """The refusal that ends the run, if it is to end."""
        if refusal := prompt_refusal(self._messages, about):
            return refusal_message(refusal, decision_records(refusal), None)
        if self._ends_on_tools and (answer := refused_answer([*self._messages, *replaced])):
            return AIMessage(answer.text, response_metadata={**answer.response_metadata, **REFUSED})
        return None


def new_records(decisions: Iterable[Allow | Refuse]) -> list[dict[str, Any]]:
    """What was decided just now, as plain values: not what an earlier step has told already."""
    fresh = (it for it in decisions if it.verdict is None or not it.verdict.cached)
    return [record for decision in fresh for record in decision_records(decision)]
