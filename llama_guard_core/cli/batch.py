"""`llama-guard batch`: the jobs that a key's workspace has at a host's Batch API."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from llama_guard_core.bulk.tables import write_records
from llama_guard_core.cli.exit_codes import OK, SOMETHING_IS_WRONG
from llama_guard_core.cli.printing import tell, write
from llama_guard_core.errors import ProviderError
from llama_guard_core.provider.batch_client import BatchClient
from llama_guard_core.provider.batch_jobs import BatchJob
from llama_guard_core.provider.batch_results import BatchResult
from llama_guard_core.provider.connection import Connection
from llama_guard_core.provider.known_hosts import KNOWN_HOSTS, chosen_hosts
from llama_guard_core.provider.wire import Completion
from llama_guard_core.written import printable


def add_batch(commands: Any) -> None:
    """Add the command to those of the program."""
    command: argparse.ArgumentParser = commands.add_parser(
        "batch",
        help="list, show, fetch, cancel and delete jobs of a host's Batch API",
        description="`moderate --batch` submits jobs and fetches their results; this is for looking after them.",
    )
    command.add_argument("--host", metavar="HOST", help=f"one of {', '.join(KNOWN_HOSTS)}; OpenRouter if left out")
    command.add_argument("--base-url", metavar="URL", help="where the host is, up to and including its /v1")
    actions = command.add_subparsers(title="actions", metavar="ACTION", required=True)
    for name, action, what in (
        ("list", _list, "the jobs, the newest first"),
        ("show", _show, "how far a job is"),
        ("fetch", _fetch, "write what came of each request of a job to a file: replies are text of the model's"),
        ("cancel", _cancel, "have the rest of a job not be done; OpenRouter documents no way, OpenAI's is tried"),
        ("delete", _delete, "delete a job that is over, with its results"),
    ):
        of_action = actions.add_parser(name, help=what, description=what)
        if name != "list":
            of_action.add_argument("job", metavar="ID")
        if name == "fetch":
            of_action.add_argument(
                "-o", "--output", type=Path, required=True, metavar="FILE", help="jsonl, csv, parquet"
            )
        of_action.set_defaults(run=_run, action=action)


def _run(options: argparse.Namespace) -> int:
    [host] = chosen_hosts(options.host, options.base_url)
    action: Callable[[BatchClient, argparse.Namespace], int] = options.action
    with BatchClient(Connection(host=host)) as client:
        try:
            return action(client, options)
        except ProviderError as error:
            tell(f"llama-guard batch: {error}")
            return SOMETHING_IS_WRONG


def _list(client: BatchClient, _: argparse.Namespace) -> int:
    for job in client.jobs():
        write(_line(job))
    return OK


def _show(client: BatchClient, options: argparse.Namespace) -> int:
    write(_line(client.job(options.job)))
    return OK


def _cancel(client: BatchClient, options: argparse.Namespace) -> int:
    write(_line(client.cancel(options.job)))
    return OK


def _delete(client: BatchClient, options: argparse.Namespace) -> int:
    client.delete(options.job)
    write(f"{printable(options.job)} is deleted")
    return OK


def _fetch(client: BatchClient, options: argparse.Namespace) -> int:
    results = client.results(options.job)
    write_records(options.output, map(_record, results))
    failed = sum(not isinstance(result.outcome, Completion) for result in results)
    write(f"{options.output}: {len(results):,} results, {failed:,} of them failures")
    return SOMETHING_IS_WRONG if failed else OK


def _record(result: BatchResult) -> Mapping[str, Any]:
    told = result.outcome
    if isinstance(told, Completion):
        usage = told.usage
        return {
            "custom_id": result.custom_id,
            "text": told.text,
            "reason": None,
            "finish_reason": told.finish_reason,
            "input_tokens": usage.input_tokens if usage else None,
            "output_tokens": usage.output_tokens if usage else None,
            "cost": usage.cost if usage else None,
        }
    nothing = dict.fromkeys(("finish_reason", "input_tokens", "output_tokens", "cost"))
    return {"custom_id": result.custom_id, "text": None, "reason": told.reason, **nothing}


def _line(job: BatchJob) -> str:
    parts = [
        job.id,
        job.status,
        f"{job.completed or 0} of {job.total} done" if job.total else "",
        f"{job.failed} failed" if job.failed else "",
        job.model or "",
        _moment("made", job.created_at),
        _moment("until", job.expires_at) if not job.is_over else "",
        f"${job.cost:.4f}" if job.cost is not None else "",
    ]
    return printable("  ".join(filter(None, parts)))


def _moment(word: str, at: float | None) -> str:
    return f"{word} {datetime.fromtimestamp(at, timezone.utc):%Y-%m-%d %H:%M} UTC" if at else ""
