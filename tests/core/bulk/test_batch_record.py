"""A run of batches that is killed anywhere and started again: each row out once, no job twice."""

from __future__ import annotations

import json
import time
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import pytest
from batched_judging import ALL, OF_TWO, TEXTS, guard_at, judged, numbered, words
from fake_provider.batches import GUARD, FakeBatches, FakeJob

from llama_guard_core.bulk.batch_record import BatchRecord
from llama_guard_core.errors import ConfigurationError


class Killed(BaseException):
    """What ends a process at once."""


class KilledAt(FakeBatches):
    """A host that the process does not live to hear."""

    moment = ""

    def handle(self, request: Any) -> Any:
        is_submission = request.method == "POST"
        if is_submission and self.moment == "before it is taken":
            raise Killed
        response = super().handle(request)
        if is_submission and self.moment == "after it is taken":
            raise Killed
        if request.method == "GET" and "batch_" in request.url.path and self.moment == "while it is out":
            raise Killed
        return response


def rows_at(batches: FakeBatches) -> list[str]:
    return sorted(name.split("-")[1] for job in batches.jobs.values() for name in job.custom_ids)


@pytest.mark.parametrize("moment", ["before it is taken", "after it is taken", "while it is out"])
async def test_a_run_that_was_killed_goes_on_and_submits_nothing_twice(tmp_path, moment):
    batches = KilledAt()
    batches.moment = moment
    with pytest.raises(Killed):
        await judged(batches, tmp_path / "record", **OF_TWO)
    batches.moment = ""
    if moment == "before it is taken":
        with pytest.raises(ConfigurationError, match="llama-guard batch list"):
            await judged(batches, tmp_path / "record", **OF_TWO)
    again = await judged(batches, tmp_path / "record", resubmits_doubtful=moment.startswith("before"), **OF_TWO)
    assert ALL == words(again)
    assert ["0", "1", "2", "3", "4"] == rows_at(batches)


async def test_rows_that_were_handed_out_come_again_without_being_submitted_again(tmp_path):
    """The caller may have been killed before it wrote them down."""
    batches = FakeBatches()
    await judged(batches, tmp_path / "record", **OF_TWO)
    assert ALL == words(await judged(batches, tmp_path / "record", **OF_TWO))
    some = await judged(batches, tmp_path / "record", numbered(TEXTS)[3:], **OF_TWO)
    assert {3: "safe", 4: "S1,S2"} == dict(zip(some, words(some), strict=True))
    assert ["0", "1", "2", "3", "4"] == rows_at(batches)


async def test_a_file_cut_off_anywhere_goes_on(tmp_path):
    """In and between its lines: as after a kill or a power cut there, with the jobs that the host would have then."""
    whole = FakeBatches()
    await judged(whole, tmp_path / "whole", **OF_TWO)
    written = (tmp_path / "whole").read_bytes()
    ends = list(accumulate(map(len, written.splitlines(keepends=True)), initial=0))
    for end in [*ends, *(end - 1 for end in ends[1:]), *((end + begin) // 2 for begin, end in pairwise(ends))]:
        intents = sum(b'"intent"' in line for line in written[:end].splitlines(keepends=True) if line.endswith(b"\n"))
        batches = FakeBatches()
        batches.jobs = {name: whole.jobs[name] for name in list(whole.jobs)[:intents]}
        batches._numbers = iter(range(intents + 1, 99))
        (tmp_path / "cut").write_bytes(written[:end])
        assert ALL == words(await judged(batches, tmp_path / "cut", **OF_TWO)), end
        assert ["0", "1", "2", "3", "4"] == rows_at(batches), end


def doubtful(path: Path, requests: int = 2) -> None:
    """As it is left by a process that was killed between a submission and its answer."""
    with BatchRecord(path) as record:
        record.intend({0: 1, 1: 2}, model=GUARD, requests=requests)


def job(name: str, *, requests: int = 2, model: str = f"{GUARD}:batch", age: float = 0.0) -> FakeJob:
    body = {"endpoint": "/v1/chat/completions", "model": model}
    listed = [{"custom_id": f"x-{number}-0", "body": {}} for number in range(requests)]
    return FakeJob(name, {**body, "requests": listed}, time.time() - age, ["in_progress"])


OTHERS = [job("of another size", requests=3), job("of another model", model="m:batch"), job("old", age=4000.0)]


async def resolved(batches: FakeBatches, path: Path, **settings: Any) -> BatchRecord:
    await judged(batches, path, [], **settings)
    with BatchRecord(path) as record:
        return record


async def test_the_one_job_that_it_can_be_is_taken_for_it(tmp_path):
    batches = FakeBatches()
    batches.jobs = {each.id: each for each in [*OTHERS, job("this")]}
    doubtful(tmp_path / "record")
    assert "this" == (await resolved(batches, tmp_path / "record")).submissions[0].job


async def test_a_job_that_has_not_counted_its_requests_yet_can_be_it(tmp_path):
    batches = FakeBatches(counts_at_once=False)
    batches.jobs = {"this": job("this")}
    doubtful(tmp_path / "record")
    assert "this" == (await resolved(batches, tmp_path / "record")).submissions[0].job


@pytest.mark.parametrize("found", [[], OTHERS, [job("this"), job("that")]])
async def test_where_it_is_none_or_several_nothing_is_done_without_leave(tmp_path, found):
    batches = FakeBatches()
    batches.jobs = {each.id: each for each in found}
    doubtful(tmp_path / "record")
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="not known whether it was taken"):
            await judged(batches, tmp_path / "record", [])
    record = await resolved(batches, tmp_path / "record", resubmits_doubtful=True)
    assert record.submissions[0].was_not_taken
    assert not record.in_doubt


async def test_a_job_that_is_this_runs_already_is_not_taken_for_another(tmp_path):
    batches = FakeBatches()
    batches.jobs = {"this": job("this")}
    doubtful(tmp_path / "record")
    await resolved(batches, tmp_path / "record")
    doubtful(tmp_path / "record")
    with pytest.raises(ConfigurationError, match="0 of its jobs"):
        await judged(batches, tmp_path / "record", [])


async def test_a_submission_whose_answer_is_lost_is_found_again_in_the_same_run(tmp_path):
    batches = FakeBatches()
    batches.submissions = ["taken"]
    assert ALL == words(await judged(batches, tmp_path / "record", **OF_TWO))
    assert ["0", "1", "2", "3", "4"] == rows_at(batches)
    batches.submissions = ["not taken"]
    with pytest.raises(ConfigurationError, match="not known whether it was taken"):
        await judged(batches, tmp_path / "other")


async def test_a_record_of_other_rows_gives_no_verdict_on_these(tmp_path):
    batches = FakeBatches()
    await judged(batches, tmp_path / "record")
    with pytest.raises(ConfigurationError, match="row 0 was submitted as another question"):
        await judged(batches, tmp_path / "record", numbered(["a walnut tree", *TEXTS[1:]]))
    with pytest.raises(ConfigurationError, match="row 0 was submitted as another question"):
        await judged(batches, tmp_path / "record", guard=guard_at(batches, model="meta-llama/llama-guard-3-8b"))


async def test_results_that_are_gone_leave_their_rows_to_the_ordinary_way(tmp_path):
    batches = FakeBatches()
    await judged(batches, tmp_path / "record", **OF_TWO)
    del batches.jobs["batch_0002"]
    assert ["S9", "safe", "not_found", "not_found", "S1,S2"] == words(await judged(batches, tmp_path / "record"))


def test_one_process_at_a_time(tmp_path):
    pytest.importorskip("fcntl")
    with (
        BatchRecord(tmp_path / "record"),
        pytest.raises(ConfigurationError, match="another process"),
        BatchRecord(tmp_path / "record"),
    ):
        raise AssertionError


@pytest.mark.parametrize(
    "content", [b"a,b\n1,2\n", b"no line", b'{"batches":9,"run":"x"}\n', b'{"batches":1,"run":"x"}\nodd\n{}\n', b"[]\n"]
)
def test_a_file_that_is_no_record_is_left_as_it_is(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ConfigurationError, match="no record of batches"), BatchRecord(tmp_path / "file"):
        raise AssertionError
    assert content == (tmp_path / "file").read_bytes()


async def test_it_holds_no_text_and_no_key_and_only_its_owner_may_read_it(tmp_path):
    await judged(FakeBatches(), tmp_path / "record")
    written = (tmp_path / "record").read_text()
    assert [] == [word for word in ("walnut", "BOMB", "sk-or", "user") if word in written]
    assert 0o600 == (tmp_path / "record").stat().st_mode & 0o777
    header, intent, took = map(json.loads, written.splitlines())
    assert ["batches", "run"] == list(header)
    assert (5, "batch_0001") == (len(intent["rows"]), took["job"])
