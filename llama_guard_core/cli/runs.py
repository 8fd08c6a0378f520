"""A run over many rows from the command line: shown, interruptible, and told of in the end."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable

from llama_guard_core.bulk.judgements import Judgement
from llama_guard_core.bulk.moderation import Ask, Ended, Moderation, Row, Written
from llama_guard_core.bulk.tally import Tally
from llama_guard_core.cli.exit_codes import INTERRUPTED, OK, SOMETHING_IS_WRONG, STOPPED
from llama_guard_core.cli.interrupts import stopping_on_signals
from llama_guard_core.cli.printing import tell
from llama_guard_core.cli.progress import Progress
from llama_guard_core.errors import LlamaGuardError


async def carried_out(
    rows: Iterable[Row] | AsyncIterable[Row],
    written: Written,
    ask: Ask,
    *,
    progress: Progress,
    concurrency: int,
    limit_cost: float | None,
    tries: int | None = None,
) -> Moderation:
    """Judge the rows, until all are done or something ends it.

    Raises:
        ConfigurationError: if a setting or the input is wrong.
    """

    def advance(_: Judgement) -> None:
        progress.advance(written.tally)

    more = {} if tries is None else {"tries": tries}
    moderation = Moderation(rows, written, concurrency=concurrency, limit_cost=limit_cost, on_done=advance, **more)
    with progress, stopping_on_signals(moderation.stop):
        await moderation.run(ask)
    return moderation


def told_end(
    ended: Ended, tally: Tally, *, failure: LlamaGuardError | None, retry: str | None, anew: bool = False
) -> int:
    """Say how a run ended, and how to go on.

    Args:
        ended: why it ended.
        tally: what is done.
        failure: what failed, where that ended it.
        retry: what asks again about rows without a verdict; None where nothing is kept.
        anew: whether it was told to begin anew (`--overwrite`), which must not be said again.

    Returns:
        The exit code.
    """
    cost = f", ${tally.cost:,.4f}" if tally.priced else ""
    tell(f"{tally.rows:,} rows: {tally.unsafe:,} unsafe, {tally.unjudged:,} without a verdict{cost}")
    if ended != "complete":
        tell(_WHY[ended] + (f": {failure}" if failure else ""))
        again = "without --overwrite" if anew else "in the same way"
        tell(f"Started again {again} it goes on where it stopped." if retry else "Nothing is kept of it.")
        return INTERRUPTED if ended == "interrupted" else STOPPED
    if not tally.unjudged:
        return OK
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in tally.reasons.most_common())
    tell(f"Without a verdict, and so not safe: {reasons}." + (f" {retry} asks about them again." if retry else ""))
    return SOMETHING_IS_WRONG


_WHY: dict[Ended, str] = {
    "interrupted": "Interrupted; what was under way is written down",
    "cost_limit": "Stopped: the next row would go beyond --limit-cost",
    "host_failed": "Stopped: no verdicts can be had",
}
