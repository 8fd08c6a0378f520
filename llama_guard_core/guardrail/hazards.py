"""The hazards Llama Guard looks for. The same code means different things in different versions.

Names are those of Meta's model cards (Llama Guard 1 and 2) and of the MLCommons taxonomy that
Llama Guard 3 and 4 use. None of them has a category for insults, spam, jailbreaks or prompt
injection: a safe verdict says nothing about those.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field

LlamaGuardVersion = Literal[1, 2, 3, 4]
H = TypeVar("H", bound=Iterable[str])
HazardAction = Literal["block", "flag", "ignore"]

_NAMES: Mapping[LlamaGuardVersion, tuple[str, ...]] = {
    1: (
        "Violence and Hate",
        "Sexual Content",
        "Criminal Planning",
        "Guns and Illegal Weapons",
        "Regulated or Controlled Substances",
        "Self-Harm",
    ),
    2: (
        "Violent Crimes",
        "Non-Violent Crimes",
        "Sex-Related Crimes",
        "Child Sexual Exploitation",
        "Specialized Advice",
        "Privacy",
        "Intellectual Property",
        "Indiscriminate Weapons",
        "Hate",
        "Suicide & Self-Harm",
        "Sexual Content",
    ),
    3: (
        "Violent Crimes",
        "Non-Violent Crimes",
        "Sex-Related Crimes",
        "Child Sexual Exploitation",
        "Defamation",
        "Specialized Advice",
        "Privacy",
        "Intellectual Property",
        "Indiscriminate Weapons",
        "Hate",
        "Suicide & Self-Harm",
        "Sexual Content",
        "Elections",
        "Code Interpreter Abuse",
    ),
}
_SLUG_WORDS = re.compile(r"[a-z]+")
_CODE = re.compile(r"[SO]\d{1,2}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class HazardCategory:
    """One hazard of the taxonomy.

    Attributes:
        code: as Llama Guard writes it, `"S9"`.
        name: as the model card writes it, `"Indiscriminate Weapons"`; `"Unknown hazard"` for a code
            that this version of Llama Guard does not define. An unknown hazard is still a hazard.
        version: the version of Llama Guard whose taxonomy this is.
    """

    code: str
    name: str
    version: LlamaGuardVersion

    @property
    def known(self) -> bool:
        """Whether this version's taxonomy defines the code."""
        return self.name != _UNKNOWN

    def __str__(self) -> str:
        return f"{self.code} {self.name}"


_UNKNOWN = "Unknown hazard"


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """The hazards one version of Llama Guard was trained on."""

    version: LlamaGuardVersion
    categories: tuple[HazardCategory, ...]

    @classmethod
    def of(cls, version: LlamaGuardVersion, *, text_and_code: bool = True) -> Taxonomy:
        """The taxonomy of a version.

        Args:
            version: 1, 2, 3 or 4.
            text_and_code: false for the Llama Guard 3 models 1B and 11B-Vision, which stop at S13.
        """
        letter = "O" if version == 1 else "S"
        names = _NAMES[3 if version == 4 else version]  # noqa: PLR2004 - version 4 kept version 3's taxonomy
        if not text_and_code:
            names = names[:13]
        return cls(version, tuple(HazardCategory(f"{letter}{n}", name, version) for n, name in enumerate(names, 1)))

    @classmethod
    def for_model(cls, model: str, version: LlamaGuardVersion | None = None) -> Taxonomy:
        """The taxonomy of a model, told by its id on any host.

        Args:
            model: such as `meta-llama/llama-guard-4-12b`, `llama-guard3:1b` or `LlamaGuard-7b`.
            version: says it where the id does not.

        Raises:
            ConfigurationError: if neither says which version it is.
        """
        from llama_guard_core.guardrail.guard_models import GuardModel  # noqa: PLC0415 (it reads this class)

        return GuardModel.named(model, version).taxonomy

    def category(self, code: str) -> HazardCategory:
        """The category of a code, known or not."""
        code = code.upper()
        for category in self.categories:
            if category.code == code:
                return category
        return HazardCategory(code, _UNKNOWN, self.version)

    def code_of_slug(self, slug: str) -> str | None:
        """The code of a hazard that is named by a slug, such as `indiscriminate-weapons`; `None` if none fits.

        Meta's moderation endpoint names hazards so. Its slugs are in no documentation; a part of a name will do.
        """
        words = set(_SLUG_WORDS.findall(slug.lower())) - {"and"}
        names = {category.code: set(_SLUG_WORDS.findall(category.name.lower())) for category in self.categories}
        same = [code for code, name in names.items() if name == words]
        like = [code for code, name in names.items() if words and words < name]
        return same[0] if same else like[0] if len(like) == 1 else None

    def defines(self, hazard: str) -> bool:
        """Whether `hazard`, a code or a name, is one of these categories."""
        return any(hazard in (category.code, category.name) for category in self.categories)


HAZARD_NAMES = frozenset(name for names in _NAMES.values() for name in names)
"""Every hazard name of every version, to tell a misspelt one by."""


def is_hazard(text: str) -> bool:
    """Whether `text` could be a hazard of some version: a code's form, or a name."""
    return _CODE.match(text) is not None or text in HAZARD_NAMES


def _checked_hazards(hazards: H) -> H:
    for hazard in hazards:
        if not is_hazard(hazard):
            msg = f"{hazard!r} is no hazard: write a code such as 'S9' or a name such as 'Indiscriminate Weapons'"
            raise ValueError(msg)
    return hazards


Hazards = Annotated[Mapping[str, HazardAction], AfterValidator(_checked_hazards)]
"""What follows per hazard, by code or name."""
HazardNames = Annotated[tuple[str, ...], AfterValidator(_checked_hazards)]
"""Hazards, by code or name."""
Thresholds = Annotated[Mapping[str, Annotated[float, Field(ge=0, le=1)]], AfterValidator(_checked_hazards)]
"""A score for each of some hazards, by code or name."""
