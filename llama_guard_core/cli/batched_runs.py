"""`llama-guard moderate --batch`: rows through the host's Batch API, in jobs that another process can pick up."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timezone

from llama_guard_core.bulk.batch_record import BatchRecord
from llama_guard_core.bulk.batch_rows import NotJudgedInBatch
from llama_guard_core.bulk.batched_checks import ajudged_in_batches
from llama_guard_core.bulk.batching import Batching
from llama_guard_core.bulk.file_runs import Input, Output
from llama_guard_core.bulk.journal import Journal
from llama_guard_core.bulk.moderation import Ended, Row, put_down
from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.cli.interrupts import stopping_on_signals
from llama_guard_core.cli.printing import tell
from llama_guard_core.errors import ConfigurationError, GuardUnavailable, LlamaGuardError, ProviderError
from llama_guard_core.guardrail.screening import Check
from llama_guard_core.provider.batch_flows import NotOfferedInBatch
from llama_guard_core.provider.batch_jobs import BatchJob


def add_batch_options(command: argparse.ArgumentParser) -> None:
    """Let a command be told to go through the host's Batch API."""
    of_batch = command.add_argument_group("the Batch API", "done within a day, at about half the price: docs/batch.md")
    of_batch.add_argument(
        "--batch", action="store_true", help="through the host's Batch API; started again, a run picks up its jobs"
    )
    of_batch.add_argument(
        "--batch-fallback",
        action="store_true",
        help="what is not offered or not judged in batch goes the ordinary way, at its price",
    )
    of_batch.add_argument(
        "--resubmit", action="store_true", help="submit again what the host may have: it may be paid twice"
    )


def check_batch_options(options: argparse.Namespace) -> None:
    """Refuse what cannot go together.

    Raises:
        ConfigurationError: saying what.
    """
    if not options.batch:
        if options.batch_fallback or options.resubmit:
            msg = "--batch-fallback and --resubmit are for --batch: give that, too"
            raise ConfigurationError(msg)
        return
    if options.output == "-":
        msg = "--batch needs a file for its output (-o): a day later the ids of its jobs have to be found beside it"
        raise ConfigurationError(msg)
    if options.limit_cost is not None:
        msg = "--limit-cost: what a batch costs is told when it is over; leave the limit or --batch out"
        raise ConfigurationError(msg)


@dataclass(frozen=True, slots=True)
class BatchedRun:
    """How rows fared in batches.

    Attributes:
        ended: why it ended. Complete does not say that each row is done: some may be left for the ordinary way.
        failure: what the host failed with, where that ended it.
    """

    ended: Ended
    failure: LlamaGuardError | None = None


async def through_batches(
    guard: LlamaGuard, input_: Input, output: Output, journal: Journal, options: argparse.Namespace
) -> BatchedRun:
    """Have the rows that are not done judged in batches, and write down what comes of them.

    Raises:
        ConfigurationError: if the model is not offered in batch and nothing else is asked for; if the input is wrong.
    """
    if options.retry_failed:
        output.batches_path.unlink(missing_ok=True)  # its jobs are over, and rows that failed in them would again
    judging = asyncio.ensure_future(_judged(guard, input_, output, journal, options))

    def stop() -> None:
        judging.cancel()

    try:
        with stopping_on_signals(stop):
            await judging
    except asyncio.CancelledError:
        return BatchedRun("interrupted")
    except ProviderError as error:
        return BatchedRun("host_failed", error)
    return BatchedRun("complete")


async def _judged(
    guard: LlamaGuard, input_: Input, output: Output, journal: Journal, options: argparse.Namespace
) -> None:
    under_way: dict[int, Row] = {}

    def questions() -> Iterator[tuple[int, Check]]:
        for row in input_.rows():
            if journal.has(row.index, row.digest):
                continue
            if isinstance(row.question, GuardUnavailable):
                put_down(journal, row, row.question)
                continue
            under_way[row.index] = row
            yield row.index, row.question

    outcomes = ajudged_in_batches(
        guard,
        questions(),
        record=BatchRecord(output.batches_path),
        batching=Batching(resubmits_doubtful=options.resubmit),
        on_job=_tell_job,
    )
    try:
        async with aclosing(outcomes):
            async for index, outcome in outcomes:
                row = under_way.pop(index)
                if not (options.batch_fallback and isinstance(outcome, NotJudgedInBatch)):
                    put_down(journal, row, outcome)
    except NotOfferedInBatch as error:
        if not options.batch_fallback:
            raise
        tell(f"{error} It goes the ordinary way.")


def _tell_job(job: BatchJob) -> None:
    counted = f", {job.completed or 0:,} of {job.total:,} done" if job.total else ""
    until = ""
    if job.expires_at and not job.is_over:
        until = f", until {datetime.fromtimestamp(job.expires_at, timezone.utc):%Y-%m-%d %H:%M} UTC at the latest"
    tell(f"batch {job.id}: {job.status}{counted}{until}")
