"""What an application is shown of a decision: a refusal in the place of a reply, and what was decided beside it."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Any, TypeVar

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk

from langchain_llama_guard._content_blocks import MODEL_PROVIDER
from llama_guard_core.guardrail.decisions import Allow, Refuse

METADATA_KEY = "llama_guard"
"""Where a message says what was decided about it: `message.response_metadata["llama_guard"]`."""

REFUSED = {"finish_reason": "content_filter"}
"""How a reply ends that a guard has refused."""

G = TypeVar("G", bound=ChatGeneration)
M = TypeVar("M", bound=BaseMessage)


def refusal_message(
    decision: Allow | Refuse, decided: list[dict[str, Any]], instead_of: BaseMessage | None
) -> AIMessage:
    """The refusal, in the place of a reply: same id, same usage, nothing else of it."""
    usage = instead_of.usage_metadata if isinstance(instead_of, AIMessage) else None
    metadata = _refusal_metadata(decided, instead_of)
    text = decision.text if isinstance(decision, Refuse) else ""
    return AIMessage(content=text, response_metadata=metadata, usage_metadata=usage, id=instead_of and instead_of.id)


def refusal_chunk(
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
    return {**kept, "model_provider": MODEL_PROVIDER, **REFUSED, METADATA_KEY: decided}


def with_records_on(message: M, decided: list[dict[str, Any]]) -> M:
    """A copy of the message that says what was decided, if anything was."""
    if not decided:
        return message
    return message.model_copy(update={"response_metadata": {**message.response_metadata, METADATA_KEY: decided}})


def with_records(generation: G, decided: list[dict[str, Any]]) -> G:
    """The same generation or chunk with a copied message that says what was decided."""
    if not decided:
        return generation
    return generation.model_copy(update={"message": with_records_on(generation.message, decided)})
