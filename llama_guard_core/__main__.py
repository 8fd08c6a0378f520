"""The command line: `python -m llama_guard_core self-test` tells what a host can do and what is wrong with it."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from typing import NoReturn

from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.errors import ConfigurationError
from llama_guard_core.provider.embedded import Embedded
from llama_guard_core.provider.known_hosts import KNOWN_HOSTS, HostLike
from llama_guard_core.self_test.guard_probes import ProbeTexts
from llama_guard_core.self_test.report import SelfTest
from llama_guard_core.written import printable

_OK, _SOMETHING_IS_WRONG, _CANNOT_BE_RUN = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: its words; those of the process if left out.

    Returns:
        The exit code: 0 if all is well, 1 if a test found something wrong, 2 if it could not be run.
    """
    logging.getLogger("llama_guard_core").addHandler(logging.NullHandler())  # the report says what failed
    parser = _parser()
    options = parser.parse_args(argv)  # exits with 2 where it cannot read them
    try:
        report = _tested(options)
    except ConfigurationError as error:
        sys.stderr.write(f"{parser.prog}: {printable(str(error))}\n")
        return _CANNOT_BE_RUN
    _write(json.dumps(report.as_dict(), indent=2) if options.json else str(report))
    return _OK if report.ok else _SOMETHING_IS_WRONG


def _tested(options: argparse.Namespace) -> SelfTest:
    hosts: list[HostLike] = [*options.host, *(Embedded(path, model=options.model) for path in options.gguf)]
    host = hosts[0] if len(hosts) == 1 else hosts or None
    if options.chat:
        from llama_guard_core.self_test.chat_probes import chat_self_test  # noqa: PLC0415 (not needed for guards)

        return chat_self_test(host=host, base_url=options.base_url, model=options.model)
    told = {"harmless": options.harmless, "harmful": options.harmful, "refusal": options.refusal}
    texts = ProbeTexts(**{name: text for name, text in told.items() if text is not None})
    with LlamaGuard(
        host=host,
        base_url=options.base_url,
        model=options.model,
        version=options.version,
        raw_prompt=options.raw_prompt,
    ) as guard:
        return guard.self_test(texts)


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints hold nothing that a terminal acts on, though they quote what was typed."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and exit with 2."""
        super().error(printable(message))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m llama_guard_core",
        description="Guardrails judged by Llama Guard. Keys are read from the hosts' environment variables.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    test = commands.add_parser(
        "self-test",
        help="tell what a host of Llama Guard can do and what is wrong with it",
        description="Puts a few questions with known answers to a host. Exit code 1: something is wrong. 2: not run.",
    )
    of_host = test.add_argument_group("the host")
    of_host.add_argument(
        "--host",
        nargs="+",
        default=[],
        metavar="HOST",
        help=f"an address, or one of {', '.join(KNOWN_HOSTS)}; several are a failover list; OpenRouter if left out",
    )
    of_host.add_argument("--base-url", metavar="URL", help="where the host is, up to and including its /v1")
    of_host.add_argument("--gguf", nargs="+", default=[], metavar="FILE", help="a model file, to be served here")
    of_guard = test.add_argument_group("the guard")
    of_guard.add_argument("--model", metavar="ID", help="the model's id at the host")
    of_guard.add_argument("--version", type=int, choices=(1, 2, 3, 4), help="which Llama Guard it is")
    prompt = of_guard.add_mutually_exclusive_group()
    prompt.add_argument(
        "--raw-prompt", action="store_true", default=None, help="write the published prompt here, not at the host"
    )
    prompt.add_argument(
        "--template-prompt", action="store_false", dest="raw_prompt", help="leave the prompt to the host's template"
    )
    for name, what in (("harmless", "a harmless text"), ("harmful", "a harmful text"), ("refusal", "a refusal")):
        of_guard.add_argument(f"--{name}", metavar="TEXT", help=f"{what} that this guard knows as one")
    test.add_argument("--chat", action="store_true", help="test Llama 4 Scout at the host in place of a guard")
    test.add_argument("--json", action="store_true", help="print JSON in place of a table")
    return parser


def _write(text: str) -> None:
    """Print, with escapes for what the terminal's encoding lacks."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")


if __name__ == "__main__":
    sys.exit(main())
