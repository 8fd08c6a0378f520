"""What a stream guard asks to be done, and what it lets through."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from llama_guard_core.guardrail.decisions import Allow, Refuse, decision_records
from llama_guard_core.guardrail.screening import Check

REFUSAL_SEPARATOR = "\n\n"
"""Between what a stream has shown and the refusal that ends it."""

C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class NeedChunk:
    """Read the next chunk of the reply and hand it to `receive`; at the end of the reply, call `end`."""


@dataclass(frozen=True, slots=True)
class NeedVerdict:
    """Put this question to the guard; when it is its turn, call `judge` or `cannot_judge`."""

    check: Check


@dataclass(frozen=True, slots=True)
class AwaitVerdict:
    """Nothing more can be done before the next open question is answered."""


@dataclass(frozen=True, slots=True)
class Release(Generic[C]):
    """Show these chunks, of which there may be none; `decision` says why they may be shown.

    Attributes:
        chunks: as they came.
        decision: what was decided; it names no stage where nothing new was.
        is_last: whether the reply ends here. The last release of a reply that was not halted says so, always.
    """

    chunks: tuple[C, ...] = field(repr=False)
    decision: Allow
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class Halted:
    """Stop reading. What was withheld is gone; show the refusal.

    Attributes:
        decision: the refusal.
        chunks_read: chunks that had come.
        chunks_shown: how many of them had been released.
        model_cut: whether the reply had not ended, so that the rest of it need not be generated or paid for.
    """

    decision: Refuse
    chunks_read: int = 0
    chunks_shown: int = 0
    model_cut: bool = False


@dataclass(frozen=True, slots=True)
class Finished:
    """The reply has ended and all of it was released."""


StreamEvent = NeedChunk | NeedVerdict | AwaitVerdict | Release[C] | Halted | Finished


def stream_records(event: Release[Any] | Halted) -> list[dict[str, Any]]:
    """What an event of a stream decided, as plain JSON values; of a halt, also what it spared.

    Chunks are counted, not tokens: what a model would have gone on to write nobody can tell. Most hosts send a
    token in a chunk.
    """
    records = decision_records(event.decision)
    if isinstance(event, Halted) and event.chunks_read:
        stream = {
            "chunks_read": event.chunks_read,
            "chunks_shown": event.chunks_shown,
            "model_cut": event.model_cut,
        }
        records = [{**record, "stream": stream} for record in records]
    return records
