"""What the commands print: never a character that a terminal acts on, nor one that it has not."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

from llama_guard_core.written import printable


class Parser(argparse.ArgumentParser):
    """A parser whose complaints hold nothing that a terminal acts on, though they quote what was typed."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and exit with 2."""
        super().error(printable(message))


def write(text: str) -> None:
    """Print, with escapes for what the terminal's encoding lacks."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def tell(text: str) -> None:
    """Print a line beside the output, to standard error."""
    encoding = sys.stderr.encoding or "utf-8"
    sys.stderr.write(printable(text).encode(encoding, "backslashreplace").decode(encoding) + "\n")
    sys.stderr.flush()
