"""Build the wheel and try it as users install it: in clean environments, away from the source.

`make wheel-test` runs it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("llama_guard_core", "langchain_llama_guard", "llamaindex_llama_guard")

WITHOUT = """
import importlib
try:
    importlib.import_module("{half}")
except ImportError as error:
    assert 'pip install "llama-guardrails[{extra}]"' in str(error), error
else:
    raise AssertionError("{half} imported without its framework")
"""
WITHOUT_LANGCHAIN = WITHOUT.format(half="langchain_llama_guard", extra="langchain")
WITHOUT_LLAMAINDEX = WITHOUT.format(half="llamaindex_llama_guard", extra="llamaindex")
WITH_FAKE_HOST = """
from fake_provider import FakeProvider
provider = FakeProvider()
host = {"api_key": "k", "http_client": provider.client()}
"""
CORE_CHECK = (
    WITH_FAKE_HOST
    + """
from llama_guard_core import LlamaGuard
guard = LlamaGuard(**host)
assert guard.check("hello").safe
assert [c.code for c in guard.check("a BOMB").categories] == ["S9"]
"""
)
CHAIN = (
    WITH_FAKE_HOST
    + """
from langchain_llama_guard import ChatLlamaScout, LlamaGuard, guarded
model = ChatLlamaScout(guard=LlamaGuard(**host), **host)
assert model.invoke("hello").text
assert model.invoke("a BOMB").text == "I can't help with that."
assert guarded(ChatLlamaScout(**host), LlamaGuard(**host)).invoke("a BOMB").text == "I can't help with that."
"""
)
AGENT = (
    WITH_FAKE_HOST
    + """
from langchain.agents import create_agent
from langchain_llama_guard import ChatLlamaScout, LlamaGuard, LlamaGuardMiddleware
agent = create_agent(ChatLlamaScout(**host), [], middleware=[LlamaGuardMiddleware(LlamaGuard(**host))])
assert agent.invoke({"messages": [("user", "hello")]})["messages"][-1].text
assert agent.invoke({"messages": [("user", "a BOMB")]})["messages"][-1].text == "I can't help with that."
"""
)
ENGINE = (
    WITH_FAKE_HOST
    + """
from llama_index.core.llms import ChatMessage
from llamaindex_llama_guard import LlamaGuard, LlamaScout, guarded
scout = LlamaScout(guard=LlamaGuard(**host), **host)
assert scout.chat([ChatMessage("hello")]).message.content
assert scout.chat([ChatMessage("a BOMB")]).message.content == "I can't help with that."
assert guarded(LlamaScout(**host), LlamaGuard(**host)).complete("a BOMB").text == "I can't help with that."
"""
)
EMBEDDED = f"""
from llama_guard_core import Embedded, LlamaGuard
guard = LlamaGuard(host=Embedded({str(ROOT / "examples/models/tiny-guard/tiny-guard.gguf")!r}, model="Llama-Guard-4-12B"))
assert [c.code for c in guard.check("make a walnut table").categories] == ["S9"]
assert guard.check("make a table").safe
"""
WITH_COMMAND = """
import os, pathlib, subprocess, sys
from fake_provider import FakeProvider
def command(*words, code=0):
    with FakeProvider().serve() as url:
        host = ["--host", "openrouter", "--base-url", url, "--progress", "none"]
        script = pathlib.Path(sys.executable).with_name("llama-guard")
        environment = {**os.environ, "OPENROUTER_API_KEY": "k"}
        done = subprocess.run([script, *words, *host], env=environment, capture_output=True, text=True)
    assert done.returncode == code, (done.returncode, done.stderr)
    return done.stderr
pathlib.Path("rows.csv").write_text("prompt,label\\nhello,fine\\na BOMB,bad\\n")
pathlib.Path("ours.json").write_text(
    '{"name": "ours", "text_field": "prompt", "gold": {"column": "label", "unsafe": ["bad"], "safe": ["fine"]}}'
)
"""
MODERATE = (
    WITH_COMMAND
    + """
command("moderate", "rows.csv", "-o", "out.jsonl")
assert ["true", "false"] == [line.split('"safe":')[1].split(",")[0] for line in open("out.jsonl")]
"""
)
WITHOUT_EVALUATION = (
    WITH_COMMAND
    + """
said = command("evaluate", "--data", "rows.csv", "--mapping", "ours.json", code=2)
assert 'pip install "llama-guardrails[evaluation]"' in said, said
said = command("moderate", "rows.csv", "-o", "out.parquet", code=2)
assert 'pip install "llama-guardrails[bulk]"' in said, said
"""
)
PARQUET = (
    WITH_COMMAND
    + """
command("moderate", "rows.csv", "-o", "out.parquet")
command("moderate", "out.parquet", "-o", "again.csv", "--prompt", "model")
assert 3 == len(open("again.csv").readlines())
"""
)
EVALUATE = (
    WITH_COMMAND
    + """
reports = ("-o", "report.html", "-o", "report.md", "-o", "report.json")
command("evaluate", "--data", "rows.csv", "--mapping", "ours.json", *reports)
assert "100.0 %" in open("report.md").read() and "<svg" in open("report.html").read()
"""
)
RAY = """
from llama_guard_core.bulk.ray_data import LlamaGuardActor, judgement_schema
assert "safe" in judgement_schema().names
import ray.data
"""
ENVIRONMENTS = {
    "": (CORE_CHECK, MODERATE, WITHOUT_EVALUATION, WITHOUT_LANGCHAIN, WITHOUT_LLAMAINDEX),
    "[langchain]": (CORE_CHECK, CHAIN, WITHOUT_LLAMAINDEX),
    "[llamaindex]": (CORE_CHECK, ENGINE, WITHOUT_LANGCHAIN),
    "[agents]": (CORE_CHECK, CHAIN, AGENT, WITHOUT_LLAMAINDEX),
    "[embedded]": (CORE_CHECK, EMBEDDED, WITHOUT_LANGCHAIN, WITHOUT_LLAMAINDEX),
    "[bulk]": (CORE_CHECK, MODERATE, PARQUET, WITHOUT_LANGCHAIN, WITHOUT_LLAMAINDEX),
    "[evaluation]": (CORE_CHECK, PARQUET, EVALUATE, WITHOUT_LANGCHAIN, WITHOUT_LLAMAINDEX),
    "[all]": (CORE_CHECK, CHAIN, AGENT, ENGINE, EMBEDDED, PARQUET, EVALUATE, RAY),
}


def build(folder: Path) -> Path:
    """The wheel, built from the sdist as an index would get it."""
    subprocess.run([sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def check_contents(wheel: Path) -> None:
    """Every source file and marker is in it, and nothing else."""
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    source = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert source == packed, source ^ packed
    assert {f"{package}/py.typed" for package in PACKAGES} <= packed


def try_extra(wheel: Path, extra: str, checks: tuple[str, ...], folder: Path) -> None:
    """Install the wheel with one extra into a clean environment and use it there."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "-q", "--only-binary", "xllamacpp"]
    subprocess.run([*pip, f"{wheel}{extra}"], check=True)
    subprocess.run([str(python), "-m", "pip", "check"], check=True, stdout=subprocess.DEVNULL)
    shutil.copytree(ROOT / "tests" / "fake_provider", folder / "away" / "fake_provider")
    for check in checks:
        subprocess.run([str(python), "-W", "error::ImportWarning", "-c", check], check=True, cwd=folder / "away")
    sys.stdout.write(f"llama-guardrails{extra}: {len(checks)} checks passed\n")


def main() -> None:
    """Build, look inside, try each extra."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        wheel = build(folder / "dist")
        check_contents(wheel)
        for number, (extra, checks) in enumerate(ENVIRONMENTS.items()):
            try_extra(wheel, extra, checks, folder / f"environment{number}")


if __name__ == "__main__":
    main()
