"""Write docs/licences.md: what is installed with each extra, why, and under which licence.

`make licences` runs it, `make audit` with `--check`, which writes nothing. Both fail for a licence that is neither permissive
nor excepted below with a reason. The licences are what the packages say of themselves; nobody read their files.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

import tomllib
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = (ROOT / "requirements.lock", ROOT / "requirements-embedded.lock")
PAGE = ROOT / "docs" / "licences.md"
PROJECT = "llama-guardrails"
NOT_FOR_USERS = {"demo", "all"}

PERMISSIVE = {
    *("0BSD", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CNRI-Python", "ISC"),
    *("MIT", "MIT-CMU", "PSF-2.0", "Zlib"),
}
EXCEPTED = {
    "certifi": "MPL-2.0 asks for changes to its files to be published; this project changes none. Comes with httpx.",
    "orjson": "MPL-2.0 in part, as certifi. Comes with LangSmith's client, which LangChain needs.",
    "tqdm": "MPL-2.0 in part, as certifi. Comes with LlamaIndex.",
}
NOT_SAID = {
    "async-timeout": "Apache-2.0",  # only before Python 3.11
    "exceptiongroup": "MIT",  # the same
    "httpx-aiohttp": "BSD-3-Clause",  # its metadata has the whole text
    "xllamacpp": "MIT",  # not for every machine
}
SPELLINGS = {
    "2-clause BSD": "BSD-2-Clause",
    "3-Clause BSD License": "BSD-3-Clause",
    "BSD 3-Clause License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "MIT License": "MIT",
    "PSFL": "PSF-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
ELSEWHERE: tuple[dict[str, str], ...] = (
    {},
    {"python_version": "3.10", "python_full_version": "3.10.0"},
    {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt"},
)


def locked() -> dict[str, list[str]]:
    """The versions of each package in the lock files; several where Pythons differ."""
    versions: dict[str, list[str]] = defaultdict(list)
    for lock in LOCKS:
        for name, version in re.findall(r"^([\w.-]+)==([^\s;\\]+)", lock.read_text(encoding="utf-8"), re.MULTILINE):
            versions[name].append(version)
    return versions


def direct_requirements() -> dict[str, list[Requirement]]:
    """What pyproject.toml asks for itself: for the core, and for each extra that users install."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {"core": project["dependencies"], **project["optional-dependencies"]}

    def asked(extra: str) -> Iterator[Requirement]:
        for requirement in map(Requirement, extras[extra]):
            if PROJECT == requirement.name:
                yield from (inner for name in requirement.extras for inner in asked(name))
            else:
                yield requirement

    return {extra: list(asked(extra)) for extra in extras if extra not in NOT_FOR_USERS}


def _applies(requirement: Requirement, extras: Iterable[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(
        marker.evaluate({**elsewhere, "extra": extra}) for elsewhere in ELSEWHERE for extra in ("", *extras)
    )


def needed(requirements: Iterable[Requirement]) -> dict[str, set[str]]:
    """Every package that comes with these requirements, and which others ask for it; the project for its own."""
    needers: dict[str, set[str]] = defaultdict(set)
    waiting = [(requirement, PROJECT) for requirement in requirements]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        requirement, needer = waiting.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        needers[name].add(needer)
        if (name, extras) not in seen:
            seen.add((name, extras))
            waiting += [(each, name) for each in map(Requirement, _requires(name)) if _applies(each, extras)]
    return needers


def _requires(name: str) -> list[str]:
    try:
        return metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        if name in NOT_SAID:
            return []
        raise


def licence_of(name: str) -> str:
    """The licence by its SPDX name where the package gives one, or in the package's own words; empty if it says nothing."""
    if name in NOT_SAID:
        return NOT_SAID[name]
    said = metadata.metadata(name)
    classifiers = [line.rpartition(" :: ")[2] for line in said.get_all("Classifier", []) if line.startswith("License")]
    in_words = (said["License"] or "").strip()
    if "\n" in in_words and classifiers:  # the whole text of it
        in_words = ""
    in_words = in_words.partition("\n")[0].strip()
    for words in (said["License-Expression"], in_words, *classifiers):
        if words:
            return SPELLINGS.get(words, words)
    return ""


def is_permissive(licence: str) -> bool:
    """Whether every licence that an expression names is a known permissive one; unknown words are not."""
    named = re.sub(r"[()]", " ", licence)
    return all(each.strip() in PERMISSIVE for each in re.split(r"\s+(?:AND|OR)\s+", named))


def rows() -> list[tuple[str, str, str, str, str]]:
    """Package, version, licence, the extras it comes with, the packages that need it."""
    extras: dict[str, list[str]] = defaultdict(list)
    needers: dict[str, set[str]] = defaultdict(set)
    for extra, requirements in direct_requirements().items():
        for name, by in needed(requirements).items():
            extras[name].append(extra)
            needers[name] |= by
    versions = locked()
    return [
        (
            name,
            ", ".join(versions[name]),
            licence_of(name),
            "core" if "core" in extras[name] else ", ".join(sorted(extras[name])),
            ", ".join(f"**{by}**" if PROJECT == by else by for by in sorted(needers[name])),
        )
        for name in sorted(extras)
    ]


def problems(table: Iterable[tuple[str, str, str, str, str]]) -> list[str]:
    """One line for each package whose licence is unknown or unwelcome."""
    return [
        f"{name}: {licence or 'says no licence'}"
        for name, _, licence, *_ in table
        if name not in EXCEPTED and not is_permissive(licence)
    ]


def page(table: Iterable[tuple[str, str, str, str, str]]) -> str:
    """The text of docs/licences.md."""
    lines = [
        "# Licences of what is installed",
        "",
        "Written by `make licences` from what the packages say of themselves, at the versions of `requirements.lock` and",
        "`requirements-embedded.lock`; several where Pythons differ. Whatever comes with `core` is installed always, the rest",
        "with the extras named. What only tests, linters and benchmarks need is not here.",
        "",
        "| package | version | licence | comes with | asked for by |",
        "|---|---|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in table),
        "",
        "## Not wholly permissive",
        "",
        "| package | why it is accepted |",
        "|---|---|",
        *(f"| {name} | {reason} |" for name, reason in EXCEPTED.items()),
        "",
        "The models have licences of their own, and so has any model file you serve with `embedded`.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Write the page, or only check the licences."""
    table = rows()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page(table), encoding="utf-8")
    if unwelcome := problems(table):
        sys.exit("These licences are neither known as permissive nor excepted:\n" + "\n".join(unwelcome))
    sys.stdout.write(f"licences: {len(table)} packages, {len(EXCEPTED)} of them excepted with a reason\n")


if __name__ == "__main__":
    main()
