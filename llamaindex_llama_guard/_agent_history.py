"""What an agent is about to show its model: each message judged once, and what is refused replaced, in memory too."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.memory import BaseMemory, Memory
from llama_index.core.storage.chat_store.base_db import MessageStatus

from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.drive import arun_all
from llama_guard_core.errors import GuardUnavailable, UnsafeContent
from llama_guard_core.guardrail.decisions import Allow, Refuse
from llama_guard_core.guardrail.history import WITHHELD_PROMPT, HistoryCheck, history_checks
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.screening import Flow, screen
from llama_guard_core.messages import Conversation
from llamaindex_llama_guard._conversation import conversation_of
from llamaindex_llama_guard._withheld import in_place_of

_AT_ONCE = 8


@dataclass(frozen=True)
class ScreenedHistory:
    """An agent's messages after they were judged.

    Attributes:
        messages: what the model may be shown.
        withheld: those that were judged unsafe, and what stands in their place.
        withholds_prompt: whether the newest prompt is among these.
        refusal: why the model is not asked at all, if it is not: the newest prompt was refused, or a message could
            not be judged.
        is_to_raise: whether the policy asks for an exception in the place of that refusal.
        known: digests of the messages that need not be judged again in this conversation.
    """

    messages: list[ChatMessage] = field(repr=False)
    withheld: list[tuple[ChatMessage, ChatMessage]] = field(repr=False)
    withholds_prompt: bool
    refusal: Refuse | None
    is_to_raise: bool
    known: list[str] = field(repr=False)


async def screened(guard: LlamaGuard, messages: Sequence[ChatMessage], known: list[str]) -> ScreenedHistory:
    """Judge an agent's messages, as far as they are new.

    What was said last is judged in its whole conversation, so that it is new whenever anything in that is.

    Args:
        guard: what judges.
        messages: what the model is about to be shown; system messages are not judged.
        known: digests of the messages that were judged in this conversation before.
    """
    conversation = conversation_of(messages)
    digests, newest = list(_digests(conversation)), _newest_turn(conversation)
    old = set(known) - set(() if digests == known else digests[newest:])
    checks = [
        it
        for it in history_checks(guard.policy, conversation)
        if not old.issuperset(digests[place] for place in it.places)
    ]
    outcomes = await arun_all([_told(guard.policy, it) for it in checks], guard.ajudge, at_once=_AT_ONCE)
    by_place = {place: it for check, it in zip(checks, outcomes, strict=True) for place in check.places}
    return _screened(messages, newest, digests, by_place)


async def redact(memory: BaseMemory, history: ScreenedHistory) -> None:
    """Put into an agent's memory what stands in the place of messages that were judged unsafe."""
    if not history.withheld:
        return
    archived = await memory.aget_all(status=MessageStatus.ARCHIVED) if isinstance(memory, Memory) else []
    active = await (memory.aget_all(status=MessageStatus.ACTIVE) if isinstance(memory, Memory) else memory.aget_all())
    kept = [*archived, *active]
    newest = _newest_turn(conversation_of(kept))
    redacted = [_redacted(message, history, is_newest=at >= newest) for at, message in enumerate(kept)]
    if not (isinstance(memory, Memory) and archived and active):
        await memory.aset(redacted)
        return
    # What has gone to its blocks it keeps apart; all that is set is active, and would go there again.
    key, at = memory.session_id, len(archived)
    await memory.sql_store.set_messages(key, redacted[:at], status=MessageStatus.ARCHIVED)
    await memory.sql_store.add_messages(key, redacted[at:], status=MessageStatus.ACTIVE)


@dataclass(frozen=True)
class _ToRaise:
    """A refusal that the policy wants raised: memory is put right before."""

    decision: Refuse


_Outcome = Allow | Refuse | _ToRaise


def _told(policy: Policy, check: HistoryCheck) -> Flow[_Outcome]:
    try:
        return (yield from screen(policy, check.check))
    except UnsafeContent as error:
        return _ToRaise(Refuse(error.stage, error.refusal, error.verdict))
    except GuardUnavailable as error:
        return _ToRaise(Refuse(check.check.stage, policy.apology, error=error))


def _screened(
    messages: Sequence[ChatMessage], newest: int, digests: Sequence[str], by_place: Mapping[int, _Outcome]
) -> ScreenedHistory:
    refusals = {place: refusal for place, it in by_place.items() if (refusal := _refusal(it))}
    unsafe = {place: refusal for place, refusal in refusals.items() if refusal.error is None}
    replaced = {place: in_place_of(messages[place], refusal) for place, refusal in unsafe.items()}
    prompts = {place for place in unsafe if place >= newest and messages[place].role == MessageRole.USER}
    endings = [
        place
        for place, refusal in refusals.items()
        if place in prompts or refusal.error is not None or isinstance(by_place[place], _ToRaise)
    ]
    ending = max(endings, default=None)
    unsettled = {place for place, it in by_place.items() if not isinstance(it, Allow) or it.error is not None}
    return ScreenedHistory(
        messages=[replaced.get(place, message) for place, message in enumerate(messages)],
        withheld=[(messages[place], replacement) for place, replacement in replaced.items()],
        withholds_prompt=bool(prompts),
        refusal=None if ending is None else refusals[ending],
        is_to_raise=ending is not None and isinstance(by_place[ending], _ToRaise),
        known=[digest for place, digest in enumerate(digests) if place not in unsettled],
    )


def _refusal(outcome: _Outcome) -> Refuse | None:
    match outcome:
        case Allow():
            return None
        case _ToRaise(decision):
            return decision
        case _:
            return outcome


def _redacted(message: ChatMessage, history: ScreenedHistory, *, is_newest: bool) -> ChatMessage:
    # An agent with a state writes it into the newest prompt: what is withheld is not word for word what memory has.
    if history.withholds_prompt and is_newest and message.role == MessageRole.USER:
        return ChatMessage(role=message.role, content=WITHHELD_PROMPT)
    same = (new for old, new in history.withheld if (old.role, old.blocks) == (message.role, message.blocks))
    return next(same, message)


def _newest_turn(conversation: Conversation) -> int:
    """Where what was said since the last reply begins."""
    replies = (place for place in reversed(range(len(conversation))) if conversation[place].role == "assistant")
    return next(replies, -1) + 1


def _digests(conversation: Conversation) -> Iterator[str]:
    """What a message is known by: it, and the one before. A memory that forgets its beginning changes no other."""
    before: tuple[Any, ...] = ()
    for message in conversation:
        said = astuple(message)
        written = json.dumps([before, said], ensure_ascii=False).encode("utf-8", "surrogatepass")
        yield hashlib.sha256(written).hexdigest()
        before = said
