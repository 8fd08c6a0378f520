"""What is installed from elsewhere: locked whole and by content, under known licences, and asked about where it can be."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest
import tomllib
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = [ROOT / "requirements.lock", ROOT / "requirements-embedded.lock"]
ENTRY = re.compile(
    r"^(?P<name>[\w.-]+)==(?P<version>\S+)(?: ; (?P<marker>[^\\]+))?(?P<hashes>(?: \\\n    --hash=sha256:[0-9a-f]{64})+)$"
)
COMMENT = re.compile(r"^ *#.*\n?", re.MULTILINE)


def _script(name: str) -> ModuleType:
    """A script of this folder, which is no package."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


audit, licences = _script("audit"), _script("licences")


def _entries(lock: Path) -> list[str]:
    """The pins of a lock file with their hashes, without comments."""
    return re.split(r"\n(?=\S)", COMMENT.sub("", lock.read_text(encoding="utf-8")).strip())


LOCKED = {(each["name"], each["version"]) for lock in LOCKS for entry in _entries(lock) if (each := ENTRY.match(entry))}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ASKED_FOR = [
    *PROJECT["project"]["dependencies"],
    *(each for extra in PROJECT["project"]["optional-dependencies"].values() for each in extra),
    *(each for group in ("test", "lint") for each in PROJECT["dependency-groups"][group]),
]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_line_of_a_lock_is_an_exact_version_with_hashes(lock):
    entries = _entries(lock)

    assert [] != entries
    assert [] == [entry for entry in entries if not ENTRY.match(entry)]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_names_no_index_and_no_folder_and_says_how_it_is_made(lock):
    text = lock.read_text(encoding="utf-8")

    assert [] == re.findall(r"://|index-url|find-links|file:|/home|/tmp|/root", text)
    assert "make lock" in text.partition("\n\n")[0].splitlines()[1]


@pytest.mark.parametrize("asked_for", [each for each in sorted(set(ASKED_FOR)) if "llama-guardrails" not in each])
def test_what_the_project_asks_for_is_locked_at_versions_it_allows(asked_for):
    requirement = Requirement(asked_for)
    versions = [version for name, version in LOCKED if canonicalize_name(requirement.name) == name]

    assert [] != versions
    assert [] == [version for version in versions if version not in requirement.specifier]


def _listed() -> dict[str, tuple[str, str]]:
    """Package → versions and licence, as docs/licences.md has them."""
    rows = (
        line.strip("| ").split(" | ") for line in licences.PAGE.read_text(encoding="utf-8").splitlines() if "| " in line
    )
    return {row[0]: (row[1], row[2]) for row in rows if 5 == len(row) and row[0] != "package"}


def test_whatever_comes_with_an_extra_is_listed_with_its_licence():
    extras = licences.direct_requirements()
    coming = {name for requirements in extras.values() for name in licences.needed(requirements)}

    assert {"core", "langchain", "agents", "llamaindex", "embedded", "aiohttp"} <= set(extras)
    assert set() == coming - set(_listed())


def test_the_listed_versions_are_the_locked_ones():
    listed = {(name, version) for name, (versions, _) in _listed().items() for version in versions.split(", ")}

    assert set() != listed
    assert set() == listed - LOCKED


def test_every_listed_licence_is_permissive_or_excepted_with_a_reason():
    unwelcome = {name: licence for name, (_, licence) in _listed().items() if not licences.is_permissive(licence)}

    assert set(licences.EXCEPTED) == set(unwelcome)


@pytest.mark.parametrize(
    ("licence", "permissive"),
    [
        ("MIT", True),
        ("Apache-2.0 AND (MIT OR BSD-3-Clause)", True),
        ("MPL-2.0 AND MIT", False),
        ("GPL-3.0-only", False),
        ("MIT OR SSPL-1.0", False),
        ("", False),
        ("See the file", False),
    ],
)
def test_a_licence_counts_as_permissive_only_if_all_of_it_is_known_as_that(licence, permissive):
    assert permissive is licences.is_permissive(licence)


KNOWN = {"name": "rsa", "version": "4.0", "vulns": [{"id": "CVE-2020-13757", "fix_versions": ["4.1"]}]}
SOUND = {"name": "httpx", "version": "0.28.1", "vulns": []}
FOUND = {"name": "jinja2", "version": "3.1.6", "vulns": [{"id": "CVE-1", "fix_versions": ["3.1.7", "3.2"]}]}
SKIPPED = {"name": "jinja2", "skip_reason": "not found"}


def _report(*packages: object) -> str:
    """What pip-audit prints with `--format json`."""
    return json.dumps({"dependencies": packages, "fixes": []})


@pytest.mark.parametrize(
    ("packages", "lines"),
    [
        ((SOUND, KNOWN), []),
        ((SOUND, FOUND, KNOWN), ["jinja2 3.1.6: CVE-1, mended in 3.1.7, 3.2"]),
        ((SKIPPED, KNOWN), ["jinja2: not found"]),
    ],
    ids=["nothing", "a vulnerability", "a package that was skipped"],
)
def test_an_audit_tells_what_a_service_found(packages, lines):
    assert lines == audit.findings(_report(*packages), "")


@pytest.mark.parametrize(
    ("printed", "complaint"),
    [
        ("", "Traceback ...\nrequests.exceptions.ConnectionError: Failed to resolve 'api.osv.dev'"),
        ("", "ERROR:pip_audit._cli:Could not connect to PyPI's vulnerability feed\nERROR:pip_audit._cli:Tip: ..."),
        ("", "Traceback ...\npip_audit._service.interface.ServiceError"),
        (_report(SKIPPED, {"name": "rsa", "skip_reason": "not found"}), "No known vulnerabilities found"),
        (_report(SOUND, {"name": "rsa", "version": "4.0", "vulns": []}), "No known vulnerabilities found"),
    ],
    ids=[
        "no such host",
        "no connection",
        "an error of the service",
        "an index without packages",
        "an index without advisories",
    ],
)
def test_a_service_that_has_no_advisories_is_no_audit(printed, complaint):
    with pytest.raises(audit.NotRunError):
        audit.findings(printed, complaint)


def test_an_audit_that_fails_for_another_reason_fails():
    with pytest.raises(RuntimeError, match="unrecognized arguments"):
        audit.findings("", "usage: pip-audit\npip-audit: error: unrecognized arguments: --nonsense")


def test_an_audit_asks_about_every_locked_version():
    asked = list(audit.rounds([lock.read_text(encoding="utf-8") for lock in LOCKS]))

    assert sorted(f"{name}=={version}" for name, version in LOCKED) == sorted(pin for pins in asked for pin in pins)
    assert all(len(pins) == len({pin.partition("==")[0] for pin in pins}) for pins in asked)


def _says(outcomes: dict[str, list[str] | Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(service: str, pins: object, options: object) -> list[str]:
        outcome = outcomes[service]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(audit, "ask", ask)
    monkeypatch.setattr("sys.argv", ["audit.py"])


def test_an_audit_without_any_service_says_so_and_does_not_fail(monkeypatch, capsys):
    _says({"osv": audit.NotRunError("no name"), "pypi": audit.NotRunError("no list")}, monkeypatch)

    audit.main()

    assert "osv was NOT asked about everything: no name" in (printed := capsys.readouterr().out)
    assert "pip-audit was NOT run" in printed


def test_an_audit_fails_for_what_the_second_service_finds(monkeypatch, capsys):
    _says({"osv": audit.NotRunError("no name"), "pypi": ["jinja2 3.1.6: CVE-1"]}, monkeypatch)

    with pytest.raises(SystemExit, match=r"jinja2 3\.1\.6: CVE-1"):
        audit.main()
