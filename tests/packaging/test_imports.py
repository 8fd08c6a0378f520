"""What loads what: the boundaries that the packages are drawn along, and what they show to the outside."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CORE = "llama_guard_core"
HALVES = [
    name for name in ("langchain_llama_guard", "llamaindex_llama_guard") if (ROOT / name / "__init__.py").exists()
]
PACKAGES = [CORE, *HALVES]
FILES = [path for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py"))]
BANNED_NAMES = {"utils.py", "util.py", "base.py", "helpers.py", "common.py", "misc.py"}
FRAMEWORKS = {"langchain", "langchain_core", "langgraph", "langsmith", "llama_index"}
NOT_FOR_CHAINS = {"langchain", "langgraph", "llama_index", "openai", "vcr", "xllamacpp"}


def _named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _run(statements: str, without: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run Python statements in a fresh process where some packages cannot be imported."""
    absent = f"import sys\nsys.modules.update(dict.fromkeys({list(without)!r}))\n"
    return subprocess.run(
        [sys.executable, "-c", absent + statements], cwd=ROOT, capture_output=True, text=True, check=False
    )


def _loaded_by(statement: str) -> set[str]:
    """The top-level packages that are loaded once a statement has been run in a fresh process."""
    done = _run(f"{statement}\nprint(*{{name.partition('.')[0] for name in sys.modules}})")
    assert "" == done.stderr
    return set(done.stdout.split())


def _imported_in(path: Path) -> Iterator[str]:
    """The modules that a file imports anywhere, also inside functions and for type checkers."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert 0 == node.level, "imports are absolute, so that they can be read here"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _files_importing(module: str) -> set[str]:
    return {
        _named(path)
        for path in FILES
        if any(name == module or name.startswith(f"{module}.") for name in _imported_in(path))
    }


def test_the_core_loads_no_framework():
    loaded = _loaded_by(f"import {CORE}")

    assert {CORE, "httpx", "pydantic"} <= loaded
    assert set() == FRAMEWORKS & loaded


def test_the_langchain_half_loads_langchain_core_and_nothing_heavier():
    loaded = _loaded_by("import langchain_llama_guard")

    assert {CORE, "langchain_core"} <= loaded
    assert set() == NOT_FOR_CHAINS & loaded


@pytest.mark.parametrize(
    ("package", "absent"),
    [
        (CORE, sorted(FRAMEWORKS)),
        ("langchain_llama_guard", ["langchain", "langgraph", "llama_index", "llamaindex_llama_guard"]),
    ],
)
def test_each_package_works_where_what_it_does_not_need_is_absent(package, absent):
    make = f"import {package} as it\nguard = it.LlamaGuard(api_key='sk-0')\nprint(guard.model)"

    done = _run(make, without=absent)

    assert ("", "meta-llama/llama-guard-4-12b\n") == (done.stderr, done.stdout)


def test_without_agents_the_middleware_says_how_to_install_it():
    done = _run("from langchain_llama_guard import LlamaGuardMiddleware", without=["langchain"])

    assert 'pip install "llama-guardrails[agents]"' in done.stderr


def test_without_langchain_its_half_says_how_to_install_it():
    done = _run("import langchain_llama_guard", without=["langchain_core"])

    assert 'pip install "llama-guardrails[langchain]"' in done.stderr


@pytest.mark.parametrize("outside", [f"{CORE}.provider", "httpx", "asyncio", "anyio", "threading"])
def test_what_decides_about_safety_does_no_io(outside):
    deciding = f"{CORE}/guardrail/"

    assert [] == [name for name in sorted(_files_importing(outside)) if name.startswith(deciding)]


def test_only_the_provider_imports_the_http_library():
    users = _files_importing("httpx")

    assert f"{CORE}/provider/client.py" in users
    assert [] == [name for name in sorted(users) if not name.startswith(f"{CORE}/provider/")]


@pytest.mark.parametrize("framework", sorted(FRAMEWORKS))
def test_the_core_names_no_framework_even_in_passing(framework):
    assert [] == [name for name in sorted(_files_importing(framework)) if name.startswith(f"{CORE}/")]


@pytest.mark.parametrize("half", ["langchain_llama_guard", "llamaindex_llama_guard"])
def test_nobody_imports_a_half_but_itself(half):
    assert [] == [name for name in sorted(_files_importing(half)) if not name.startswith(f"{half}/")]


@pytest.mark.parametrize("path", FILES, ids=_named)
def test_no_file_is_longer_than_300_lines_or_named_after_nothing(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300
    assert path.name not in BANNED_NAMES


@pytest.mark.parametrize("package", PACKAGES)
def test_what_a_package_shows_is_what_it_lists(package):
    module = importlib.import_module(package)
    shown = {name for name, value in vars(module).items() if not name.startswith("_") and not inspect.ismodule(value)}

    assert sorted(module.__all__) == list(module.__all__)
    assert shown | {"__version__"} == set(module.__all__)


@pytest.mark.parametrize(
    ("package", "name"),
    [(package, name) for package in PACKAGES for name in importlib.import_module(package).__all__],
)
def test_every_public_class_and_function_says_itself_what_it_is_for(package, name):
    thing = getattr(importlib.import_module(package), name)
    if inspect.isclass(thing) or inspect.isfunction(thing):
        assert vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__


_OPENED_BY = """
import gc, socket, ssl, httpx
import langchain_llama_guard as it
kinds = (httpx.Client, httpx.AsyncClient, httpx.BaseTransport, httpx.AsyncBaseTransport, ssl.SSLContext, socket.socket)
def opened_by(make):
    before = sum(isinstance(thing, kinds) for thing in gc.get_objects())
    made = make()
    return sum(isinstance(thing, kinds) for thing in gc.get_objects()) - before
"""


@pytest.mark.parametrize("maker", ["it.LlamaGuard", "it.ChatLlamaScout"])
def test_a_constructor_opens_nothing(maker):
    done = _run(f"{_OPENED_BY}print(opened_by(lambda: {maker}(api_key='sk-0')), opened_by(httpx.Client) > 0)")

    assert ("", "0 True\n") == (done.stderr, done.stdout)
