"""The rows where the verdict is not what the label says."""

from __future__ import annotations

from dataclasses import dataclass

from llama_guard_core.evaluation.judged_rows import JudgedRows
from llama_guard_core.evaluation.libraries import library


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A judged row whose verdict is not its label, without its text.

    Attributes:
        row: its place in the data set, from 0.
        id: its name in the data set.
        unsafe: the label.
        said_unsafe: the verdict.
        categories: the codes that were named.
        accepted: the codes that would have been right, best first; `None` where that is not known.
        score: the probability of `unsafe`, where the host tells it.
        stage: what was judged.
    """

    row: int
    id: str
    unsafe: bool
    said_unsafe: bool
    categories: tuple[str, ...]
    accepted: tuple[str, ...] | None
    score: float | None
    stage: str


def disagreements_of(rows: JudgedRows, most: int) -> tuple[tuple[Disagreement, ...], int]:
    """The worst disagreements, and how many there are in all.

    First those with a score, the furthest from the label first; then the others; each in the order of the data.

    Args:
        rows: the joined rows.
        most: how many to give at most.
    """
    np = library("numpy")
    places = np.flatnonzero(rows.judged & (rows.unsafe | rows.safe) & (rows.flagged != rows.unsafe))
    distance = np.abs(rows.scores[places] - rows.unsafe[places])
    worst_first = places[np.argsort(-distance, kind="stable")]  # what is not a number comes last
    return tuple(_disagreement(rows, int(place)) for place in worst_first[:most]), len(places)


def _disagreement(rows: JudgedRows, place: int) -> Disagreement:
    example, judgement = rows.examples[place], rows.judgements[place]
    return Disagreement(
        row=place,
        id=example.id,
        unsafe=bool(rows.unsafe[place]),
        said_unsafe=bool(rows.flagged[place]),
        categories=judgement.categories,
        accepted=example.accepted,
        score=judgement.score,
        stage=example.stage.value,
    )
