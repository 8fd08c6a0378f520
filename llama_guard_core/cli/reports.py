"""Reports as files: HTML, Markdown, JSON; and `llama-guard report`, which renders saved ones."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llama_guard_core.bulk.tables import write_text
from llama_guard_core.cli.exit_codes import OK
from llama_guard_core.cli.printing import tell, write
from llama_guard_core.errors import ConfigurationError


def add_report(commands: Any) -> None:
    """Add the command that renders a saved report to those of the program."""
    command: argparse.ArgumentParser = commands.add_parser(
        "report",
        help="put saved reports side by side, as HTML, Markdown or JSON",
        description="Renders reports that evaluate wrote as JSON. They hold no judged texts.",
    )
    command.add_argument("reports", nargs="+", type=Path, metavar="JSON", help="reports of evaluate")
    command.add_argument(
        "-o", "--output", action="append", default=[], type=Path, metavar="FILE", help="as in evaluate"
    )
    command.set_defaults(run=_render)


def check_forms(paths: Sequence[Path]) -> None:
    """Refuse files that no report can be, before anything is asked for one.

    Raises:
        ConfigurationError: naming the file.
    """
    for path in paths:
        _form_of(path)
        if not path.parent.is_dir():
            msg = f"there is no folder {path.parent}: make it first"
            raise ConfigurationError(msg)


def write_reports(report: Mapping[str, Any], paths: list[Path], texts: Mapping[str, str] | None) -> None:
    """Write a report in the forms that the suffixes of the files say; print it as Markdown if there are none.

    Args:
        report: the report, as JSON values.
        paths: the files.
        texts: judged texts by id, for HTML alone.
    """
    from llama_guard_core.evaluation.report import as_html, as_markdown  # noqa: PLC0415 (as above)

    for path in paths:
        form = _form_of(path)
        if form == ".html":
            write_text(path, as_html(report, texts=texts))
        elif form == ".md":
            write_text(path, as_markdown(report))
        else:
            write_text(path, json.dumps(report, indent=2) + "\n")
        tell(f"{path} is written")
    if not paths:
        write(as_markdown(report))


def _render(options: argparse.Namespace) -> int:
    check_forms(options.output)
    merged: dict[str, list[Any]] = {"evaluations": [], "comparisons": [], "published": []}
    for report in map(_saved, options.reports):
        for name, parts in merged.items():
            parts.extend(each for each in report[name] if each not in parts)
    write_reports(merged, options.output, None)
    return OK


def _saved(path: Path) -> Mapping[str, list[Any]]:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        return {name: [*report[name]] for name in ("evaluations", "comparisons", "published")}
    except (OSError, ValueError, KeyError, TypeError):
        msg = f"{path} is no report that evaluate wrote as JSON"
        raise ConfigurationError(msg) from None


def _form_of(path: Path) -> str:
    if path.suffix.lower() not in (".html", ".md", ".json"):
        msg = f"{path}: a report is an .html, .md or .json file"
        raise ConfigurationError(msg)
    return path.suffix.lower()
