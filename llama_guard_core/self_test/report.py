"""What a self-test found, as one table for a person and as JSON values for a program."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, NoReturn

from llama_guard_core.written import printable

Status = Literal["ok", "wrong", "unknown", "not offered"]

_WIDTH = 100  # columns
_GAP = "  "


@dataclass(frozen=True, slots=True)
class Finding:
    """What one probe found.

    Characters that a terminal would act on become spaces in all of it: a host may have written some of the detail.

    Attributes:
        probe: the probe's name.
        status: `ok`; `wrong`, where what was asked for does not work; `unknown`, where the probe could not tell;
            `not offered`, where the host or the model has no such ability, which may be as it should be.
        detail: what was seen, without any of the text that was judged.
        remedy: what to do about it; empty where there is nothing to do.
    """

    probe: str
    status: Status
    detail: str
    remedy: str = ""

    def __post_init__(self) -> None:
        _make_printable(self)

    def as_dict(self) -> dict[str, str]:
        """The finding as plain JSON values."""
        return {"probe": self.probe, "status": self.status, "detail": self.detail, "remedy": self.remedy}


@dataclass(frozen=True, slots=True)
class SelfTest:
    """What the probes found at one host; `print` it for the table.

    It has no truth value, so that `if guard.self_test():` is not taken for `.ok`.

    Attributes:
        host: the host's name.
        model: the id of the model that was asked for.
        prompt: whose prompt, or which endpoint, it was asked with.
        findings: what each probe found, in the order of the table.
        others: the same for the further hosts of a failover list, in their order.
    """

    host: str
    model: str
    prompt: str
    findings: tuple[Finding, ...]
    others: tuple[SelfTest, ...] = ()

    def __post_init__(self) -> None:
        _make_printable(self)

    def __bool__(self) -> NoReturn:
        msg = "a SelfTest has no truth value; ask .ok"
        raise TypeError(msg)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong and something was found to work, at this host and at the others."""
        statuses = {finding.status for finding in self.findings}
        return "ok" in statuses and "wrong" not in statuses and all(other.ok for other in self.others)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {
            "host": self.host,
            "model": self.model,
            "prompt": self.prompt,
            "ok": self.ok,
            "findings": [finding.as_dict() for finding in self.findings],
            "others": [other.as_dict() for other in self.others],
        }

    def __str__(self) -> str:
        heading = [*_wrapped(f"{self.host}: {self.model}"), *_wrapped(f"prompt: {self.prompt}")]
        parts = ["\n".join((*heading, "", *_table(self.findings), *_remedies(self.findings)))]
        return "\n\n".join((*parts, *map(str, self.others)))


def _table(findings: Sequence[Finding]) -> Iterator[str]:
    probe = max((len(finding.probe) for finding in findings), default=0)
    status = max((len(finding.status) for finding in findings), default=0)
    for finding in findings:
        label = f"{_GAP}{finding.probe:<{probe}}{_GAP}{finding.status:<{status}}{_GAP}"
        yield from _wrapped(finding.detail, label, " " * len(label))


def _remedies(findings: Sequence[Finding]) -> Iterator[str]:
    """What to do, once for each remedy although several probes may ask for it."""
    probes_by_remedy: dict[str, list[str]] = {}
    for finding in findings:
        if finding.remedy:
            probes_by_remedy.setdefault(finding.remedy, []).append(finding.probe)
    if probes_by_remedy:
        yield ""
        yield "What to do"
    for remedy, probes in probes_by_remedy.items():
        yield from _wrapped(f"{', '.join(probes)}: {remedy}", _GAP, 2 * _GAP)


def _wrapped(text: str, first: str = "", then: str = "") -> list[str]:
    """A text in lines of the table's width, with what the first and the others begin with."""
    lines = textwrap.wrap(text, _WIDTH, initial_indent=first, subsequent_indent=then)
    return lines or [first.rstrip()]


def _make_printable(report: Finding | SelfTest) -> None:
    for each in fields(report):
        value = getattr(report, each.name)
        if isinstance(value, str):
            object.__setattr__(report, each.name, printable(value))


def in_one_report(reports: Sequence[SelfTest]) -> SelfTest:
    """The report on the first host, with those on the others in it."""
    first, *others = reports
    return replace(first, others=tuple(others))
