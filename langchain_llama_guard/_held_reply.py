"""A streamed reply on its way: what has come, what has been decided, what may be shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.outputs.chat_generation import merge_chat_generation_chunks

from langchain_llama_guard._calls_apart import CallsApart, ReplyParts
from langchain_llama_guard._conversation import message_of, spoken_in, text_added_by, with_lost_text
from langchain_llama_guard._refusals import METADATA_KEY, refusal_chunk, with_records
from llama_guard_core.guardrail.decisions import Refuse
from llama_guard_core.guardrail.failures import Failed, shown_before_failure, with_failures
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.screening import Flow
from llama_guard_core.guardrail.stream_events import REFUSAL_SEPARATOR, Halted, Release, stream_records
from llama_guard_core.guardrail.stream_guard import StreamGuard
from llama_guard_core.guardrail.verdict import Stage
from llama_guard_core.messages import Conversation, Message


class HeldReply:
    """One streamed reply on its way: what has come, and what has been decided."""

    def __init__(self, policy: Policy, conversation: Conversation, apart: CallsApart | None) -> None:
        self._policy = policy
        self._conversation = conversation
        self._apart = apart
        self._chunks: list[ChatGenerationChunk | Failed] = []
        self._shown: list[ChatGenerationChunk] = []
        self._said = Message("assistant")
        self._whole: ChatGenerationChunk | None = None
        self._read_so_far = 0
        self._texts: list[str] = []
        self._has_shown_text = False
        self._shown_keys: set[str] = set()
        self._records: list[dict[str, Any]] = []
        self.machine = StreamGuard[ChatGenerationChunk | Failed](
            policy, conversation, self._read, _text_added_by, with_prompt=True
        )

    def may_have_parts(self, event: Release[ChatGenerationChunk | Failed] | Halted) -> bool:
        """Whether a reply that was refused had come whole, and is an agent's, who may have a part of it."""
        if self._apart is None or not isinstance(event, Halted):
            return False
        is_reply = event.decision.stage in (Stage.REPLY, Stage.TOOL_CALL)
        came_whole = not event.model_cut and not any(isinstance(chunk, Failed) for chunk in self._chunks)
        return is_reply and came_whole

    def parts_of(self, event: Release[ChatGenerationChunk | Failed] | Halted) -> Flow[ReplyParts | None]:
        """Judge a refused reply in parts."""
        if self._apart is None or not isinstance(event.decision, Refuse):
            return None
        return (yield from self._apart.parts_of(self._policy, self._conversation, self._said, event.decision))

    def shown(
        self, event: Release[ChatGenerationChunk | Failed] | Halted, parts: ReplyParts | None
    ) -> Iterator[ChatGenerationChunk]:
        """The chunks to show; the last of them says what was decided. Where the model raised, it is raised."""
        for chunk in self._chunks_of(event, parts):
            if self._apart:
                self._shown.append(chunk)
            yield chunk
        if self._apart and (isinstance(event, Halted) or event.is_last):
            refusal = event.decision if isinstance(event.decision, Refuse) and parts is None else None
            if whole := merge_chat_generation_chunks(self._shown):
                self._apart.note(whole.message, refusal)

    def _chunks_of(
        self, event: Release[ChatGenerationChunk | Failed] | Halted, parts: ReplyParts | None
    ) -> Iterator[ChatGenerationChunk]:
        self._records += stream_records(event)
        if isinstance(event, Halted):
            separator = REFUSAL_SEPARATOR if self._has_shown_text else ""
            if self._apart and parts and self._whole:
                yield self._parted(self._apart, parts, event.chunks_shown)
            else:
                yield refusal_chunk(event.decision, self._records, self._whole, separator, self._shown_keys)
            return
        for at, chunk in enumerate(shown_before_failure(event.chunks, _text_added_by), 1):
            if isinstance(chunk, Failed):
                raise chunk.error
            self._has_shown_text = self._has_shown_text or bool(chunk.message.content)
            self._shown_keys.update(chunk.message.response_metadata)
            if getattr(chunk.message, "usage_metadata", None):
                self._shown_keys.add("usage_metadata")
            if at < len(event.chunks) or not self._records:
                yield chunk
            else:
                yield with_records(chunk, self._records)
                self._records = []

    def _parted(self, apart: CallsApart, parts: ReplyParts, chunks_shown: int) -> ChatGenerationChunk:
        """What was not shown yet, without what was refused of it, in one chunk."""
        unshown = [chunk for chunk in self._chunks[chunks_shown:] if not isinstance(chunk, Failed)]
        rest = merge_chat_generation_chunks(unshown) or ChatGenerationChunk(message=AIMessageChunk(content=""))
        said = [*self._records[:-1], *parts.records]
        message = apart.parted(cast("AIMessageChunk", rest.message), parts)
        told = {key: value for key, value in message.response_metadata.items() if key not in self._shown_keys}
        return ChatGenerationChunk(
            message=message.model_copy(
                update={"response_metadata": {**told, METADATA_KEY: said}, "chunk_position": "last"}
            )
        )

    def _read(self, chunks: Sequence[ChatGenerationChunk | Failed]) -> Message:
        if self._apart:
            self._chunks = list(chunks)
        whole = [self._whole] if self._whole else []
        new = [chunk for chunk in chunks[self._read_so_far :] if not isinstance(chunk, Failed)]
        self._whole, self._read_so_far = merge_chat_generation_chunks([*whole, *new]), len(chunks)
        self._texts += [text for chunk in new if (text := spoken_in(chunk.message))]
        said = message_of(self._whole.message) if self._whole else Message("assistant")
        self._said = with_failures(with_lost_text(said, "".join(self._texts)), chunks)
        return self._said


def _text_added_by(chunk: ChatGenerationChunk | Failed) -> str | None:
    return None if isinstance(chunk, Failed) else text_added_by(chunk.message)
