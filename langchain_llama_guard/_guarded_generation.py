"""A chat model's `_generate` and `_stream`, guarded from inside: below LangChain's callbacks.

What is withheld here has been seen by no callback, no event stream and no trace. An exception of the model is
withheld like a reply: some quote what the model wrote.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import aclosing, closing
from functools import partial
from typing import Any, TypeVar

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.outputs.chat_generation import merge_chat_generation_chunks

from langchain_llama_guard._content_blocks import MODEL_PROVIDER
from langchain_llama_guard._conversation import conversation_of, message_of, spoken_in, text_added_by, with_lost_text
from langchain_llama_guard._failures import as_output
from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.drive import acatching, acatching_stream, arun, catching, catching_stream, run
from llama_guard_core.drive_streams import aguard_stream, guard_stream
from llama_guard_core.guardrail.failures import Failed, shown_before_failure, with_failures
from llama_guard_core.guardrail.policy import Allow, Refuse, decision_records
from llama_guard_core.guardrail.screening import GuardedReply, guarded_call, judges_replies
from llama_guard_core.guardrail.stream_events import REFUSAL_SEPARATOR, Halted, Release, stream_records
from llama_guard_core.guardrail.stream_guard import StreamGuard
from llama_guard_core.messages import Conversation, Message, assistant

METADATA_KEY = "llama_guard"
"""Where a message says what was decided about it: `message.response_metadata["llama_guard"]`."""

G = TypeVar("G", bound=ChatGeneration)
Chunks = Generator[ChatGenerationChunk, None, None]
AsyncChunks = AsyncGenerator[ChatGenerationChunk, None]

_USAGE = {"token_usage", "usage", "model", "model_name", "model_provider", "system_fingerprint"}
"""What of `llm_output` may be told where a reply may not; a provider may put anything beside it."""


def generate(guard: LlamaGuard, messages: Sequence[BaseMessage], call: Callable[[], ChatResult]) -> ChatResult:
    """Judge the prompt, call the model, judge each of its alternatives."""
    flow = guarded_call(guard.policy, conversation_of(messages), _alternatives)
    return _result(run(flow, guard.judge, catching(call, partial(_failed, guard))))


async def agenerate(
    guard: LlamaGuard, messages: Sequence[BaseMessage], call: Callable[[], Awaitable[ChatResult]]
) -> ChatResult:
    """Judge the prompt, call the model, judge each of its alternatives."""
    flow = guarded_call(guard.policy, conversation_of(messages), _alternatives)
    return _result(await arun(flow, guard.ajudge, acatching(call, partial(_failed, guard))))


def stream(guard: LlamaGuard, messages: Sequence[BaseMessage], open_stream: Callable[[], Chunks]) -> Chunks:
    """Judge the prompt, open the model's stream, show of it what a verdict covers."""
    held = _HeldReply(guard, conversation_of(messages))
    chunks = catching_stream(open_stream, partial(_failed, guard))
    with closing(guard_stream(held.machine, chunks, guard.judge)) as events:
        for event in events:
            yield from held.shown(event)


async def astream(
    guard: LlamaGuard, messages: Sequence[BaseMessage], open_stream: Callable[[], AsyncChunks]
) -> AsyncChunks:
    """Judge the prompt, open the model's stream, show of it what a verdict covers."""
    held = _HeldReply(guard, conversation_of(messages))
    chunks = acatching_stream(open_stream, partial(_failed, guard))
    async with aclosing(aguard_stream(held.machine, chunks, guard.ajudge)) as events:
        async for event in events:
            for chunk in held.shown(event):
                yield chunk


def _failed(guard: LlamaGuard, error: Exception) -> Failed:
    if not judges_replies(guard.policy):
        raise error
    return as_output(error)


class _HeldReply:
    """One streamed reply on its way: what has come, and what has been decided."""

    def __init__(self, guard: LlamaGuard, conversation: Conversation) -> None:
        self._whole: ChatGenerationChunk | None = None
        self._read_so_far = 0
        self._texts: list[str] = []
        self._has_shown_text = False
        self._shown_keys: set[str] = set()
        self._records: list[dict[str, Any]] = []
        self.machine = StreamGuard[ChatGenerationChunk | Failed](
            guard.policy, conversation, self._read, _text_added_by, with_prompt=True
        )

    def shown(self, event: Release[ChatGenerationChunk | Failed] | Halted) -> Iterator[ChatGenerationChunk]:
        """The chunks to show; the last of them says what was decided. Where the model raised, it is raised."""
        self._records += stream_records(event)
        if isinstance(event, Halted):
            separator = REFUSAL_SEPARATOR if self._has_shown_text else ""
            yield _refusal_chunk(event.decision, self._records, self._whole, separator, self._shown_keys)
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
                yield _with_records(chunk, self._records)
                self._records = []

    def _read(self, chunks: Sequence[ChatGenerationChunk | Failed]) -> Message:
        whole = [self._whole] if self._whole else []
        new = [chunk for chunk in chunks[self._read_so_far :] if not isinstance(chunk, Failed)]
        self._whole, self._read_so_far = merge_chat_generation_chunks([*whole, *new]), len(chunks)
        self._texts += [text for chunk in new if (text := spoken_in(chunk.message))]
        said = message_of(self._whole.message) if self._whole else Message("assistant")
        return with_failures(with_lost_text(said, "".join(self._texts)), chunks)


def _text_added_by(chunk: ChatGenerationChunk | Failed) -> str | None:
    return None if isinstance(chunk, Failed) else text_added_by(chunk.message)


def _alternatives(result: ChatResult | Failed) -> list[Message]:
    if isinstance(result, Failed):
        return [assistant(result.text)]
    return [message_of(generation.message) for generation in result.generations]


def _result(guarded: GuardedReply[ChatResult | Failed]) -> ChatResult:
    before, reply = decision_records(guarded.prompt), guarded.reply
    if isinstance(guarded.prompt, Refuse) or reply is None:
        refused = refusal_message(guarded.prompt, before, None)
        return ChatResult(generations=[ChatGeneration(message=refused)])
    if isinstance(reply, Failed):
        return _result_of_failure(reply, guarded.decisions[0], before)
    generations = [
        _generation(generation, decision, before + decision_records(decision))
        for generation, decision in zip(reply.generations, guarded.decisions, strict=True)
    ]
    output = reply.llm_output
    if output and any(isinstance(decision, Refuse) for decision in guarded.decisions):
        output = {name: value for name, value in output.items() if name in _USAGE}
    return ChatResult(generations=generations, llm_output=output)


def _result_of_failure(failed: Failed, decision: Allow | Refuse, before: list[dict[str, Any]]) -> ChatResult:
    if isinstance(decision, Allow):
        raise failed.error
    refused = refusal_message(decision, before + decision_records(decision), None)
    return ChatResult(generations=[ChatGeneration(message=refused)])


def _generation(generation: ChatGeneration, decision: Allow | Refuse, decided: list[dict[str, Any]]) -> ChatGeneration:
    if isinstance(decision, Refuse):
        return ChatGeneration(message=refusal_message(decision, decided, generation.message))
    return _with_records(generation, decided)


def refusal_message(
    decision: Allow | Refuse, decided: list[dict[str, Any]], instead_of: BaseMessage | None
) -> AIMessage:
    """The refusal, in the place of a reply: same id, same usage, nothing else of it."""
    usage = instead_of.usage_metadata if isinstance(instead_of, AIMessage) else None
    metadata = _refusal_metadata(decided, instead_of)
    text = decision.text if isinstance(decision, Refuse) else ""
    return AIMessage(content=text, response_metadata=metadata, usage_metadata=usage, id=instead_of and instead_of.id)


def _refusal_chunk(
    decision: Refuse,
    decided: list[dict[str, Any]],
    instead_of: ChatGenerationChunk | None,
    separator: str,
    shown_keys: AbstractSet[str],
) -> ChatGenerationChunk:
    """The refusal as the last chunk; what an earlier one has said it leaves out: LangChain adds chunks up."""
    whole = refusal_message(decision, decided, instead_of.message if instead_of else None)
    said = shown_keys - {METADATA_KEY, "finish_reason"}
    chunk = AIMessageChunk(
        content=separator + whole.text,
        response_metadata={key: value for key, value in whole.response_metadata.items() if key not in said},
        usage_metadata=None if "usage_metadata" in said else whole.usage_metadata,
        id=whole.id,
        chunk_position="last",
    )
    return ChatGenerationChunk(message=chunk)


def _refusal_metadata(decided: list[dict[str, Any]], instead_of: BaseMessage | None) -> dict[str, Any]:
    told = instead_of.response_metadata if instead_of else {}
    kept = {key: told[key] for key in ("model_name", "id", "provider", "cost", "created") if key in told}
    return {**kept, "model_provider": MODEL_PROVIDER, "finish_reason": "content_filter", METADATA_KEY: decided}


def _with_records(generation: G, decided: list[dict[str, Any]]) -> G:
    """The same generation or chunk with a copied message that says what was decided."""
    if not decided:
        return generation
    metadata = {**generation.message.response_metadata, METADATA_KEY: decided}
    message = generation.message.model_copy(update={"response_metadata": metadata})
    return generation.model_copy(update={"message": message})
