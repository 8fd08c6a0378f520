"""An agent's or a graph's messages after they were judged: what stands in the place of those that were refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from langchain_llama_guard._calls_apart import without_arguments
from langchain_llama_guard._conversation import message_of
from langchain_llama_guard._refusals import METADATA_KEY, with_records_on
from llama_guard_core.guardrail.decisions import Allow, Refuse, decision_record, decision_records
from llama_guard_core.guardrail.history import WITHHELD_PROMPT

M = TypeVar("M", bound=BaseMessage)
Decisions = Sequence[Allow | Refuse | None]


def replacements(messages: Sequence[BaseMessage], decisions: Decisions) -> list[BaseMessage]:
    """What stands in the place of messages that were judged unsafe, each under its message's id.

    A reply keeps its calls' ids without their arguments, and a tool's message answers the call it answered, so that the
    history stays one that a provider accepts. A message that could not be judged stays: it is not known to be unsafe,
    and whoever asks about the history again asks about it again. So does one without an id, which nothing can replace;
    LangGraph gives every message in a graph's state one.

    Args:
        messages: the history.
        decisions: what was decided about each message; nothing was where there is `None`.

    Returns:
        The replacements, in order; not the messages that stay.
    """
    judged = zip(messages, decisions, strict=True)
    refused = [(message, it) for message, it in judged if isinstance(it, Refuse) and it.error is None and message.id]
    return [in_place_of(message, refusal) for message, refusal in refused]


def in_place_of(message: M, refusal: Refuse) -> BaseMessage:
    """What stands in the place of a refused message."""
    if isinstance(message, ToolMessage):
        return refused_result(message, refusal)
    if isinstance(message, AIMessage):
        calls = {call["id"] or "": refusal for call in [*message.tool_calls, *message.invalid_tool_calls]}
        emptied = without_arguments(message, calls)
        kept: dict[str, Any] = {"content": refusal.text, "additional_kwargs": {}, "response_metadata": _told(refusal)}
        return emptied.model_copy(update=kept)
    kept = {"content": WITHHELD_PROMPT, "additional_kwargs": {}, "response_metadata": _told(refusal)}
    return message.model_copy(update=kept)


def refused_result(message: ToolMessage, refusal: Refuse) -> ToolMessage:
    """A tool's message that says, in the place of what the tool gave, why it is not shown."""
    return refused_call(message.tool_call_id, message.name, refusal, message_id=message.id)


def refused_call(call_id: str, name: str | None, refusal: Refuse, *, message_id: str | None = None) -> ToolMessage:
    """The error that answers a refused call."""
    return ToolMessage(
        content=refusal.text,
        tool_call_id=call_id,
        name=name,
        status="error",
        id=message_id,
        response_metadata=_told(refusal),
    )


def with_decisions(message: M, decisions: Decisions) -> M:
    """A copy of the message that says what was decided about it, if there was anything to decide."""
    records = [record for decision in decisions if decision for record in decision_records(decision)]
    return with_records_on(message, records)


def prompt_refusal(messages: Sequence[BaseMessage], decisions: Decisions) -> Refuse | None:
    """Why the model may not be asked: the newest prompt was refused, or some message got no verdict."""
    unjudged = (it for it in decisions if isinstance(it, Refuse) and it.error is not None)
    last_turn = range(after_reply(messages), len(messages))
    prompts = (decisions[at] for at in last_turn if message_of(messages[at]).role == "user")
    return next((it for it in (*prompts, *unjudged) if isinstance(it, Refuse)), None)


def refused_answer(messages: Sequence[BaseMessage]) -> ToolMessage | None:
    """What was answered in the place of a newest call or result that was refused, if one was."""
    newest = (message for message in messages[after_reply(messages) :] if isinstance(message, ToolMessage))
    return next((message for message in newest if _is_refused(message)), None)


def was_refused_apart(message: BaseMessage) -> bool:
    """Whether one of a reply's calls was refused, and the reply was not."""
    records = message.response_metadata.get(METADATA_KEY, ()) if isinstance(message, AIMessage) else ()
    return any(record["action"] == "refuse" and "tool_call_id" in record for record in records)


def after_reply(messages: Sequence[BaseMessage]) -> int:
    """Where what came since the last reply begins."""
    replies = (at for at in reversed(range(len(messages))) if isinstance(messages[at], AIMessage))
    return next(replies, -1) + 1


def _is_refused(message: BaseMessage) -> bool:
    return any(record["action"] == "refuse" for record in message.response_metadata.get(METADATA_KEY, ()))


def _told(refusal: Refuse) -> dict[str, Any]:
    return {METADATA_KEY: [decision_record(refusal)]}
