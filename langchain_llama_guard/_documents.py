"""LangChain's documents, as the passages the guard judges: what the model will read of them, each on its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from langchain_core.documents import Document

from langchain_llama_guard._values import text_of
from llama_guard_core.guardrail.decisions import Allow, Refuse, refusal_error
from llama_guard_core.guardrail.failures import Failed
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.screening import Flow, screen_document
from llama_guard_core.messages import Message, user

OnUnsafePassage = Literal["drop", "flag", "refuse"]
MetadataKeys = tuple[str, ...] | Literal["all"]

METADATA_KEY = "llama_guard"
"""Where a passage that is shown against the guard's advice says so."""


def screen_passage(policy: Policy, passage: Document, metadata_keys: MetadataKeys) -> Flow[Allow | Refuse]:
    """Judge what a model would read of a document."""
    return screen_document(policy, message_of(passage, metadata_keys))


def message_of(passage: Document, metadata_keys: MetadataKeys) -> Message:
    """What a model would read of a document: its text, and before it the metadata that is shown with it."""
    told = passage.metadata
    keys = [key for key in told if key != METADATA_KEY] if metadata_keys == "all" else metadata_keys
    beside = "\n".join(f"{key}: {text_of(told[key])}" for key in keys if key in told)
    return user(f"{beside}\n\n{passage.page_content}" if beside else passage.page_content)


def screen_failure(policy: Policy, failed: Failed) -> Flow[Exception]:
    """Judge what a retriever raised, which may quote passages; the exception that may be seen is what it returns."""
    decision = yield from screen_document(policy, user(failed.text))
    return refusal_error(decision) if isinstance(decision, Refuse) else failed.error


def passages_left(
    passages: Iterable[Document], decisions: Iterable[Allow | Refuse], on_unsafe: OnUnsafePassage
) -> list[Document]:
    """The passages that the model may read, in order.

    Raises:
        UnsafeContent: one is refused as unsafe, and that is to raise.
        GuardUnavailable: one could not be judged, and the same.
    """
    judged = zip(passages, decisions, strict=True)
    return [left for passage, it in judged if (left := _after(passage, it, on_unsafe)) is not None]


def _after(passage: Document, decision: Allow | Refuse, on_unsafe: OnUnsafePassage) -> Document | None:
    if isinstance(decision, Allow):
        is_remarkable = decision.flagged or decision.overruled or decision.error
        return _marked(passage, decision) if is_remarkable else passage
    if on_unsafe == "refuse":
        raise refusal_error(decision)
    return _marked(passage, decision) if on_unsafe == "flag" and decision.verdict is not None else None


def _marked(passage: Document, decision: Allow | Refuse) -> Document:
    return passage.model_copy(update={"metadata": {**passage.metadata, METADATA_KEY: _remark(decision)}})


def _remark(decision: Allow | Refuse) -> str:
    """One flat text, since many stores take no other metadata: the hazards' codes, `unsafe` or `unjudged`."""
    if decision.verdict is None:
        return "unjudged"
    return ",".join(category.code for category in decision.verdict.categories) or "unsafe"
