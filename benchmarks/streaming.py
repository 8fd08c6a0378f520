"""Measure guarded streams on a host with set latencies: `python -m benchmarks.streaming --help`."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from typing_extensions import Self

from benchmarks.__main__ import MISLEADING
from benchmarks.streaming_cases import BAD, FAST, HARMFUL, HARMLESS, LATE, MOST_TOKENS, Case, Seen, cases, watch
from benchmarks.streaming_host import StreamingHost
from benchmarks.streaming_report import Results, as_json, as_markdown
from benchmarks.streaming_runs import Measured, Run
from benchmarks.streaming_subjects import subjects

Watch = Callable[[Case], Awaitable[Seen]]
"""Asks one subject about a case, and says what its consumer saw."""

_NAMES = (HARMLESS, BAD, HARMFUL, FAST, LATE)
_PATIENCE_SECONDS = 60


class Peers:
    """The guards of others, in a process and an environment of their own."""

    def __init__(self, python: Path, base_url: str) -> None:
        self._command = (str(python), "-m", "benchmarks.streaming_peers", base_url)
        self.versions: Mapping[str, str] = {}
        self.subjects: Mapping[str, Watch] = {}

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(*self._command, stdin=pipe, stdout=pipe)
        who = json.loads(await self._line())
        self.versions = who["versions"]
        self.subjects = {name: partial(self._watch, name) for name in who["subjects"]}
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await asyncio.wait_for(self._process.communicate(b""), _PATIENCE_SECONDS)
        except asyncio.TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def _watch(self, subject: str, case: Case) -> Seen:
        assert self._process.stdin is not None
        order = json.dumps({"subject": subject, "case": case.as_dict()})
        self._process.stdin.write(f"{order}\n".encode())
        return Seen(*json.loads(await self._line()))

    async def _line(self) -> bytes:
        assert self._process.stdout is not None
        if line := await asyncio.wait_for(self._process.stdout.readline(), _PATIENCE_SECONDS):
            return line
        msg = "the peers' process has ended"
        raise RuntimeError(msg)


async def _results(wanted: Sequence[Case], rounds: int, python: Path) -> Results:
    async with AsyncExitStack() as closing:
        host = closing.enter_context(StreamingHost())
        watches: dict[str, Watch] = {
            name: partial(watch, ask) for name, ask in subjects(host.base_url, closing).items()
        }
        results = Results()
        if python.exists():  # noqa: ASYNC240 (nothing waits for it)
            peers = await closing.enter_async_context(Peers(python, host.base_url))
            watches |= peers.subjects
            results.peers = peers.versions
        else:
            results.missing = f"NOT MEASURED: the peers. There is no {python}; `make .venv-peers/ready` sets it up."
        for case in wanted:
            results.measured.append(await _measured(case, watches, host, rounds))
    return results


async def _measured(case: Case, watches: Mapping[str, Watch], host: StreamingHost, rounds: int) -> Measured:
    """Ask everybody once a round, beginning with another one each time; the first time does not count."""
    measured, order = Measured(case, {name: [] for name in watches}), list(watches)
    for number in range(rounds + 1):
        first = number % len(order)
        for name in (*order[first:], *order[:first]):
            gc.collect()
            host.expect(case)
            run = Run(await watches[name](case), await host.counts())
            if number:
                measured.runs[name].append(run)
    return measured


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streaming", description=__doc__)
    parser.add_argument(
        "cases", nargs="*", metavar="CASE", help=f"what to measure: {', '.join(map(repr, _NAMES))}; all unless given"
    )
    usual = Case("usual")
    parser.add_argument("--rounds", type=int, default=5, help="how often everybody is asked in turn (%(default)s)")
    parser.add_argument("--guard-ms", type=float, default=usual.guard_ms, help="latency of a check (%(default)g)")
    parser.add_argument(
        "--first-token-ms", type=float, default=usual.first_token_ms, help="until a reply begins (%(default)g)"
    )
    parser.add_argument("--per-second", type=float, default=usual.per_second, help="tokens a second (%(default)g)")
    parser.add_argument("--tokens", type=int, default=usual.tokens, help="length of a reply (%(default)s)")
    parser.add_argument("--marker", type=int, default=30, help="harmless tokens before the bad one (%(default)s)")
    parser.add_argument(
        "--peers", type=Path, default=Path(".venv-peers/bin/python"), help="the interpreter of the peers (%(default)s)"
    )
    parser.add_argument("--markdown", type=Path, help="write the tables to this file, too")
    parser.add_argument("--json", type=Path, help="write every run to this file")
    arguments = parser.parse_args()
    if unknown := set(arguments.cases) - set(_NAMES):
        parser.error(f"there is no case {', '.join(sorted(unknown))}")
    if not 0 < arguments.marker < arguments.tokens <= MOST_TOKENS:
        parser.error(f"the marker must be within the reply, and the reply within {MOST_TOKENS} tokens")
    return arguments


def main() -> None:
    """Measure, print, and write the files that were asked for."""
    arguments = _arguments()
    for name in [name for name in os.environ if name.lower() in MISLEADING]:
        del os.environ[name]
    usual = Case(
        "usual",
        tokens=arguments.tokens,
        per_second=arguments.per_second,
        first_token_ms=arguments.first_token_ms,
        guard_ms=arguments.guard_ms,
    )
    wanted = [case for case in cases(usual, arguments.marker) if not arguments.cases or case.name in arguments.cases]
    results = asyncio.run(_results(wanted, arguments.rounds, arguments.peers))
    report = as_markdown(results)
    print(report)
    if arguments.markdown:
        arguments.markdown.write_text(report + "\n", encoding="utf-8")
    if arguments.json:
        arguments.json.write_text(json.dumps(as_json(results), indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
