"""What an agent's history says before its model is called: what of it is asked about, and what follows."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage

from langchain_llama_guard._conversation import conversation_of
from langchain_llama_guard._history import after_reply, prompt_refusal, refused_answer, replacements, was_refused_apart
from langchain_llama_guard._refusals import REFUSED, refusal_message
from llama_guard_core.guardrail.decisions import Allow, Refuse, decision_records
from llama_guard_core.guardrail.history import HistoryCheck, decided, history_checks
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.screening import Flow, reply_check, screen
from llama_guard_core.guardrail.verdict import Stage
from llama_guard_core.messages import Message


class AgentTurn:
    """The history before one call of an agent's model.

    Args:
        policy: what is judged and what follows.
        messages: the agent's messages.
        prompt_beside: whether the newest prompt is judged beside the model, and not here.
        ends_on_tools: whether a refused tool call or result ends the run.
        asks_human: whether a human decides about refused calls. What a human was asked about stays in the history.
        only: where the messages stand that are judged; all of them if left out.
    """

    def __init__(
        self,
        policy: Policy,
        messages: Sequence[BaseMessage],
        *,
        prompt_beside: bool,
        ends_on_tools: bool,
        asks_human: bool,
        only: Container[int] | None = None,
    ) -> None:
        self.messages = messages
        self._ends_on_tools = ends_on_tools
        self._checks = history_checks(policy, conversation_of(messages)) if only != () else []
        if asks_human:
            self._checks = [it for check in self._checks for it in self._without_human_calls(policy, check)]
        if prompt_beside and self._checks and self._is_newest_prompt(self._checks[-1]):
            self._checks.pop()
        if only is not None:
            self._checks = [it for it in self._checks if any(place in only for place in it.places)]
        self.flows: list[Flow[Allow | Refuse]] = [screen(policy, it.check) for it in self._checks]

    def _is_newest_prompt(self, asked: HistoryCheck) -> bool:
        """Whether it is the question that the model's guard asks too."""
        return asked.check.stage is Stage.PROMPT and asked.places[-1] >= after_reply(self.messages)

    def about(self, decisions: Sequence[Allow | Refuse]) -> list[Allow | Refuse]:
        """What was decided about each message."""
        return decided(self._checks, decisions, len(self.messages))

    def update(self, decisions: Sequence[Allow | Refuse]) -> dict[str, Any] | None:
        """What changes in the agent's state: unsafe messages are replaced, and the run may end."""
        about = self.about(decisions)
        replaced = replacements(self.messages, about)
        if said := self._last_word(about, replaced):
            return {"messages": [*replaced, said], "jump_to": "end"}
        return {"messages": replaced} if replaced else None

    def _without_human_calls(self, policy: Policy, asked: HistoryCheck) -> list[HistoryCheck]:
        """The question about a reply without its calls, if a human was asked about one of these."""
        at = asked.places[-1]
        if not was_refused_apart(self.messages[at]):
            return [asked]
        *before, reply = asked.check.conversation
        check = reply_check(policy, tuple(before), Message("assistant", reply.parts))
        return [HistoryCheck(check, asked.places)] if check else []

    def _last_word(self, about: Sequence[Allow | Refuse], replaced: Sequence[BaseMessage]) -> AIMessage | None:
        """The refusal that ends the run, if it is to end."""
        if refusal := prompt_refusal(self.messages, about):
            return refusal_message(refusal, decision_records(refusal), None)
        if self._ends_on_tools and (answer := refused_answer([*self.messages, *replaced])):
            return AIMessage(answer.text, response_metadata={**answer.response_metadata, **REFUSED})
        return None


def new_records(decisions: Iterable[Allow | Refuse]) -> list[dict[str, Any]]:
    """What was decided just now, as plain values: not what an earlier step has told already."""
    fresh = (it for it in decisions if it.verdict is None or not it.verdict.cached)
    return [record for decision in fresh for record in decision_records(decision)]
