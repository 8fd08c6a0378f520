"""`moderate --batch` and `batch`: jobs go out, come back, are picked up, and what they do not do goes the ordinary way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fake_provider import FakeProvider
from fake_provider.batches import GUARD, FakeBatches

from llama_guard_core.bulk.tables import read_rows
from llama_guard_core.cli import main

KEY = "sk-batch-0123456789"
Serve = Callable[..., FakeBatches]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Let whatever goes out by httpx reach a fake host, and wait for nothing."""
    made: list[FakeBatches] = []

    async def handle_async(_: Any, request: httpx.Request) -> httpx.Response:
        await request.aread()
        return made[-1].handle(request)

    async def at_once(_: float) -> None:
        pass

    monkeypatch.setattr(httpx.HTTPTransport, "handle_request", lambda _, request: made[-1].handle(request))
    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle_async)
    monkeypatch.setattr("llama_guard_core.bulk.batched_checks.asleep", at_once)
    monkeypatch.setenv("OPENROUTER_API_KEY", KEY)

    def make(**settings: Any) -> FakeBatches:
        made.append(FakeBatches(FakeProvider(), **settings))
        return made[-1]

    yield make
    assert [] == [violation for each in made for violation in each.violations]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    rows = [{"id": f"r{row}", "prompt": f"row {row}" + (" BOMB" if row % 3 == 0 else "")} for row in range(6)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def _moderate(source: Path, *options: str) -> tuple[int, list[dict[str, Any]]]:
    output = source.with_name("out.jsonl")
    code = main(["moderate", str(source), "-o", str(output), "--batch", "--progress", "none", *options])
    lines = output.read_text().splitlines() if output.exists() else []
    return code, [json.loads(line) for line in lines]


RIGHT = [row % 3 != 0 for row in range(6)]


def test_rows_are_judged_in_a_job_and_nothing_is_left_beside_the_output(
    serve: Serve, source: Path, capsys: pytest.CaptureFixture[str]
):
    host = serve()
    code, rows = _moderate(source)

    assert (0, RIGHT) == (code, [row["safe"] for row in rows])
    assert [f"r{row}" for row in range(6)] == [row["id"] for row in rows]
    assert 1 == len(host.jobs)
    assert {"in.jsonl", "out.jsonl"} == {each.name for each in source.parent.iterdir()}
    told = capsys.readouterr().err
    assert f"batch {next(iter(host.jobs))}: completed" in told
    assert "BOMB" not in told
    assert KEY not in told


def test_a_model_that_is_not_offered_is_said_to_be_so_and_nothing_is_asked(
    serve: Serve, source: Path, capsys: pytest.CaptureFixture[str]
):
    host = serve(offered=())
    code, rows = _moderate(source)

    assert (2, []) == (code, rows)
    assert f"{GUARD} is not offered in batch" in capsys.readouterr().err
    assert {} == host.jobs


def test_on_request_it_goes_the_ordinary_way(serve: Serve, source: Path, capsys: pytest.CaptureFixture[str]):
    host = serve(offered=())
    code, rows = _moderate(source, "--batch-fallback")

    assert (0, RIGHT) == (code, [row["safe"] for row in rows])
    assert {} == host.jobs
    assert "It goes the ordinary way." in capsys.readouterr().err


def test_a_host_without_batches_is_said_to_have_none(source: Path, capsys: pytest.CaptureFixture[str]):
    code, rows = _moderate(source, "--host", "http://127.0.0.1:9/v1")

    assert (2, []) == (code, rows)
    assert "no Batch API is known of" in capsys.readouterr().err


def test_another_process_picks_up_what_is_out(serve: Serve, source: Path, monkeypatch: pytest.MonkeyPatch):
    host = serve(looks=3)

    async def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("llama_guard_core.bulk.batched_checks.asleep", interrupted)
        assert (130, []) == _moderate(source)
    assert {"in.jsonl", "out.jsonl.journal", "out.jsonl.batches"} == {each.name for each in source.parent.iterdir()}

    code, rows = _moderate(source)

    assert (0, RIGHT) == (code, [row["safe"] for row in rows])
    assert 1 == len(host.jobs)


def test_rows_that_a_job_fails_are_without_a_verdict_and_may_be_asked_about_again(serve: Serve, source: Path):
    host = serve(lost=("-2-0", "-4-0"))
    code, rows = _moderate(source)
    assert (1, [2, 4]) == (code, [row["row"] for row in rows if row["outcome"] == "unavailable"])
    assert [None, None] == [row["safe"] for row in rows if row["outcome"] == "unavailable"]

    again = serve()
    code, rows = _moderate(source, "--retry-failed")
    assert (0, RIGHT) == (code, [row["safe"] for row in rows])
    assert ([6], [2]) == tuple([len(job.custom_ids) for job in each.jobs.values()] for each in (host, again))


def test_rows_that_a_job_fails_go_the_ordinary_way_on_request(serve: Serve, source: Path):
    serve(lost=("-2-0", "-4-0"))
    code, rows = _moderate(source, "--batch-fallback")

    assert (0, RIGHT) == (code, [row["safe"] for row in rows])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--batch"], "--batch needs a file"),
        (["--batch", "-o", "out.jsonl", "--limit-cost", "1"], "--limit-cost"),
        (["--batch-fallback", "-o", "out.jsonl"], "are for --batch"),
        (["--resubmit", "-o", "out.jsonl"], "are for --batch"),
    ],
)
def test_what_cannot_go_together_is_refused(
    source: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(source.parent)

    assert 2 == main(["moderate", str(source), *words])
    assert said in capsys.readouterr().err


def test_jobs_are_listed_shown_fetched_and_deleted(serve: Serve, source: Path, capsys: pytest.CaptureFixture[str]):
    host = serve(errors={"-1-0": {"message": "no", "type": "server_error"}})
    _moderate(source)
    [job] = host.jobs
    capsys.readouterr()

    assert 0 == main(["batch", "list"])
    assert job in capsys.readouterr().out
    assert 0 == main(["batch", "show", job])
    assert "completed" in capsys.readouterr().out
    fetched = source.with_name("fetched.csv")
    assert 1 == main(["batch", "fetch", job, "-o", str(fetched)])
    assert "6 results, 1 of them failures" in capsys.readouterr().out
    assert [None] * 5 + ["server"] == sorted((row["reason"] or None for row in read_rows(fetched)), key=str)
    assert 0 == main(["batch", "delete", job])
    assert {} == host.jobs


def test_a_job_is_cancelled_where_that_can_be(
    serve: Serve, source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    host = serve(looks=9, can_cancel=True)

    async def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("llama_guard_core.bulk.batched_checks.asleep", interrupted)
    _moderate(source)
    [job] = host.jobs
    assert 0 == main(["batch", "cancel", job])
    assert "cancel" in capsys.readouterr().out


def test_a_job_that_is_not_there_is_a_sentence(serve: Serve, capsys: pytest.CaptureFixture[str]):
    serve()

    assert 1 == main(["batch", "show", "batch_none"])
    assert capsys.readouterr().err.startswith("llama-guard batch: ")
