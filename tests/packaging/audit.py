"""Ask a vulnerability service about every version in the lock files, and say visibly where none could be asked.

`make audit` runs it. Arguments are handed to pip-audit, such as `--ignore-vuln ID`. It fails for a known vulnerability, and not for
a service that cannot be reached: pip-audit then ends like after a finding (exit code 1, `osv`), or says "No known vulnerabilities
found" with every package skipped (exit code 0, `pypi` behind an index that has no advisories). So each run also asks about a
version that is known to be vulnerable, and counts only if the service knows it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
LOCKS = (ROOT / "requirements.lock", ROOT / "requirements-embedded.lock")
SERVICES = ("osv", "pypi")
KNOWN_VULNERABLE = "rsa==4.0"  # CVE-2020-13757
ANSWER_SECONDS, RUN_SECONDS = 10, 180
NO_SERVICE = re.compile(r"requests\.exceptions\.|ServiceError|Could not connect|not redirecting")


class NotRunError(Exception):
    """The service gave no advisories, so that nothing is known about any package."""


def rounds(locks: Sequence[str]) -> Iterator[list[str]]:
    """The pins in as few lists as hold each package once, which is what pip-audit takes."""
    pins: dict[str, list[str]] = defaultdict(list)
    for lock in locks:
        for name, version in re.findall(r"^([\w.-]+)==([^\s;\\]+)", lock, re.MULTILINE):
            pins[name].append(f"{name}=={version}")
    for each in zip_longest(*pins.values()):
        yield [pin for pin in each if pin]


def findings(printed: str, complaint: str) -> list[str]:
    """The vulnerabilities in what pip-audit printed, a line each.

    Raises:
        NotRunError: The service could not be reached, or has no advisories.
        RuntimeError: pip-audit failed for another reason.
    """
    last = complaint.strip().rpartition("\n")[2]
    try:
        packages: list[dict[str, Any]] = json.loads(printed)["dependencies"]
    except ValueError:
        if NO_SERVICE.search(complaint):
            raise NotRunError(last) from None
        raise RuntimeError(last) from None
    known, _, _ = KNOWN_VULNERABLE.partition("==")
    if not any(package.get("vulns") for package in packages if known == package["name"]):
        message = f"it does not know that {KNOWN_VULNERABLE} is vulnerable"
        raise NotRunError(message)
    return [
        f"{package['name']} {package['version']}: {found['id']}, mended in {', '.join(found['fix_versions']) or 'no version'}"
        for package in packages
        if known != package["name"]
        for found in package.get("vulns", [])
    ] + [f"{package['name']}: {package['skip_reason']}" for package in packages if "skip_reason" in package]


def ask(service: str, pins: Sequence[str], options: Sequence[str]) -> list[str]:
    """What a service finds wrong with some pins; see `findings`."""
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "pins.txt"
        listed.write_text("\n".join([*pins, KNOWN_VULNERABLE]), encoding="utf-8")
        command = [sys.executable, "-m", "pip_audit", "-r", str(listed), "--no-deps", "--disable-pip", "-f", "json"]
        limits = ["--progress-spinner", "off", "--timeout", str(ANSWER_SECONDS), "-s", service]
        try:
            done = subprocess.run(
                [*command, *limits, *options], capture_output=True, text=True, timeout=RUN_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            message = f"no answer within {RUN_SECONDS} seconds"
            raise NotRunError(message) from None
    return findings(done.stdout, done.stderr)


def main() -> None:
    """Ask the first service that knows anything."""
    locks = [lock.read_text(encoding="utf-8") for lock in LOCKS]
    for service in SERVICES:
        found: list[str] = []
        try:
            for pins in rounds(locks):
                found += ask(service, pins, sys.argv[1:])
        except NotRunError as reason:
            sys.stdout.write(f"pip-audit: {service} was NOT asked about everything: {reason}\n")
        else:
            if not found:
                sys.stdout.write(f"pip-audit: {service} knows no vulnerability of what is locked\n")
                return
        if found:
            sys.exit("\n".join(["pip-audit found:", *found]))
    sys.stdout.write(
        "pip-audit was NOT run: no vulnerability service could be asked. Nothing is known about the lock.\n"
    )


if __name__ == "__main__":
    main()
