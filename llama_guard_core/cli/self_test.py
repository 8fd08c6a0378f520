"""`llama-guard self-test`: what a host can do and what is wrong with it."""

from __future__ import annotations

import argparse
import json
from typing import Any

from llama_guard_core.cli.exit_codes import OK, SOMETHING_IS_WRONG
from llama_guard_core.cli.guard_options import add_guard_options, guard_of, host_of
from llama_guard_core.cli.printing import write
from llama_guard_core.self_test.guard_probes import ProbeTexts
from llama_guard_core.self_test.report import SelfTest


def add_self_test(commands: Any) -> None:
    """Add the command to those of the program."""
    command: argparse.ArgumentParser = commands.add_parser(
        "self-test",
        help="tell what a host of Llama Guard can do and what is wrong with it",
        description="Puts a few questions with known answers to a host. Exit code 1: something is wrong. 2: not run.",
    )
    of_guard = add_guard_options(command)
    for name, what in (("harmless", "a harmless text"), ("harmful", "a harmful text"), ("refusal", "a refusal")):
        of_guard.add_argument(f"--{name}", metavar="TEXT", help=f"{what} that this guard knows as one")
    command.add_argument("--chat", action="store_true", help="test Llama 4 Scout at the host in place of a guard")
    command.add_argument("--json", action="store_true", help="print JSON in place of a table")
    command.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    report = _tested(options)
    write(json.dumps(report.as_dict(), indent=2) if options.json else str(report))
    return OK if report.ok else SOMETHING_IS_WRONG


def _tested(options: argparse.Namespace) -> SelfTest:
    if options.chat:
        from llama_guard_core.self_test.chat_probes import chat_self_test  # noqa: PLC0415 (not needed for guards)

        return chat_self_test(host=host_of(options), base_url=options.base_url, model=options.model)
    told = {"harmless": options.harmless, "harmful": options.harmful, "refusal": options.refusal}
    texts = ProbeTexts(**{name: text for name, text in told.items() if text is not None})
    with guard_of(options) as guard:
        return guard.self_test(texts)
