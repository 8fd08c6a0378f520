"""What is known of each Llama Guard model, and which one a host's id means.

What a model's own chat template takes is a fact about the files Meta published on Hugging Face. A host may convert
what it is sent (vLLM makes parts of a string and a string of parts), or apply a template of its own (Ollama).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from typing_extensions import Self

from llama_guard_core.errors import ConfigurationError
from llama_guard_core.guardrail.hazards import LlamaGuardVersion, Taxonomy

GuardSize = Literal["1b", "7b", "8b", "11b-vision", "12b"]

# The first of a version is meant where an id does not say its size: `llama-guard3` is the 8B model, on Ollama too.
_SIZES: Mapping[LlamaGuardVersion, tuple[GuardSize, ...]] = {
    1: ("7b",),
    2: ("8b",),
    3: ("8b", "1b", "11b-vision"),
    4: ("12b",),
}
_WITH_PARTS: tuple[GuardSize, ...] = ("1b", "11b-vision", "12b")
_VERSIONED = re.compile(r"llama-?guard-?([1-4])(?![\d.]*b)", re.IGNORECASE)
_FIRST_VERSION = re.compile(r"llama-?guard-?7b", re.IGNORECASE)
_SMALL = re.compile(r"(?<![a-z\d.])(11?)b(?![a-z\d])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class GuardModel:
    """One of Meta's Llama Guard models. A quantised copy (INT4, INT8, GGUF) is the same model here.

    Args:
        version: 1, 2, 3 or 4.
        size: `"7b"` for version 1, `"8b"` for 2, `"8b"`, `"1b"` or `"11b-vision"` for 3, `"12b"` for 4.

    Raises:
        ConfigurationError: if there is no such model.
    """

    version: LlamaGuardVersion
    size: GuardSize

    def __post_init__(self) -> None:
        if self.size not in _SIZES.get(self.version, ()):
            models = ", ".join(f"{version} {size}" for version, sizes in _SIZES.items() for size in sizes)
            msg = f"there is no Llama Guard {self.version!r} of size {self.size!r}: there are {models}"
            raise ConfigurationError(msg)

    @classmethod
    def named(cls, model: str, version: LlamaGuardVersion | None = None) -> Self:
        """The model that an id means, on any host.

        Args:
            model: such as `meta-llama/llama-guard-4-12b`, `llama-guard3:1b` or `LlamaGuard-7b`.
            version: says it where the id does not, and goes before the id.

        Raises:
            ConfigurationError: if neither says which version it is.
        """
        found = _VERSIONED.search(model)
        told = version or (int(found[1]) if found else 1 if _FIRST_VERSION.search(model) else None)
        if told not in _SIZES:
            msg = f"model {model!r} does not say which Llama Guard it is: pass version=4 (or 1, 2, 3)"
            raise ConfigurationError(msg)
        known = cast("LlamaGuardVersion", told)
        small = _SMALL.search(model) if known == 3 else None  # noqa: PLR2004 - only version 3 has several sizes
        if small:
            return cls(known, "1b" if small[1] == "1" else "11b-vision")
        return cls(known, _SIZES[known][0])

    @property
    def taxonomy(self) -> Taxonomy:
        """The hazards it was trained on. Llama Guard 3 1B and 11B-Vision stop at S13, as their model cards say."""
        return Taxonomy.of(self.version, text_and_code=self.size not in ("1b", "11b-vision"))

    @property
    def most_images(self) -> int | None:
        """How many images one question may hold, in all its turns: none, one, or any number (`None`).

        From the model cards. Llama Guard 4 was mostly tested with about three; with an image its own template
        leaves S14 out.
        """
        return {"11b-vision": 1, "12b": None}.get(self.size, 0)

    @property
    def content(self) -> Literal["string", "parts"]:
        """What its own chat template takes as a message's content: a string, or a list of parts.

        Where the template is applied as it stands, the wrong one is an error (parts for a string) or an empty
        conversation that is judged safe (a string for parts). For Llama Guard 4, whose files are gated, this is
        what others report who read and rendered its template.
        """
        return "parts" if self.size in _WITH_PARTS else "string"

    @property
    def takes_excluded(self) -> bool:
        """Whether its chat template has the keyword `excluded_category_keys`. The others ignore it silently."""
        return self.size in _WITH_PARTS

    @property
    def takes_custom(self) -> bool:
        """Whether its chat template has the keyword `categories`. The others ignore it silently.

        Meta shows it for Llama Guard 3 1B and 11B-Vision only; for 4 it is known from its template alone.
        """
        return self.size in _WITH_PARTS

    @property
    def begins_with(self) -> str:
        """What its published prompt begins with, up to and including the token that begins a text.

        To be cut off, with `str.removeprefix`, for a host that puts the token there itself.
        """
        if self.version == 1:
            return "<s>"
        # The space is in the chat template that Meta published with Llama Guard 3 8B, and in no other.
        return " <|begin_of_text|>" if (self.version, self.size) == (3, "8b") else "<|begin_of_text|>"
