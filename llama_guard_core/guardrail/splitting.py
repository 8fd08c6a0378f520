"""A judged text that is too long to be judged at once, as overlapping chunks.

Llama Guard's cards state no context length; earlier versions were trained on 4,096 and 8,192 tokens, so a window that a
host advertises says nothing about how well a long text is judged. Chunks stay well below that.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import Self


class Splitting(BaseModel):
    """How a long text is split for judging: each chunk is a question of its own, and one unsafe chunk is enough.

    What is unsafe only as a whole, with its halves further apart than `chunk_overlap`, is not found.

    Attributes:
        chunk_size: characters in a chunk, at the most; 12,000 are about 3,000 tokens of English.
        chunk_overlap: characters that a chunk repeats of the one before.
        max_chunks: a text of more chunks than that is not judged: what follows is the policy's `on_no_verdict`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    chunk_size: int = Field(default=12_000, ge=16)
    chunk_overlap: int = Field(default=1_000, ge=0)
    max_chunks: int = Field(default=32, ge=1)

    @model_validator(mode="after")
    def _moves_on(self) -> Self:
        if self.chunk_overlap > self.chunk_size // 2:
            msg = "chunk_overlap is half of chunk_size at the most"
            raise ValueError(msg)
        return self

    @property
    def longest(self) -> int:
        """Characters of the longest text that is judged."""
        return self.chunk_size + (self.max_chunks - 1) * self._step

    def chunks_of(self, text: str) -> list[str]:
        """The chunks of a text, in order: together they are all of it."""
        if len(text) <= self.chunk_size:
            return [text]
        starts = range(0, len(text) - self.chunk_overlap, self._step)
        return [text[start : start + self.chunk_size] for start in starts]

    @property
    def _step(self) -> int:
        return self.chunk_size - self.chunk_overlap

    @classmethod
    def of(cls, given: Splitting | dict[str, Any] | None) -> Splitting:
        """The splitting a user gave, in either form, or the default."""
        return given if isinstance(given, Splitting) else cls.model_validate(given or {})
