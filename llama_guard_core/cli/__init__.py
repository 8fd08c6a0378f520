"""The command line: `llama-guard self-test`, `moderate`, `evaluate`, `report`, `batch`."""

from llama_guard_core.cli.command_line import main

__all__ = ["main"]
