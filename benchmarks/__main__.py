"""Measure everything on this machine and print the ratios: `python -m benchmarks --help`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from pathlib import Path

from benchmarks.bulk import bulk_experiments
from benchmarks.calls import call_experiments
from benchmarks.local_host import LocalHost
from benchmarks.measuring import Experiment
from benchmarks.report import as_json, as_markdown
from benchmarks.start_up import construction_experiment, import_experiments

_PARTS = ("calls", "bulk", "start-up")
# A proxy would stand between us and the local host, a tracer would send every call to a service.
MISLEADING = ("http_proxy", "https_proxy", "all_proxy", "langsmith_tracing", "langchain_tracing_v2")


async def _experiments(parts: list[str], rounds: int, *, alone: bool) -> list[Experiment]:
    experiments: list[Experiment] = []
    with LocalHost() as host:
        if "calls" in parts:
            experiments += await call_experiments(host, rounds)
        if "bulk" in parts:
            experiments += await bulk_experiments(host, max(1, rounds // 3), alone=alone)
    if "start-up" in parts:
        experiments += [*await import_experiments(rounds), await construction_experiment(rounds)]
    return experiments


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"what to measure: {', '.join(_PARTS)}; all unless given"
    )
    parser.add_argument("--rounds", type=int, default=9, help="how often everybody is measured in turn (%(default)s)")
    parser.add_argument("--alone", action="store_true", help="bulk: take samples again that others disturbed (Linux)")
    parser.add_argument("--markdown", type=Path, help="write the tables to this file, too")
    parser.add_argument("--json", type=Path, help="write every sample to this file")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(_PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    return arguments


def main() -> None:
    """Measure, print, and write the files that were asked for."""
    arguments = _arguments()
    for name in [name for name in os.environ if name.lower() in MISLEADING]:
        del os.environ[name]
    experiments = asyncio.run(_experiments(arguments.parts or list(_PARTS), arguments.rounds, alone=arguments.alone))
    report = as_markdown(experiments)
    print(report)
    if arguments.markdown:
        arguments.markdown.write_text(report + "\n", encoding="utf-8")
    if arguments.json:
        arguments.json.write_text(json.dumps(as_json(experiments), indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
