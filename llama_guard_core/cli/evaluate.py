"""`llama-guard evaluate`: how good a guard is on data whose answers are known."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Any

from llama_guard_core.bulk.journal import remove_journal
from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.cli.exit_codes import INTERRUPTED, STOPPED
from llama_guard_core.cli.guard_options import add_guard_options, add_run_options, many_checks_guard
from llama_guard_core.cli.printing import tell
from llama_guard_core.cli.progress import progress_of
from llama_guard_core.cli.reports import check_forms, write_reports
from llama_guard_core.cli.runs import carried_out, told_end
from llama_guard_core.errors import ConfigurationError

_NEEDED = ("numpy", "sklearn", "statsmodels")
_NEEDED_FOR_HTML = ("jinja2", "matplotlib")
_DESCRIPTION = """
Judges the rows of a data set and tells recall, false-positive rate, precision, F1 and more, with intervals, also by
hazard. Verdicts are kept in a file as they come, so that a run that was killed or interrupted goes on when it is
started again, and so that runs can be compared. Exit codes are those of moderate.
"""


def add_evaluate(commands: Any) -> None:
    """Add the command to those of the program."""
    command: argparse.ArgumentParser = commands.add_parser(
        "evaluate", help="tell how good a guard is on data whose answers are known", description=_DESCRIPTION
    )
    command.add_argument(
        "--data", nargs="+", required=True, metavar="PATH", help="the data set: a folder, files, or a pattern"
    )
    command.add_argument(
        "--mapping",
        required=True,
        metavar="FILE|NAME",
        help="what the files hold: a JSON file (docs/evaluation.md), or the name of a public set, such as xstest",
    )
    command.add_argument(
        "-o",
        "--output",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="a report: .html, .md or .json; may be given again. Left out, Markdown is printed",
    )
    command.add_argument(
        "--verdicts",
        type=Path,
        metavar="FILE",
        help="where verdicts are kept; beside the first report as NAME.verdicts if left out",
    )
    command.add_argument(
        "--compare", nargs="+", default=[], type=Path, metavar="FILE", help="kept verdicts of other runs on this data"
    )
    command.add_argument("--name-policy", metavar="WORD", help="what to call the policy in the report")
    command.add_argument("--worst", type=int, default=50, metavar="N", help="disagreements to list at most (50)")
    command.add_argument(
        "--no-texts", action="store_true", help="leave the judged texts of disagreements out of the HTML report"
    )
    add_guard_options(command)
    add_run_options(command)
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    from llama_guard_core.evaluation.dataset import read_dataset  # noqa: PLC0415 (for this command alone)
    from llama_guard_core.evaluation.libraries import check_libraries  # noqa: PLC0415 (as above)

    check_forms(options.output)
    check_libraries(*_NEEDED, *(_NEEDED_FOR_HTML if any(path.suffix == ".html" for path in options.output) else ()))
    if options.worst < 0:
        msg = "--worst: 0 or more disagreements can be listed"
        raise ConfigurationError(msg)
    dataset = read_dataset(options.data[0] if len(options.data) == 1 else options.data, options.mapping)
    for warning in dataset.warnings:
        tell(f"{dataset.name}: {warning}")
    if options.policy and not options.name_policy:
        options.name_policy = Path(options.policy).stem
    return asyncio.run(_judged(many_checks_guard(options), dataset, options))


async def _judged(guard: LlamaGuard, dataset: Any, options: argparse.Namespace) -> int:
    from llama_guard_core.evaluation import runs  # noqa: PLC0415 (as above)

    others = [runs.kept_run(path, dataset) for path in options.compare]
    verdicts = options.verdicts or _beside(options.output, dataset.name)
    if options.overwrite:
        remove_journal(verdicts)
    async with guard:
        with runs.verdicts_of(verdicts, guard, dataset, options.name_policy) as journal:
            runs.check_no_others(journal, dataset)
            if options.retry_failed:
                journal.forget_unjudged()
            moderation = await carried_out(
                runs.rows_of(dataset.examples),
                journal,
                lambda questions: guard.acheck_many(questions, concurrency=options.concurrency, as_completed=True),
                progress=progress_of(options.progress, lambda: len(dataset.examples)),
                concurrency=options.concurrency,
                limit_cost=options.limit_cost,
            )
            code = told_end(
                moderation.ended,
                journal.tally,
                failure=moderation.failure,
                retry="--retry-failed",
                anew=options.overwrite,
            )
            if code in (INTERRUPTED, STOPPED):
                return code
            run = runs.run_of(guard, dataset, options.name_policy), list(journal.judgements())
    _report(dataset, [run, *others], options)
    return code


def _report(dataset: Any, runs: Any, options: argparse.Namespace) -> None:
    from llama_guard_core.evaluation.runs import report_of, texts_of  # noqa: PLC0415 (as above)

    report = report_of(dataset, runs, worst=options.worst)
    texts = None if options.no_texts else texts_of(dataset, report)
    write_reports(report, options.output, texts)


def _beside(outputs: list[Path], name: str) -> Path:
    return outputs[0].with_suffix(".verdicts") if outputs else Path(f"{name}.verdicts")
