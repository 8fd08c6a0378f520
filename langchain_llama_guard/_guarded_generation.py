"""A chat model's `_generate` and `_stream`, guarded from inside: below LangChain's callbacks.

What is withheld here has been seen by no callback, no event stream and no trace. An exception of the model is
withheld like a reply: some quote what the model wrote.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import aclosing, closing
from functools import partial
from typing import Any, cast

from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from langchain_llama_guard._calls_apart import CallsApart, ReplyParts
from langchain_llama_guard._conversation import conversation_of, message_of
from langchain_llama_guard._failures import as_output
from langchain_llama_guard._held_reply import HeldReply
from langchain_llama_guard._refusals import refusal_message, with_records
from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.drive import acatching, acatching_stream, arun, catching, catching_stream, run
from llama_guard_core.drive_streams import aguard_stream, guard_stream
from llama_guard_core.guardrail.decisions import Allow, Refuse, decision_records
from llama_guard_core.guardrail.failures import Failed
from llama_guard_core.guardrail.screening import Flow, GuardedReply, guarded_call, judges_replies
from llama_guard_core.messages import Conversation, Message, assistant

Chunks = Generator[ChatGenerationChunk, None, None]
AsyncChunks = AsyncGenerator[ChatGenerationChunk, None]

_USAGE = {"token_usage", "usage", "model", "model_name", "model_provider", "system_fingerprint"}
"""What of `llm_output` may be told where a reply may not; a provider may put anything beside it."""


def generate(
    guard: LlamaGuard,
    messages: Sequence[BaseMessage],
    call: Callable[[], ChatResult],
    apart: CallsApart | None = None,
) -> ChatResult:
    """Judge the prompt, call the model, judge each of its alternatives."""
    flow = _generated(guard, conversation_of(messages), apart)
    return run(flow, guard.judge, catching(call, partial(_failed, guard)))


async def agenerate(
    guard: LlamaGuard,
    messages: Sequence[BaseMessage],
    call: Callable[[], Awaitable[ChatResult]],
    apart: CallsApart | None = None,
) -> ChatResult:
    """Judge the prompt, call the model, judge each of its alternatives."""
    flow = _generated(guard, conversation_of(messages), apart)
    return await arun(flow, guard.ajudge, acatching(call, partial(_failed, guard)))


def stream(
    guard: LlamaGuard,
    messages: Sequence[BaseMessage],
    open_stream: Callable[[], Chunks],
    apart: CallsApart | None = None,
) -> Chunks:
    """Judge the prompt, open the model's stream, show of it what a verdict covers."""
    held = HeldReply(guard.policy, conversation_of(messages), apart)
    chunks = catching_stream(open_stream, partial(_failed, guard))
    with closing(guard_stream(held.machine, chunks, guard.judge)) as events:
        for event in events:
            parts = run(held.parts_of(event), guard.judge) if held.may_have_parts(event) else None
            yield from held.shown(event, parts)


async def astream(
    guard: LlamaGuard,
    messages: Sequence[BaseMessage],
    open_stream: Callable[[], AsyncChunks],
    apart: CallsApart | None = None,
) -> AsyncChunks:
    """Judge the prompt, open the model's stream, show of it what a verdict covers."""
    held = HeldReply(guard.policy, conversation_of(messages), apart)
    chunks = acatching_stream(open_stream, partial(_failed, guard))
    async with aclosing(aguard_stream(held.machine, chunks, guard.ajudge)) as events:
        async for event in events:
            parts = await arun(held.parts_of(event), guard.ajudge) if held.may_have_parts(event) else None
            for chunk in held.shown(event, parts):
                yield chunk


def _failed(guard: LlamaGuard, error: Exception) -> Failed:
    if not judges_replies(guard.policy):
        raise error
    return as_output(error)


def _alternatives(result: ChatResult | Failed) -> list[Message]:
    if isinstance(result, Failed):
        return [assistant(result.text)]
    return [message_of(generation.message) for generation in result.generations]


def _generated(guard: LlamaGuard, conversation: Conversation, apart: CallsApart | None) -> Flow[ChatResult]:
    outcome: GuardedReply[ChatResult | Failed] = yield from guarded_call(guard.policy, conversation, _alternatives)
    parts: list[ReplyParts | None] = [None] * len(outcome.decisions)
    if apart and isinstance(outcome.reply, ChatResult):
        replies = zip(_alternatives(outcome.reply), outcome.decisions, strict=True)
        for at, (reply, decision) in enumerate(replies):
            parts[at] = yield from apart.parts_of(guard.policy, conversation, reply, decision)
    result = _result(outcome, apart, parts)
    if apart:
        about = [outcome.prompt] if isinstance(outcome.prompt, Refuse) else outcome.decisions
        for generation, decision, decided in zip(result.generations, about, parts or [None], strict=True):
            refusal = decision if isinstance(decision, Refuse) and decided is None else None
            apart.note(cast("AIMessage", generation.message), refusal)
    return result


def _result(
    guarded: GuardedReply[ChatResult | Failed], apart: CallsApart | None, parts: Sequence[ReplyParts | None]
) -> ChatResult:
    before, reply = decision_records(guarded.prompt), guarded.reply
    if isinstance(guarded.prompt, Refuse) or reply is None:
        refused = refusal_message(guarded.prompt, before, None)
        return ChatResult(generations=[ChatGeneration(message=refused)])
    if isinstance(reply, Failed):
        return _result_of_failure(reply, guarded.decisions[0], before)
    generations = [
        _parted(generation, before, apart, decided)
        if apart and decided
        else _generation(generation, decision, before + decision_records(decision))
        for generation, decision, decided in zip(reply.generations, guarded.decisions, parts, strict=True)
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


def _parted(
    generation: ChatGeneration, before: list[dict[str, Any]], apart: CallsApart, decided: ReplyParts
) -> ChatGeneration:
    message = cast("AIMessage", generation.message)
    parted = ChatGeneration(message=apart.parted(message, decided))
    return with_records(parted, before + decided.records)


def _generation(generation: ChatGeneration, decision: Allow | Refuse, decided: list[dict[str, Any]]) -> ChatGeneration:
    if isinstance(decision, Refuse):
        return ChatGeneration(message=refusal_message(decision, decided, generation.message))
    return with_records(generation, decided)
