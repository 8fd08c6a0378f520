"""Hazards of one's own, which Llama Guard is asked about in the place of Meta's."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict, Field, field_validator

from llama_guard_core.guardrail.hazards import HazardAction, is_hazard
from llama_guard_core.written import printable

_JOINERS = re.compile("[\u200c\u200d]")  # Persian and Indic names are spelt with them


class CustomCategory(BaseModel):
    """A hazard of your own. The guard is asked about each in a question by itself, beside the one about Meta's hazards.

    One category in a prompt is what Meta advises, with two to four examples. Expect little of it all the same: Llama
    Guard was trained on Meta's hazards, and finds others only as far as they are near to these. Measure it on your
    own data.

    It can only be asked where a host lets us write the categories: by template arguments, or by raw completions. Each
    category is one more question for every text.

    Attributes:
        name: what it is called in the prompt, in verdicts and refusals.
        description: what the model should or should not say, in a few sentences.
        examples: texts that belong to it.
        action: what follows when it is named.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    name: str = Field(min_length=1, pattern=r"^[^\n]*$")
    description: str = ""
    examples: tuple[str, ...] = Field(default=(), repr=False)
    action: HazardAction = "block"

    @field_validator("name")
    @classmethod
    def _not_metas(cls, name: str) -> str:
        if is_hazard(name):
            msg = f"{name!r} is one of Meta's hazards, or a code: give a category of your own a name of its own"
            raise ValueError(msg)
        if _JOINERS.sub("", name) != printable(_JOINERS.sub("", name)):
            msg = "a name is shown in refusals and on terminals: leave out control characters and what nobody sees"
            raise ValueError(msg)
        return name
