"""A guard put to a data set: every example judged, and the figures of that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from llama_guard_core.bulk.file_runs import settings_of
from llama_guard_core.bulk.journal import Journal, digest_of, read_journal
from llama_guard_core.bulk.judgements import Judgement
from llama_guard_core.bulk.moderation import Row
from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.errors import ConfigurationError
from llama_guard_core.evaluation.comparison import Run, compared
from llama_guard_core.evaluation.dataset import Dataset, Example
from llama_guard_core.evaluation.figures import Evaluation, evaluated
from llama_guard_core.evaluation.published import PUBLISHED
from llama_guard_core.guardrail.screening import Check


def evaluate(
    guard: LlamaGuard, dataset: Dataset, *, policy: str | None = None, concurrency: int = 32, worst: int = 50
) -> Evaluation:
    """Judge a data set, and tell the figures.

    All is held in memory and nothing is kept: for a run that can be resumed, use `llama-guard evaluate`.

    Args:
        guard: the guard. Of its policy it matters alone which hazards are asked about.
        dataset: see `read_dataset`.
        policy: a short word for the guard's policy, to tell it from others in a report.
        concurrency: checks under way at once.
        worst: how many disagreements to give at most.

    Raises:
        ConfigurationError: if nothing can be judged, or the libraries are not installed
            (`pip install "llama-guardrails[evaluation]"`).
    """
    checks = guard.check_many(questions_of(dataset.examples), concurrency=concurrency)
    judgements = [_judgement(dataset.examples, checked.index, checked.outcome) for checked in checks]
    return figures_of(dataset, judgements, run_of(guard, dataset, policy), worst=worst)


async def aevaluate(
    guard: LlamaGuard, dataset: Dataset, *, policy: str | None = None, concurrency: int = 32, worst: int = 50
) -> Evaluation:
    """Judge a data set, and tell the figures; see `evaluate`."""
    checks = guard.acheck_many(questions_of(dataset.examples), concurrency=concurrency)
    judgements = [_judgement(dataset.examples, checked.index, checked.outcome) async for checked in checks]
    return figures_of(dataset, judgements, run_of(guard, dataset, policy), worst=worst)


def questions_of(examples: Sequence[Example]) -> Iterator[Check]:
    """What is asked about each example."""
    return (Check(example.stage, example.conversation) for example in examples)


def rows_of(examples: Sequence[Example]) -> Iterator[Row]:
    """The examples as rows of a run."""
    for index, question in enumerate(questions_of(examples)):
        yield Row(index, question, {"id": examples[index].id})


def run_of(guard: LlamaGuard, dataset: Dataset, policy: str | None) -> Run:
    """Whose figures they are."""
    return Run(dataset.name, guard.model, ", ".join(guard.host_names), policy)


def figures_of(
    dataset: Dataset, judgements: Sequence[Judgement], run: Run, *, worst: int = 50, made: datetime | None = None
) -> Evaluation:
    """The figures of a run over a data set, dated.

    Args:
        dataset: what was judged.
        judgements: what came of each example.
        run: whose they are.
        worst: how many disagreements to give at most.
        made: when the run was made; now, if left out.
    """
    moment = (made or datetime.now(timezone.utc)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return evaluated(
        dataset.examples,
        judgements,
        name=run.name,
        model=run.model,
        host=run.host,
        policy=run.policy,
        made=moment,
        worst=worst,
    )


def verdicts_of(path: Path, guard: LlamaGuard, dataset: Dataset, policy: str | None) -> Journal:
    """The file that a run's verdicts are kept in, to go on with it, and to compare it with others; to be entered."""
    run = run_of(guard, dataset, policy)
    return Journal(path, {**settings_of(guard), "data": dataset.name, "host": run.host, "policy": policy})


def check_no_others(journal: Journal, dataset: Dataset) -> None:
    """Refuse to go on with a run that has verdicts of rows that the data set has no longer.

    Raises:
        ConfigurationError: saying what to do.
    """
    if any(judgement.row >= len(dataset.examples) for judgement in journal.judgements()):
        msg = (
            f"{journal.path} has verdicts of more rows than this data set has now: put the old data back, or begin "
            "anew with --overwrite"
        )
        raise ConfigurationError(msg)


def kept_run(path: Path, dataset: Dataset) -> tuple[Run, list[Judgement]]:
    """The verdicts of an earlier run over the same data set.

    Raises:
        ConfigurationError: if they are of other data, of more, or not of all of it.
    """
    settings, rows = read_journal(path)
    digests = dict(enumerate(digest_of(question) for question in questions_of(dataset.examples)))
    if digests != {row: digest for row, (digest, _) in rows.items()}:
        msg = (
            f"{path} has not the verdicts of just the rows that this data set has now, all of them and no others: let "
            "that run end on this data"
        )
        raise ConfigurationError(msg)
    told = {name: settings.get(name) for name in ("model", "host", "policy")}
    return Run(dataset.name, **told), [rows[row][1] for row in range(len(digests))]


def report_of(dataset: Dataset, runs: Sequence[tuple[Run, Sequence[Judgement]]], *, worst: int = 50) -> dict[str, Any]:
    """What a report is made from: the figures of each run, each further one compared with the first, and Meta's own.

    Args:
        dataset: what was judged.
        runs: the runs and what came of each example.
        worst: how many disagreements to give at most.
    """
    first, *others = runs
    comparisons = [
        compared(dataset.examples, first[1], judgements, first_run=first[0], second_run=run)
        for run, judgements in others
    ]
    return {
        "evaluations": [
            {**figures_of(dataset, judgements, run, worst=worst).as_dict(), **_about(dataset)}
            for run, judgements in runs
        ],
        "comparisons": [each.as_dict() for each in comparisons],
        "published": [each.as_dict() for each in PUBLISHED],
    }


def texts_of(dataset: Dataset, report: Mapping[str, Any]) -> dict[str, str]:
    """The judged texts of the disagreements of a report, by id. Keep them from where they do not belong."""
    shown = {each["id"] for evaluation in report["evaluations"] for each in evaluation["disagreements"]}
    return {
        example.id: "\n\n".join(f"[{message.role}] {message.text}" for message in example.conversation)
        for example in dataset.examples
        if example.id in shown
    }


def _about(dataset: Dataset) -> dict[str, Any]:
    """What the figures of a data set do not say."""
    left_out = [f"{count} rows are left out: {reason}" for reason, count in dataset.left_out.items()]
    return {"remarks": [*dataset.mapping.remarks, *left_out, *dataset.warnings]}


def _judgement(examples: Sequence[Example], index: int, outcome: Any) -> Judgement:
    example = examples[index]
    return Judgement.of(index, outcome, stage=example.stage, kept={"id": example.id})
