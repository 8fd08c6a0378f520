"""The options that say which guard is asked, and where."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.errors import ConfigurationError
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.provider.embedded import Embedded
from llama_guard_core.provider.known_hosts import KNOWN_HOSTS, HostLike, chosen_hosts
from llama_guard_core.provider.pace import Pace


def add_guard_options(command: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Let a command be told its guard.

    Returns:
        The group of options about the guard itself, for more of them.
    """
    of_host = command.add_argument_group("the host")
    of_host.add_argument(
        "--host",
        nargs="+",
        default=[],
        metavar="HOST",
        help=f"an address, or one of {', '.join(KNOWN_HOSTS)}; several are a failover list; OpenRouter if left out",
    )
    of_host.add_argument("--base-url", metavar="URL", help="where the host is, up to and including its /v1")
    of_host.add_argument("--gguf", nargs="+", default=[], metavar="FILE", help="a model file, to be served here")
    of_guard = command.add_argument_group("the guard")
    of_guard.add_argument("--model", metavar="ID", help="the model's id at the host")
    of_guard.add_argument("--version", type=int, choices=(1, 2, 3, 4), help="which Llama Guard it is")
    prompt = of_guard.add_mutually_exclusive_group()
    prompt.add_argument(
        "--raw-prompt", action="store_true", default=None, help="write the published prompt here, not at the host"
    )
    prompt.add_argument(
        "--template-prompt", action="store_false", dest="raw_prompt", help="leave the prompt to the host's template"
    )
    return of_guard


def host_of(options: argparse.Namespace) -> HostLike | list[HostLike] | None:
    """The host or the hosts that were named."""
    hosts: list[HostLike] = [*options.host, *(Embedded(path, model=options.model) for path in options.gguf)]
    return hosts[0] if len(hosts) == 1 else hosts or None


def guard_of(options: argparse.Namespace, *, pace: Pace | None = None, **settings: Any) -> LlamaGuard:
    """The guard that was described.

    Args:
        options: what was typed.
        pace: a limit of requests for its hosts together.
        **settings: more of `LlamaGuard`'s.

    Raises:
        ConfigurationError: if there is no such host, or it cannot be asked so.
    """
    hosts = [*chosen_hosts(host_of(options), options.base_url)]
    if pace is not None:
        hosts = [replace(each, pace=pace) for each in hosts]
    return LlamaGuard(
        host=hosts, model=options.model, version=options.version, raw_prompt=options.raw_prompt, **settings
    )


def add_run_options(command: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Let a command that asks about many rows be told how fast, how long and how dearly."""
    of_run = command.add_argument_group("the run")
    of_run.add_argument("--concurrency", type=_count, default=32, metavar="N", help="checks under way at once (32)")
    of_run.add_argument(
        "--rate", type=_pace, metavar="N[/s|/m|/h]", help="requests at most, such as 20/s or 500/m; repetitions count"
    )
    of_run.add_argument(
        "--limit-cost",
        type=_positive,
        metavar="USD",
        help="begin no row that would take this input beyond it, earlier runs included; the host must tell its prices",
    )
    of_run.add_argument("--timeout", type=_positive, default=30.0, metavar="SECONDS", help="for one attempt (30)")
    of_run.add_argument("--retries", type=int, default=5, metavar="N", help="further attempts at a check (5)")
    of_run.add_argument("--policy", metavar="FILE", help="a JSON file with a policy: which hazards are asked about")
    of_run.add_argument(
        "--progress",
        choices=("auto", "bar", "lines", "none"),
        default="auto",
        help="how far it is, on standard error: a bar on a terminal, else a line now and then",
    )
    of_run.add_argument("--retry-failed", action="store_true", help="ask again about rows without a verdict")
    of_run.add_argument("--overwrite", action="store_true", help="begin anew, and replace the output in the end")
    return of_run


def many_checks_guard(options: argparse.Namespace, **settings: Any) -> LlamaGuard:
    """The guard for a run over many rows, where nobody waits for one of them: it is patient."""
    if options.policy:
        settings["policy"] = _policy_in(Path(options.policy))
    return guard_of(
        options,
        pace=options.rate,
        timeout=options.timeout,
        max_retries=options.retries,
        deadline=None,
        **settings,
    )


class _PatientPace(Pace):
    """A pace whose turns are waited for however long they take: nobody waits for one row."""

    def turn(self, within: float | None = None) -> float | None:  # noqa: ARG002 - the longest wait of others
        return super().turn(None)


def _policy_in(path: Path) -> Policy:
    try:
        return Policy.from_json(path.read_bytes())
    except OSError as error:
        msg = f"--policy: {path} cannot be read ({error.strerror}): check its path"
        raise ConfigurationError(msg) from None


_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def _pace(text: str) -> Pace:
    number, _, unit = text.partition("/")
    try:
        return _PatientPace(float(number), per=_SECONDS[unit or "s"])
    except (KeyError, ValueError):
        msg = f"{text!r} is no rate: write a number of requests with /s, /m or /h, such as 500/m"
        raise argparse.ArgumentTypeError(msg) from None


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        msg = f"{text!r} is no number of 1 or more"
        raise argparse.ArgumentTypeError(msg)
    return int(text)


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        msg = f"{text!r} is no number above 0"
        raise argparse.ArgumentTypeError(msg)
    return number
