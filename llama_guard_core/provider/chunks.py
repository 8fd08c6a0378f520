"""A streamed completion, chunk by chunk, with every host's habits evened out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from llama_guard_core.messages import ToolCall
from llama_guard_core.provider.failures import error_in, failure
from llama_guard_core.provider.json_text import parse_json
from llama_guard_core.provider.reasoning_details import merged_reasoning_details
from llama_guard_core.provider.tool_call_slots import ToolCallFragment, ToolCallSlots
from llama_guard_core.provider.wire import (
    Completion,
    as_dict,
    checked,
    dicts_in,
    error_of,
    first_choice,
    identity_of,
    label_or_none,
    read_usage,
    reasoning_of,
    text_of,
    text_or_none,
)

_DONE = "[DONE]"


@dataclass(slots=True)  # not frozen: setting up a frozen one takes four times as long, and there are thousands
class CompletionChunk:
    """A piece of a reply; what it holds is in no `repr`.

    Attributes:
        text: more of the answer.
        reasoning: more of what the model thought.
        refusal: more of the model's refusal.
        tool_calls: more of its tool calls.
        final: on the last chunk, and only there: everything that is known once (finish reason, usage, id, model,
            reasoning details, log-probabilities, annotations). Its text, reasoning, refusal and tool calls are
            empty: they have been sent.
    """

    text: str = field(default="", repr=False)
    reasoning: str = field(default="", repr=False)
    refusal: str = field(default="", repr=False)
    tool_calls: tuple[ToolCallFragment, ...] = ()
    final: Completion | None = None


class CompletionStream:
    """Turns the data of a completion's events into chunks.

    Whatever the host repeats or scatters, usage, finish reason and identity come once, on the chunk that `end`
    returns, and an error in any chunk is raised, even after a finish reason.

    Args:
        now: seconds since the epoch, to read dates in retry hints by.
    """

    def __init__(self, *, now: float | None = None) -> None:
        self._now = now
        self._done = False
        self._ended = False
        self._unreadable = False
        self._said: list[CompletionChunk] = []
        self._slots = ToolCallSlots()
        self._saw_choices = False
        self._saw_other_data = False
        self._known: dict[str, Any] = {}
        self._usage: object = None
        self._reasoning_details: list[dict[str, Any]] = []
        self._logprobs: list[Any] = []
        self._annotations: list[dict[str, Any]] = []

    @property
    def done(self) -> bool:
        """Whether the host has said that nothing follows."""
        return self._done

    def feed(self, data: str, event: str = "") -> list[CompletionChunk]:
        """Take the data of one event.

        Args:
            data: its data: JSON, or `[DONE]`, after which everything is ignored.
            event: its name.

        Raises:
            ProviderError: if it carries an error, or is no chunk of a completion.
        """
        if self._done:
            return []
        if self._unreadable:
            raise failure(
                reason="malformed", said="an event of it is no JSON object", generation_id=self._known.get("id")
            )
        if data.strip() == _DONE:
            self._done = True
            return []
        payload = self._payload(data)
        if payload is None:
            return []
        choice = first_choice(payload)
        self._raise_if_error(payload, choice, event)
        chunk = self._read(payload, choice)
        if chunk is None:
            return []
        self._said.append(chunk)
        return [chunk]

    def end(self) -> list[CompletionChunk]:
        """Say that the stream has ended and return the last chunk, the one with `final`.

        Raises:
            ProviderUnavailable: if the stream broke off (reason `cut`: there was neither `[DONE]` nor a finish
                reason) or said nothing (reason `empty`).
            RequestRejected: if the token limit cut a tool call in two.
            UnexpectedResponse: if what came was no completion.
        """
        if self._ended:
            return []
        self._ended = True
        self._raise_if_incomplete()
        chunks = [CompletionChunk(tool_calls=missing)] if (missing := self._slots.missing_arguments()) else []
        final = Completion(
            usage=read_usage(self._usage),
            reasoning_details=merged_reasoning_details(self._reasoning_details),
            logprobs={"content": self._logprobs} if self._logprobs else None,
            annotations=tuple(self._annotations),
            **self._known,
        )
        chunks.append(CompletionChunk(final=final))
        checked(collected([*self._said, *chunks]))
        return chunks

    def _raise_if_incomplete(self) -> None:
        facts: dict[str, Any] = {"generation_id": self._known.get("id"), "provider_name": self._known.get("provider")}
        if self._unreadable or not (self._done or self._known.get("finish_reason")):
            raise failure(reason="cut", **facts)
        if self._saw_other_data and not self._saw_choices:
            raise failure(reason="malformed", said="its chunks have no choices", **facts)

    def _payload(self, data: str) -> dict[str, Any] | None:
        """The chunk, or None: whether an unreadable one is malformed or a cut end, what follows will show."""
        try:
            payload = parse_json(data)
        except ValueError:
            payload = None
        if isinstance(payload, dict):
            return payload
        self._unreadable = True
        return None

    def _raise_if_error(self, payload: dict[str, Any], choice: dict[str, Any] | None, event: str) -> None:
        error = error_in(payload) or (choice or {}).get("error") or (payload if event == "error" else None)
        if error:
            texts = ("".join(chunk.text for chunk in self._said), "".join(chunk.reasoning for chunk in self._said))
            raise error_of(
                payload | {"provider": payload.get("provider") or self._known.get("provider")}, error, texts, self._now
            )

    def _read(self, payload: dict[str, Any], choice: dict[str, Any] | None) -> CompletionChunk | None:
        self._saw_choices = self._saw_choices or "choices" in payload
        self._saw_other_data = True
        self._usage = payload.get("usage") or as_dict(payload.get("x_groq")).get("usage") or self._usage
        if "id" not in self._known or payload.get("usage"):
            self._learn(identity_of(payload))
        if choice is None:
            return None
        if choice.get("finish_reason") or choice.get("native_finish_reason"):
            self._learn({key: label_or_none(choice.get(key)) for key in ("finish_reason", "native_finish_reason")})
        if choice.get("logprobs"):
            self._logprobs += dicts_in(as_dict(choice["logprobs"]).get("content"))
        delta = as_dict(choice.get("delta"))
        if delta.get("reasoning_details"):
            self._reasoning_details += dicts_in(delta["reasoning_details"])
        if delta.get("annotations"):
            self._annotations += dicts_in(delta["annotations"])
        return self._chunk(delta)

    def _learn(self, facts: dict[str, Any]) -> None:
        """Keep the first value that is told of each."""
        for key, value in facts.items():
            if value is not None:
                self._known.setdefault(key, value)

    def _chunk(self, delta: dict[str, Any]) -> CompletionChunk | None:
        text, reasoning, refusal = (
            text_of(delta.get("content")),
            reasoning_of(delta) or "",
            text_or_none(delta.get("refusal")) or "",
        )
        fragments: tuple[ToolCallFragment, ...] = ()
        if calls := delta.get("tool_calls"):
            fragments = tuple(fragment for call in dicts_in(calls) for fragment in self._slots.receive(call))
        if not (text or reasoning or refusal or fragments):
            return None
        return CompletionChunk(text, reasoning, refusal, fragments)


def chunks_of(completion: Completion) -> list[CompletionChunk]:
    """A reply that came whole, as the chunks of a stream: what it says, then the chunk with `final`."""
    fragments = tuple(
        ToolCallFragment(index, call.id or None, call.name, call.arguments)
        for index, call in enumerate(completion.tool_calls)
    )
    said = CompletionChunk(completion.text, completion.reasoning or "", completion.refusal or "", fragments)
    return [said, CompletionChunk(final=replace(completion, text="", reasoning=None, refusal=None, tool_calls=()))]


def collected(chunks: Iterable[CompletionChunk]) -> Completion:
    """The reply that these chunks make up; without the last one, what is known so far."""
    texts, reasonings, refusals, final = [], [], [], Completion()
    calls: dict[int, list[ToolCallFragment]] = {}
    for chunk in chunks:
        texts.append(chunk.text)
        reasonings.append(chunk.reasoning)
        refusals.append(chunk.refusal)
        for fragment in chunk.tool_calls:
            calls.setdefault(fragment.index, []).append(fragment)
        final = chunk.final or final
    return replace(
        final,
        text="".join(texts),
        reasoning="".join(reasonings) or None,
        refusal="".join(refusals) or None,
        tool_calls=tuple(_joined(fragments) for _, fragments in sorted(calls.items())),
    )


def _joined(fragments: list[ToolCallFragment]) -> ToolCall:
    call_id = next((fragment.id for fragment in fragments if fragment.id), "")
    name = next((fragment.name for fragment in fragments if fragment.name), "")
    return ToolCall(call_id, name, "".join(fragment.arguments for fragment in fragments))
