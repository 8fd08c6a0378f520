"""What a run took: time, tokens, money."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from llama_guard_core.bulk.judgements import Judgement
from llama_guard_core.evaluation.libraries import library

_BINS = 40


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many values lie between one edge and the next.

    Attributes:
        edges: seconds, one more than there are counts.
        counts: the values from an edge on, up to the next; the last takes both its edges in.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from question to verdict, of the verdicts that were not cached.

    Retries and the wait for a place in line at the host are in it; it is the latency of this run, at its concurrency.
    """

    measured: int
    mean: float
    p50: float
    p90: float
    p99: float
    max: float
    histogram: Histogram


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens read and written; `None` where the host told none. Cached verdicts took none."""

    input: int | None
    output: int | None


@dataclass(frozen=True, slots=True)
class Cost:
    """US dollars, as the host says; only the rows with a price are in it.

    Attributes:
        total: of the rows with a price; `None` where there are none.
        per_thousand: of a thousand such rows.
        priced: how many rows have a price.
    """

    total: float | None
    per_thousand: float | None
    priced: int


def latency_of(judgements: Sequence[Judgement]) -> Latency | None:
    """The latency of the verdicts that tell it; `None` where none does."""
    np = library("numpy")
    told = [each.latency for each in judgements if each.outcome == "judged" and not each.cached]
    seconds = np.array([value for value in told if value is not None], dtype=float)
    if not len(seconds):
        return None
    longest = float(seconds.max())
    counts, edges = np.histogram(seconds, bins=_BINS, range=(0, longest or 1))
    p50, p90, p99 = (float(value) for value in np.quantile(seconds, (0.5, 0.9, 0.99)))
    histogram = Histogram(tuple(edges.tolist()), tuple(counts.tolist()))
    return Latency(len(seconds), float(seconds.mean()), p50, p90, p99, longest, histogram)


def tokens_of(judgements: Sequence[Judgement]) -> Tokens:
    """The tokens of all rows, verdict or not."""
    read = [each.input_tokens for each in judgements if each.input_tokens is not None]
    written = [each.output_tokens for each in judgements if each.output_tokens is not None]
    return Tokens(sum(read) if read else None, sum(written) if written else None)


def cost_of(judgements: Sequence[Judgement]) -> Cost:
    """What the rows with a price cost together."""
    prices = [each.cost for each in judgements if each.cost is not None]
    if not prices:
        return Cost(None, None, 0)
    total = math.fsum(prices)
    return Cost(total, 1000 * total / len(prices), len(prices))
