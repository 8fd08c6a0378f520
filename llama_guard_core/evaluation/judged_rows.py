"""The rows of a data set joined with what came of them, as columns of flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from llama_guard_core.bulk.judgements import Judgement, Outcome
from llama_guard_core.errors import ConfigurationError
from llama_guard_core.evaluation.libraries import library
from llama_guard_core.evaluation.proportions import Proportion, proportion

if TYPE_CHECKING:
    import numpy.typing as npt

    from llama_guard_core.evaluation.dataset import Example

    Flags = npt.NDArray[Any]
    """One truth value for each row."""

_OUTCOMES = get_args(Outcome)


@dataclass(frozen=True, slots=True, eq=False)
class JudgedRows:
    """Examples and their judgements, row by row, and what is true of each.

    Attributes:
        examples: what is known of the rows.
        judgements: what came of them, in the same order.
        unsafe: labelled unsafe.
        safe: labelled safe. A row without a label is neither.
        judged: there is a verdict.
        flagged: there is a verdict, and it says unsafe.
    """

    examples: Sequence[Example]
    judgements: Sequence[Judgement]
    unsafe: Flags
    safe: Flags
    judged: Flags
    flagged: Flags

    @classmethod
    def of(cls, examples: Sequence[Example], judgements: Sequence[Judgement]) -> JudgedRows:
        """Join them: `Judgement.row` is the place of its example.

        Args:
            examples: what is known of the rows.
            judgements: what came of them, in any order.

        Raises:
            ConfigurationError: if a row has no judgement or two, or a judgement has no row or cannot be one.
        """
        in_order = _in_order(judgements, len(examples))
        return cls(
            examples,
            in_order,
            unsafe=flags([example.unsafe is True for example in examples]),
            safe=flags([example.unsafe is False for example in examples]),
            judged=flags([judgement.outcome == "judged" for judgement in in_order]),
            flagged=flags([judgement.outcome == "judged" and judgement.safe is False for judgement in in_order]),
        )

    @property
    def scores(self) -> npt.NDArray[Any]:
        """The probability of `unsafe` of each row; not a number where none was told, or there is no verdict."""
        np = library("numpy")
        told = [each.score if each.outcome == "judged" else None for each in self.judgements]
        return np.array(told, dtype=float)  # type: ignore[no-any-return] # NumPy is loaded by name


def flags(values: Sequence[bool]) -> Flags:
    """Truth values as an array."""
    return library("numpy").array(values, dtype=bool)  # type: ignore[no-any-return] # NumPy is loaded by name


def share(counted: Flags, among: Flags) -> Proportion:
    """The share of `counted` rows among others, both as flags of the same rows."""
    return proportion(int((counted & among).sum()), int(among.sum()))


def _in_order(judgements: Sequence[Judgement], rows: int) -> tuple[Judgement, ...]:
    by_row: dict[int, Judgement] = {}
    for judgement in judgements:
        _check(judgement, by_row, rows)
        by_row[judgement.row] = judgement
    missing = rows - len(by_row)
    if missing:
        first = next(row for row in range(rows) if row not in by_row)
        msg = (
            f"{missing} of {rows} rows have no judgement (the first is row {first}): finish the run, or pass only the "
            "examples that were judged"
        )
        raise ConfigurationError(msg)
    return tuple(by_row[row] for row in range(rows))


def _check(judgement: Judgement, by_row: Mapping[int, Judgement], rows: int) -> None:
    row = judgement.row
    if not 0 <= row < rows:
        msg = f"there is a judgement of row {row}, and {rows} examples: pass the judgements of these examples"
    elif row in by_row:
        msg = f"there are two judgements of row {row}: pass the judgements of one run"
    elif judgement.outcome not in _OUTCOMES or (judgement.outcome == "judged" and not isinstance(judgement.safe, bool)):
        msg = f"the judgement of row {row} says neither safe nor unsafe nor why: pass what a run wrote, unchanged"
    else:
        return
    raise ConfigurationError(msg)
