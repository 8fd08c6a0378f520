"""A conversation that was there before: each message of it, judged in the conversation up to it.

What a guard has judged already, its cache answers. So an agent that asks about all of its history at every step pays
for what is new in it: the newest message, and whatever was put there by somebody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llama_guard_core.guardrail.decisions import Allow, Refuse
from llama_guard_core.guardrail.policy import Policy, StageRules
from llama_guard_core.guardrail.screening import Check, prompt_check, reply_check
from llama_guard_core.guardrail.verdict import Stage
from llama_guard_core.messages import Conversation, Message, Text

WITHHELD_PROMPT = "(This message was withheld: it was judged unsafe.)"
"""What a history says in the place of an unsafe prompt."""


@dataclass(frozen=True, slots=True)
class HistoryCheck:
    """A question about messages of a conversation.

    Attributes:
        check: the question.
        places: where the messages stand that are judged by it: one, or the user's messages of one turn.
    """

    check: Check
    places: tuple[int, ...]


def history_checks(policy: Policy, conversation: Conversation) -> list[HistoryCheck]:
    """What there is to ask about a conversation, as far as the policy judges it, in order.

    A user's messages since the last reply are judged together, without results of tools between them; a result on its
    own, behind the message that asked for it; a reply as the answer to all before it. System messages are the
    application's, and are not judged; nor is what a guard has put there itself, in the policy's own words.
    """
    own = _own_words(policy)
    found = (_check(policy, conversation, at) for at in range(len(conversation)))
    return [it for it in found if it and not all(_says_only(conversation[place], own) for place in it.places)]


def decided(checks: Iterable[HistoryCheck], decisions: Iterable[Allow | Refuse], messages: int) -> list[Allow | Refuse]:
    """What was decided about each of so many messages; nothing judged is allowed.

    Args:
        checks: what was asked.
        decisions: what was decided on each, in the same order.
        messages: how long the conversation is.
    """
    about: list[Allow | Refuse] = [Allow()] * messages
    for check, decision in zip(checks, decisions, strict=True):
        for place in check.places:
            about[place] = decision
    return about


def _check(policy: Policy, conversation: Conversation, at: int) -> HistoryCheck | None:
    message, before = conversation[at], conversation[:at]
    turn = range(_after_reply(before), at + 1)
    match message.role:
        case "user":
            spoken = [place for place in turn if conversation[place].role == "user"]
            if any(later.role == "user" for later in _until_reply(conversation[at + 1 :])):
                return None  # judged with the last of its turn
            said = (*conversation[: turn.start], *(conversation[place] for place in spoken))
            return _of(prompt_check(policy, said), spoken)
        case "tool":
            judged = policy.judges(Stage.TOOL_RESULT) and not message.is_blank
            return _of(Check(Stage.TOOL_RESULT, (*before[: turn.start], message)) if judged else None, [at])
        case "assistant":
            return _of(reply_check(policy, before, message), [at])
        case _:
            return None


def _own_words(policy: Policy) -> set[str]:
    """What stands in a history in the place of other texts, where a policy does not make it up from the verdict."""
    rules: list[Policy | StageRules] = [policy, *policy.per_stage.values()]
    shown = (text for rule in rules for text in (rule.refusal, rule.apology))
    return {WITHHELD_PROMPT, *(text for text in shown if isinstance(text, str))}


def _says_only(message: Message, texts: set[str]) -> bool:
    return not message.tool_calls and all(isinstance(part, Text) and part.text in texts for part in message.parts)


def _of(check: Check | None, places: Sequence[int]) -> HistoryCheck | None:
    return None if check is None else HistoryCheck(check, tuple(places))


def _after_reply(conversation: Conversation) -> int:
    """Where what was said since the last reply begins."""
    replies = (place for place in reversed(range(len(conversation))) if conversation[place].role == "assistant")
    return next(replies, -1) + 1


def _until_reply(conversation: Conversation) -> Conversation:
    ends = (place for place, message in enumerate(conversation) if message.role == "assistant")
    return conversation[: next(ends, len(conversation))]
