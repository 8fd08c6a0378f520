"""The command line's words, and what runs for them."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from llama_guard_core.cli.batch import add_batch
from llama_guard_core.cli.evaluate import add_evaluate
from llama_guard_core.cli.exit_codes import CANNOT_BE_RUN, INTERRUPTED, STOPPED
from llama_guard_core.cli.moderate import add_moderate
from llama_guard_core.cli.printing import Parser, tell
from llama_guard_core.cli.reports import add_report
from llama_guard_core.cli.self_test import add_self_test
from llama_guard_core.errors import ConfigurationError

_COMMANDS = (add_self_test, add_moderate, add_evaluate, add_report, add_batch)


def parser(prog: str = "llama-guard") -> Parser:
    """What reads the words of all commands."""
    words = Parser(
        prog=prog,
        description="Guardrails judged by Llama Guard. Keys are read from the hosts' environment variables.",
    )
    commands = words.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add_command in _COMMANDS:
        add_command(commands)
    return words


def main(argv: Sequence[str] | None = None, *, prog: str = "llama-guard") -> int:
    """Run a command.

    Args:
        argv: its words; those of the process if left out.
        prog: how the program is called in what it says.

    Returns:
        The exit code: 0 if all is well; 1 if it was done and something is wrong; 2 if it could not be run; 3 if it
        stopped before the end; 130 if it was interrupted.
    """
    logging.getLogger("llama_guard_core").addHandler(logging.NullHandler())  # the commands say what failed
    options = parser(prog).parse_args(argv)  # exits with 2 where it cannot read them
    try:
        code: int = options.run(options)
    except ConfigurationError as error:
        tell(f"{prog}: {error}")
        return CANNOT_BE_RUN
    except OSError as error:  # of files: what a host's connection fails with is told otherwise
        where = f"{error.filename}: " if error.filename else ""
        tell(
            f"{prog}: {where}{error.strerror or type(error).__name__}: make room, or see who may write, and start again"
        )
        return STOPPED
    except KeyboardInterrupt:
        return INTERRUPTED
    return code
