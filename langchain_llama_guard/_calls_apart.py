"""A reply that is refused in part: what the model of a guarded agent says where one of its tool calls is unsafe.

An agent answers each call, so a refused one stays in the history, without its arguments, and is answered with an error.
The harmless calls beside it are carried out.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.tool import ToolCall, tool_call, tool_call_chunk

from langchain_llama_guard._conversation import is_call, message_of
from llama_guard_core.guardrail.decisions import Allow, Refuse, decision_record, decision_records
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.screening import Flow
from llama_guard_core.guardrail.tool_screening import plain_call, screen_parts, withheld_arguments
from llama_guard_core.messages import Conversation, Message

M = TypeVar("M", bound=AIMessage)
_RAW_CALLS = ("tool_calls", "function_call")


@dataclass(frozen=True, slots=True)
class ReplyParts:
    """What was decided about a reply's parts: its words, and each of its calls by id."""

    words: Allow
    calls: dict[str, Allow | Refuse]

    @property
    def refusals(self) -> dict[str, Refuse]:
        """The calls that are refused, by id."""
        return {call_id: about for call_id, about in self.calls.items() if isinstance(about, Refuse)}

    @property
    def records(self) -> list[dict[str, Any]]:
        """What was decided, as plain values; of a call, with its id."""
        calls = ({**decision_record(about), "tool_call_id": call_id} for call_id, about in self.calls.items())
        return [*decision_records(self.words), *calls]


@dataclass
class CallsApart:
    """That a model serves an agent, which answers refused calls itself; and what the model has said to it.

    Attributes:
        tools: the names of the tools whose calls the agent answers. A refused call of anything else, such as a
            structured answer, refuses the reply.
        keeps_arguments: whether a refused call keeps its arguments, for a human to see.
        said: what was let out, replies and refusals.
        refusal: why the last reply was refused as a whole, if it was.
    """

    tools: Container[str] = frozenset()
    keeps_arguments: bool = False
    said: list[Message] = field(default_factory=list)
    refusal: Refuse | None = None

    def note(self, message: BaseMessage, refusal: Refuse | None) -> None:
        """Keep in mind what was let out: a reply, or a refusal in its place."""
        self.said.append(message_of(message))
        self.refusal = refusal

    def has_said(self, message: BaseMessage) -> bool:
        """Whether a reply is one that was let out: judged, or a refusal."""
        return _plain(message_of(message)) in map(_plain, self.said)

    def parts_of(
        self, policy: Policy, conversation: Conversation, reply: Message, decision: Allow | Refuse
    ) -> Flow[ReplyParts | None]:
        """Judge a refused reply in parts; `None` where it stays refused as a whole."""
        ids = {call.id for call in reply.tool_calls} - {""}
        if not (isinstance(decision, Refuse) and decision.error is None and ids) or len(ids) < len(reply.tool_calls):
            return None
        decided = yield from screen_parts(policy, conversation, reply)
        by_call = list(zip(reply.tool_calls, decided.calls, strict=True))
        refused = [call for call, about in by_call if isinstance(about, Refuse)]
        if isinstance(decided.words, Refuse) or not all(call.name in self.tools for call in refused):
            return None
        return ReplyParts(decided.words, {call.id: about for call, about in by_call})

    def parted(self, message: M, parts: ReplyParts) -> M:
        """The reply without what was refused of it."""
        return message if self.keeps_arguments else without_arguments(message, parts.refusals)


def without_arguments(message: M, refusals: Mapping[str, Refuse]) -> M:
    """The message with the arguments of some of its calls withheld, wherever integrations keep them.

    Args:
        message: a reply with calls. One with a call that does not parse, and is refused, becomes one with a call whose
            arguments are withheld.
        refusals: why, by the id of the call.
    """
    calls = [_withheld(call, refusals) for call in message.tool_calls]
    broken = [call for call in message.invalid_tool_calls if (call["id"] or "") not in refusals]
    mended = [
        _withheld(tool_call(name=call["name"] or "", args={}, id=call["id"]), refusals)
        for call in message.invalid_tool_calls
        if call not in broken
    ]
    extras = {key: value for key, value in message.additional_kwargs.items() if key not in _RAW_CALLS}
    update: dict[str, Any] = {
        "content": _without_calls(message.content, refusals),
        "tool_calls": [*calls, *mended],
        "invalid_tool_calls": broken,
        "additional_kwargs": extras,
    }
    if isinstance(message, AIMessageChunk):
        update["tool_call_chunks"] = [
            tool_call_chunk(name=call["name"], args=json.dumps(call["args"]), id=call["id"], index=at)
            for at, call in enumerate(update["tool_calls"])
        ]
    return message.model_copy(update=update)


def _withheld(call: ToolCall, refusals: Mapping[str, Refuse]) -> ToolCall:
    refusal = refusals.get(call["id"] or "")
    return ToolCall(**{**call, "args": withheld_arguments(refusal)}) if refusal else call


def _without_calls(content: Any, refusals: Iterable[str]) -> Any:
    """Content without the blocks that say again what stands in refused calls."""
    if isinstance(content, str):
        return content
    refused = set(refusals)
    return [part for part in content if isinstance(part, str) or not is_call(part, refused)]


def _plain(message: Message) -> tuple[str, Sequence[tuple[str, str, str]]]:
    return message.text, [plain_call(call) for call in message.tool_calls]
