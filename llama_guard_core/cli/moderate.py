"""`llama-guard moderate`: a file of rows in, a file of verdicts out."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import IO, Any

from llama_guard_core.bulk.file_runs import Input, Output
from llama_guard_core.bulk.moderation import Moderation, Row, Written
from llama_guard_core.bulk.streamed_output import StreamedOutput
from llama_guard_core.bulk.tables import read_rows
from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.cli.arriving_rows import as_they_come, standard_input
from llama_guard_core.cli.batched_runs import BatchedRun, add_batch_options, check_batch_options, through_batches
from llama_guard_core.cli.exit_codes import OK, STOPPED
from llama_guard_core.cli.guard_options import add_guard_options, add_run_options, many_checks_guard
from llama_guard_core.cli.printing import tell
from llama_guard_core.cli.progress import progress_of
from llama_guard_core.cli.runs import carried_out, told_end
from llama_guard_core.errors import ConfigurationError
from llama_guard_core.guardrail.images import ImageRules
from llama_guard_core.guardrail.verdict import Stage

_DESCRIPTION = """
Judges each row of a table. The output appears when it is whole, in the order of the input; until then a journal beside
it (OUTPUT.journal) has what is done. Killed or interrupted, and started again in the same way, it goes on: no row is
lost, none is in the output twice. Rows without a verdict have "safe": null, and are not safe. Exit code 0: every row
has a verdict. 1: all is done, and some have none. 2: it could not be run. 3: it stopped before the end. 130: it was
interrupted.
"""


def add_moderate(commands: Any) -> None:
    """Add the command to those of the program."""
    command: argparse.ArgumentParser = commands.add_parser(
        "moderate", help="judge the rows of a file: JSON Lines, CSV, TSV, Parquet", description=_DESCRIPTION
    )
    command.add_argument("input", metavar="INPUT", help="a file, or - for standard input")
    command.add_argument(
        "-o", "--output", default="-", metavar="FILE", help="standard output if left out, where nothing can be resumed"
    )
    formats = "jsonl, csv, tsv or parquet"
    command.add_argument("--input-format", metavar="FORMAT", help=f"{formats}; told by the suffix, or jsonl")
    command.add_argument("--output-format", metavar="FORMAT", help="as above")
    command.add_argument("--details", action="store_true", help="with tokens, cost, latency, provider and ids")
    of_rows = command.add_argument_group("the rows")
    for name, what in (
        ("prompt", "what a user says"),
        ("reply", "what was answered; judged in the place of the prompt where there is one"),
        ("messages", "whole conversations, as lists of messages or the JSON of one"),
        ("image", "pictures: paths below the input's folder, or addresses"),
    ):
        of_rows.add_argument(f"--{name}", metavar="COLUMN", help=f"{what}; found by its usual name if left out")
    of_rows.add_argument(
        "--keep", action="append", metavar="COLUMN", help="carried over; may be given again; id if left out"
    )
    stages = [stage.value for stage in Stage]
    of_rows.add_argument(
        "--stage", choices=stages, metavar="STAGE", help=f"what each row is ({', '.join(stages)}); told by the row"
    )
    of_rows.add_argument("--images-in", type=Path, metavar="FOLDER", help="where paths of pictures begin")
    of_rows.add_argument("--image-urls", choices=("pass", "fetch", "refuse"), default="pass", help="see ImageRules")
    add_guard_options(command)
    add_run_options(command)
    add_batch_options(command)
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    input_ = _input(options)
    input_.check()
    check_batch_options(options)
    guard = many_checks_guard(options, images={"urls": options.image_urls})
    if options.output == "-":
        return asyncio.run(_to_stream(guard, input_, options))
    output = Output(path=Path(options.output), format=options.output_format, details=options.details)
    output.check(input_)
    if options.overwrite:
        output.begin_anew()
    elif output.is_whole(input_):
        tell(f"{output.path} is there already, and whole: nothing was asked. --overwrite judges all of it again.")
        return OK
    return asyncio.run(_to_file(guard, input_, output, options))


def _input(options: argparse.Namespace) -> Input:
    names = {name: getattr(options, name) for name in ("prompt", "reply", "messages", "image", "keep")}
    return Input(
        source=_source(options.input),
        format=options.input_format,
        columns={name: value for name, value in names.items() if value is not None},
        stage=Stage(options.stage) if options.stage else None,
        images=options.images_in,
        image_rules=ImageRules(urls=options.image_urls),
    )


def _source(named: str) -> Path | IO[bytes]:
    if named == "-":
        return standard_input()
    path = Path(named)
    return path.open("rb") if path.is_fifo() else path  # which can be read once, like any stream


async def _to_file(guard: LlamaGuard, input_: Input, output: Output, options: argparse.Namespace) -> int:
    async with guard:
        with output.journal(guard, input_) as journal:
            if options.retry_failed:
                journal.forget_unjudged()
            run: Moderation | BatchedRun | None = None
            if options.batch:
                run = await through_batches(guard, input_, output, journal, options)
            if run is None or (run.ended == "complete" and options.batch_fallback):
                run = await _judged(guard, input_, journal, options)
            if run.ended == "complete":
                output.finish(journal)
            return told_end(
                run.ended, journal.tally, failure=run.failure, retry="--retry-failed", anew=options.overwrite
            )


async def _to_stream(guard: LlamaGuard, input_: Input, options: argparse.Namespace) -> int:
    form = options.output_format or "jsonl"
    if form not in ("jsonl", "csv", "tsv"):
        msg = "--output-format: standard output is jsonl, csv or tsv; name a file with -o for another"
        raise ConfigurationError(msg)
    output = StreamedOutput(sys.stdout.buffer, format=form, details=options.details)
    async with guard:
        try:
            moderation = await _judged(guard, input_, output, options, tries=1)
            output.finish()
        except BrokenPipeError:  # whoever read has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what Python would still write at its end
            return STOPPED
    return told_end(moderation.ended, output.tally, failure=moderation.failure, retry=None)


async def _judged(
    guard: LlamaGuard, input_: Input, written: Written, options: argparse.Namespace, *, tries: int | None = None
) -> Moderation:
    return await carried_out(
        _rows(input_),
        written,
        lambda questions: guard.acheck_many(questions, concurrency=options.concurrency, as_completed=True),
        progress=progress_of(options.progress, lambda: _count(input_)),
        concurrency=options.concurrency,
        limit_cost=options.limit_cost,
        tries=tries,
    )


def _rows(input_: Input) -> Iterator[Row] | AsyncGenerator[Row, None]:
    return input_.rows() if isinstance(input_.source, Path) else as_they_come(input_.rows())


def _count(input_: Input) -> int | None:
    if not isinstance(input_.source, Path):
        return None
    return sum(1 for _ in read_rows(input_.source, format=input_.format))
