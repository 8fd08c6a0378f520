"""What the rows of a data set are labelled: safe or unsafe, and with which hazards."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict
from pydantic_core import PydanticCustomError

from llama_guard_core.errors import ConfigurationError
from llama_guard_core.guardrail.hazards import Taxonomy

_IN_BRACES = re.compile(r"\{([^{}]+)\}")
_KNOWN_CODES = tuple(category.code for version in (4, 1) for category in Taxonomy.of(version).categories)
Row = Mapping[str, Any]


def mapping_error(fault: str) -> PydanticCustomError:
    """A fault of a mapping, in words of ours."""
    return PydanticCustomError("mapping", "{fault}", {"fault": fault})


def _listed(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) else (value,)


def _known(codes: tuple[str, ...]) -> tuple[str, ...]:
    for code in codes:
        if code not in _KNOWN_CODES:
            fault = f"{code} is no code of Llama Guard: write S1 to S14, or O1 to O6 for version 1"
            raise mapping_error(fault)
    return codes


Value = str | int | float | bool | None
Values = Annotated[tuple[Value, ...], BeforeValidator(_listed)]
"""Values of a column: one, or a list of them. Null stands for an empty cell."""
Codes = Annotated[tuple[str, ...], AfterValidator(_known)]
"""Codes of hazards, best first."""


class Gold(BaseModel):
    """The rule by which a row is labelled, in one of three forms.

    Attributes:
        column: with `unsafe` and `safe`, the values that say so: any other value, or none, leaves the row unlabelled.
            With `unsafe_from` and `safe_up_to`, a column of numbers.
        unsafe: values that say unsafe.
        safe: values that say safe.
        any_of: columns of which one at 1 or true makes a row unsafe; if none is, it is safe. A column that a row does
            not have was not annotated, and counts as not found.
        unsafe_from: the least number that is unsafe.
        safe_up_to: the greatest number that is safe. Between the two a row is unlabelled, and so is one without number.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    column: str | None = None
    unsafe: Values = ()
    safe: Values = ()
    any_of: tuple[str, ...] = ()
    unsafe_from: float | None = None
    safe_up_to: float | None = None

    def model_post_init(self, _context: Any, /) -> None:
        """Refuse what is none of the three forms, or contradicts itself."""
        by_value, by_number = bool(self.unsafe or self.safe), None not in (self.unsafe_from, self.safe_up_to)
        has_number = self.unsafe_from is not None or self.safe_up_to is not None
        forms = [self.column and by_value, self.column and by_number, self.any_of]
        if sum(map(bool, forms)) != 1 or (self.any_of and self.column) or has_number != by_number:
            raise mapping_error(_FORMS)
        if set(map(plain, self.unsafe)) & set(map(plain, self.safe)):
            fault = "a value is both in unsafe and in safe: write it in one of them"
            raise mapping_error(fault)
        if by_number and not (self.safe_up_to or 0) < (self.unsafe_from or 0):
            fault = "safe_up_to must be less than unsafe_from"
            raise mapping_error(fault)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it looks at."""
        return self.any_of or (self.column or "",)

    def positives(self, row: Row) -> tuple[str, ...]:
        """Those columns of `any_of` that are 1 in a row."""
        return tuple(column for column in self.any_of if plain(row.get(column)) in _TRUE)

    def of(self, row: Row, value: Any) -> bool | None:
        """Whether a row is unsafe; `None` if it is unlabelled.

        Args:
            row: the row.
            value: what its `column` holds.

        Raises:
            ConfigurationError: if a number is needed and it is none.
        """
        if self.any_of:
            return bool(self.positives(row))
        if self.unsafe_from is None or self.safe_up_to is None:
            said = plain(value)
            return True if said in map(plain, self.unsafe) else False if said in map(plain, self.safe) else None
        number = self._number(value)
        return True if number >= self.unsafe_from else False if number <= self.safe_up_to else None

    def _number(self, value: Any) -> float:
        if plain(value) == "":
            return math.nan
        try:
            return float(value)
        except (TypeError, ValueError):
            msg = (
                f"gold: the column {self.column} holds something that is no number: unsafe_from and safe_up_to need one"
            )
        raise ConfigurationError(msg)


_TRUE = ("1", "true")
_FORMS = (
    'write one of {"column": "label", "unsafe": ["bad"], "safe": ["good"]}, '
    '{"column": "mean", "unsafe_from": 0.5, "safe_up_to": 0.25}, {"any_of": ["hate", "violence"]}'
)


def plain(value: Any) -> str:
    """A value as text that is the same whatever format the file has: `1`, `1.0` and `"1"`, `True` and `"true"`."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    text = str(value).strip()
    return text.lower() if text.lower() in {"true", "false"} else text


def references(template: str) -> tuple[str, ...]:
    """The columns that a reference names: itself, or those in its braces but for `{file}` and `{folder}`."""
    found = _IN_BRACES.findall(template)
    return tuple(name for name in found if name not in _OF_THE_FILE) if found else (template,)


_OF_THE_FILE = ("file", "folder")


def referred(template: str, row: Row, origin: Mapping[str, str]) -> Any:
    """What a reference stands for in a row.

    Args:
        template: a column, or a text with columns in braces, such as `images/{id}.png`; `{file}` is the name of the
            row's file without its suffix, `{folder}` that of its folder.
        row: the row.
        origin: its `file` and `folder`.
    """
    if not _IN_BRACES.search(template):
        return row.get(template)
    return _IN_BRACES.sub(lambda name: origin.get(name[1]) or plain(row.get(name[1])), template)


def labels_in(value: Any) -> tuple[str, ...]:
    """The labels in a cell: one, or several if it is a list, also one that is written as JSON or as Python has it."""
    found = _as_list(value) if isinstance(value, str) and value.strip()[:1] == "[" else value
    several = found if isinstance(found, (list, tuple)) else [found]
    return tuple(label for label in map(plain, several) if label)


def accepted_codes(labels: Sequence[str], categories: Mapping[str, tuple[str, ...] | None]) -> tuple[str, ...] | None:
    """The codes that any of a row's labels accepts, in the order of the labels; `None` if one of them is not known.

    Args:
        labels: the row's labels upstream.
        categories: the codes that each label accepts; `None` for a mixture.
    """
    if not labels or any(categories.get(label) is None for label in labels):
        return None
    return tuple(dict.fromkeys(code for label in labels for code in categories[label] or ()))


def _as_list(text: str) -> Any:
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
        return ast.literal_eval(text)
    return text
