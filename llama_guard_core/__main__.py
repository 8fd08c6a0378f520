"""The command line without its script: `python -m llama_guard_core` is `llama-guard`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from llama_guard_core.cli import command_line


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; see `llama_guard_core.cli.main`."""
    return command_line.main(argv, prog="python -m llama_guard_core")


if __name__ == "__main__":
    sys.exit(main())
