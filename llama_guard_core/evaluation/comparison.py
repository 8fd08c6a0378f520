"""Two runs over the same rows: which is right more often, and do they agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

from llama_guard_core.bulk.judgements import Judgement
from llama_guard_core.evaluation.judged_rows import JudgedRows, share
from llama_guard_core.evaluation.libraries import library
from llama_guard_core.evaluation.plain_values import as_plain, from_plain
from llama_guard_core.evaluation.proportions import Proportion

if TYPE_CHECKING:
    from llama_guard_core.evaluation.dataset import Example
    from llama_guard_core.evaluation.judged_rows import Flags


@dataclass(frozen=True, slots=True)
class Run:
    """Whose judgements they are.

    Attributes:
        name: what to call the run beside the other.
        model: the model that was asked.
        host: the host that answered.
        policy: a short word for the policy it was judged under.
    """

    name: str
    model: str | None = None
    host: str | None = None
    policy: str | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs over the same rows.

    A small p-value says that the runs are not equally often right on rows like these. It does not say that the
    difference matters, and a large one does not say that there is none.

    Attributes:
        first: whose judgements are first.
        second: whose are second.
        on: the rows that the counts, the p-value and the differences are about.
        rows: how many those are.
        both_right: both verdicts match the label.
        first_only_right: only the first does.
        second_only_right: only the second does.
        both_wrong: neither does.
        p_value: of McNemar's exact test, two-sided; `None` without rows.
        test: the test's name.
        recall_difference: the second's recall less the first's; `None` without unsafe rows.
        false_positive_rate_difference: the same for the false-positive rate; below 0, the second is better.
        agreement: the share of the same verdict, over all rows judged in both, labelled or not.
        kappa: Cohen's, over the same rows; `None` where both say one and the same thing of every row.
    """

    first: Run
    second: Run
    on: str
    rows: int
    both_right: int
    first_only_right: int
    second_only_right: int
    both_wrong: int
    p_value: float | None
    test: str
    recall_difference: float | None
    false_positive_rate_difference: float | None
    agreement: Proportion
    kappa: float | None

    def as_dict(self) -> dict[str, Any]:
        """The comparison as plain JSON values."""
        return as_plain(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `as_dict` made.

        Raises:
            ConfigurationError: if it is no comparison.
        """
        return from_plain(cls, values)


def compared(
    examples: Sequence[Example],
    first: Sequence[Judgement],
    second: Sequence[Judgement],
    *,
    first_run: Run | None = None,
    second_run: Run | None = None,
) -> Comparison:
    """Compare two runs over the same examples; the test is statsmodels', kappa is scikit-learn's.

    A row without a verdict in either run has no part in it, so a run is not worse for having judged less: see the
    counts of `Evaluation.rows` and `at_worst` for that.

    Args:
        examples: what is known of the rows.
        first: the judgements of one run, one for each example, in any order.
        second: those of the other.
        first_run: what to call the first.
        second_run: what to call the second.

    Raises:
        ConfigurationError: if judgements do not fit the examples, or the libraries are not installed.
    """
    one, other = JudgedRows.of(examples, first), JudgedRows.of(examples, second)
    in_both = one.judged & other.judged
    labelled = in_both & (one.unsafe | one.safe)
    one_right, other_right = one.flagged == one.unsafe, other.flagged == one.unsafe
    table = [
        [int((labelled & mine & theirs).sum()) for theirs in (other_right, ~other_right)]
        for mine in (one_right, ~one_right)
    ]
    (both_right, first_only), (second_only, both_wrong) = table
    return Comparison(
        first=first_run or Run("first"),
        second=second_run or Run("second"),
        on="labelled rows judged in both",
        rows=int(labelled.sum()),
        both_right=both_right,
        first_only_right=first_only,
        second_only_right=second_only,
        both_wrong=both_wrong,
        p_value=_p_value(table) if labelled.any() else None,
        test="McNemar, exact",
        recall_difference=_difference(one, other, labelled & one.unsafe),
        false_positive_rate_difference=_difference(one, other, labelled & one.safe),
        agreement=share(one.flagged == other.flagged, in_both),
        kappa=_kappa(one.flagged[in_both], other.flagged[in_both]),
    )


def _p_value(table: Sequence[Sequence[int]]) -> float:
    test = library("statsmodels.stats.contingency_tables").mcnemar(table, exact=True)
    return float(test.pvalue)


def _difference(one: JudgedRows, other: JudgedRows, among: Flags) -> float | None:
    of = int(among.sum())
    return (int((other.flagged & among).sum()) - int((one.flagged & among).sum())) / of if of else None


def _kappa(one: Flags, other: Flags) -> float | None:
    said = {*one.tolist(), *other.tolist()}
    if len(said) < 2:  # noqa: PLR2004 - with one word, agreement by chance is complete and kappa is 0 / 0
        return None
    return float(library("sklearn.metrics").cohen_kappa_score(one, other, labels=[False, True]))
