"""A reply as it is given back: what was decided stands beside it, and what was refused is not in it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from llama_index.core.base.llms.types import ChatResponse, CompletionResponse
from pydantic import BaseModel

from llama_guard_core.guardrail.decisions import Allow, Refuse, decision_records
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.screening import Flow
from llama_guard_core.guardrail.tool_screening import screen_parts
from llama_guard_core.messages import Conversation, Message, ToolCall

METADATA_KEY = "llama_guard"
"""Where a response says what was decided about it: `response.additional_kwargs["llama_guard"]`."""

C = TypeVar("C")
R = TypeVar("R", bound=ChatResponse | CompletionResponse)

_TOLD_OF_REFUSED = ("id", "model", "provider", "created", "system_fingerprint", "service_tier")
_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens", "cost")


class ReplyForm(ABC, Generic[C, R]):
    """How a model's answer is read by the guard and shown to the caller; one for each call."""

    @abstractmethod
    def read(self, chunks: Sequence[C]) -> Message:
        """What these chunks of a stream say, to somebody who sees them all."""

    @abstractmethod
    def whole(self, chunks: Sequence[C]) -> R:
        """What these chunks of a stream amount to."""

    @abstractmethod
    def shown(self, chunk: C) -> R:
        """The next chunk as the caller is given it."""

    @abstractmethod
    def text_added_by(self, chunk: C) -> str | None:
        """The text that the next chunk adds to the reply; `None` for one that nobody may act on before its end."""

    @abstractmethod
    def after(self, shown: R, said: str, refusal: R) -> R:
        """A refusal that ends a stream of which something was shown: it says everything so far, and then that.

        Args:
            shown: the last response that was shown.
            said: the deltas that were shown.
            refusal: the refusal alone.
        """

    @abstractmethod
    def refused(self, text: str, *, is_streamed: bool, raw: dict[str, Any], additional_kwargs: dict[str, Any]) -> R:
        """A refusal as the caller is given it."""


class PartedForm(ReplyForm[C, R]):
    """A form that can do without some of a reply's calls: those who read it answer refused calls themselves."""

    @abstractmethod
    def without(
        self, reply: R, refused: Mapping[ToolCall, Refuse], *, shown: str | None, raw: dict[str, Any], **told: Any
    ) -> R | None:
        """The reply with the arguments of some calls withheld; `None` if that cannot be done.

        Args:
            reply: the whole reply.
            refused: its refused calls, as they were read.
            shown: what has been streamed of its text; `None` where nothing is streamed.
            raw: what may be told in the place of its `raw`.
            told: the same for its `additional_kwargs`.
        """


def without_refused_calls(
    policy: Policy,
    conversation: Conversation,
    form: ReplyForm[Any, R],
    reply: R,
    said: Message,
    *,
    decided: list[dict[str, Any]],
    shown: str | None = None,
) -> Flow[R | None]:
    """A refused reply without its refused calls; `None` where something else in it is refused, or could not be judged.

    Args:
        policy: what is judged and what follows.
        conversation: what the reply answers.
        form: how the reply is read and shown.
        reply: the whole reply.
        said: the same, as it is judged.
        decided: what was decided before, to be told with it.
        shown: what has been streamed of its text; `None` where nothing is streamed.
    """
    if not (isinstance(form, PartedForm) and said.tool_calls):
        return None
    about = yield from screen_parts(policy, conversation, said)
    pairs = zip(said.tool_calls, about.calls, strict=True)
    refused = {call: decision for call, decision in pairs if isinstance(decision, Refuse)}
    if isinstance(about.words, Refuse) or not refused or any(decision.error for decision in refused.values()):
        return None
    records = [*decided, *(record for decision in about.calls for record in decision_records(decision))]
    raw, counts = _told_instead_of(reply)
    parted: R | None = form.without(reply, refused, shown=shown, raw=raw, **{**counts, METADATA_KEY: records})
    return parted


def with_records(response: R, decided: list[dict[str, Any]]) -> R:
    """The same response, copied, saying what was decided. Its message does not: models are shown messages."""
    if not decided:
        return response
    extras = {**response.additional_kwargs, METADATA_KEY: decided}
    return response.model_copy(update={"additional_kwargs": extras})  # type: ignore[return-value] # of the same class


def refusal_of(
    form: ReplyForm[Any, R],
    decision: Allow | Refuse,
    decided: list[dict[str, Any]],
    instead_of: R | None,
    *,
    is_streamed: bool,
) -> R:
    """The refusal, in the place of a reply: same usage, nothing else of it."""
    raw, counts = _told_instead_of(instead_of) if instead_of else ({}, {})
    raw["choices"] = [{"index": 0, "finish_reason": "content_filter"}]
    text = decision.text if isinstance(decision, Refuse) else ""
    extras = {**counts, METADATA_KEY: decided}
    return form.refused(text, is_streamed=is_streamed, raw=raw, additional_kwargs=extras)


def _told_instead_of(reply: ChatResponse | CompletionResponse) -> tuple[dict[str, Any], dict[str, Any]]:
    """What may be told of a refused reply: of its `raw` names and counts, of its `additional_kwargs` counts."""
    told = _fields(reply.raw)
    raw = {key: told[key] for key in _TOLD_OF_REFUSED if isinstance(told.get(key), str | int)}
    if usage := _numbers(told.get("usage")):
        raw["usage"] = usage
    counts = _numbers(reply.additional_kwargs)
    return raw, {key: counts[key] for key in _COUNTS if key in counts}


def _fields(raw: Any) -> Mapping[str, Any]:
    if isinstance(raw, BaseModel):
        return raw.model_dump()
    return raw if isinstance(raw, Mapping) else {}


def _numbers(counts: Any) -> dict[str, Any]:
    """The numbers of a usage object, at any depth: it may be told where a reply may not."""
    found: dict[str, Any] = {}
    for key, value in _fields(counts).items():
        if isinstance(value, int | float):
            found[str(key)] = value
        elif inner := _numbers(value):
            found[str(key)] = inner
    return found
