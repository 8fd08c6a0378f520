"""Checks through a fake Batch API: every row comes out once, and what was submitted is not submitted again."""

from __future__ import annotations

from typing import Any

import pytest
from batched_judging import ALL, OF_TWO, TEXTS, check, guard_at, judged, numbered, said, words
from fake_provider import FakeProvider, Fault
from fake_provider.answers import html_answer
from fake_provider.batches import GUARD, SCOUT, FakeBatches
from fake_provider.error_bodies import refused

from llama_guard_core.bulk.batch_record import BatchRecord
from llama_guard_core.bulk.batch_rows import NotJudgedInBatch
from llama_guard_core.bulk.batched_checks import ajudged_in_batches
from llama_guard_core.bulk.batching import Batching
from llama_guard_core.errors import (
    AuthenticationFailed,
    ConfigurationError,
    ProviderError,
    UnreadableVerdict,
)
from llama_guard_core.guardrail.policy import Policy


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("at_once", [1, 8])
async def test_every_row_is_judged_once_whatever_the_size_of_jobs(tmp_path, size, at_once):
    batches = FakeBatches(is_backwards=True)
    outcomes = await judged(batches, tmp_path / "record", requests_per_job=size, jobs_at_once=at_once)
    assert ALL == words(outcomes)
    assert -(-5 // size) == len(batches.jobs)
    assert 5 == len(batches.provider.guard_questions)


async def test_a_verdict_says_what_an_ordinary_one_does_but_the_latency(tmp_path):
    told: list[Any] = []
    batches = FakeBatches()
    guard = guard_at(batches, on_verdict=told.append)
    outcomes = await judged(batches, tmp_path / "record", guard=guard)
    ordinary = await guard.ajudge(check("a BOMB"))
    verdict = outcomes[0]
    assert (ordinary.categories, ordinary.stage, ordinary.host) == (verdict.categories, verdict.stage, verdict.host)
    assert verdict.usage is not None
    assert verdict.latency is None
    assert told[:5] == list(outcomes.values())


async def test_jobs_are_bounded_in_bytes_too(tmp_path):
    batches = FakeBatches()
    assert ALL == words(await judged(batches, tmp_path / "record", bytes_per_job=500))
    assert len(batches.jobs) > 1


async def test_a_long_text_is_several_requests_and_one_row(tmp_path):
    batches = FakeBatches()
    guard = guard_at(batches, splitting={"chunk_size": 1000, "chunk_overlap": 100})
    long = "walnut " * 600 + "BOMB"
    outcomes = await judged(batches, tmp_path / "record", [(0, check(long)), (1, check("an oak"))], guard)
    assert ["S9", "safe"] == words(outcomes)
    (job,) = batches.jobs.values()
    run = job.custom_ids[0].split("-")[0]
    assert [f"{run}-0-{part}" for part in range(len(job.custom_ids) - 1)] + [f"{run}-1-0"] == job.custom_ids
    assert len(job.custom_ids) > 2


async def test_a_part_without_an_answer_leaves_a_long_text_without_a_verdict_unless_another_is_unsafe(tmp_path):
    batches = FakeBatches(lost=["-0-0", "-1-0"])
    guard = guard_at(batches, splitting={"chunk_size": 1000, "chunk_overlap": 100})
    rows = [(0, check("walnut " * 600)), (1, check("walnut " * 600 + "BOMB"))]
    assert ["empty", "S9"] == words(await judged(batches, tmp_path / "record", rows, guard))


async def test_what_batches_do_not_take_is_handed_back_and_nothing_else_is_held_up(tmp_path):
    picture = [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]
    rows = [(3, check([{"role": "user", "content": picture}])), (4, check("a BOMB"))]
    batches = FakeBatches()
    outcomes = await judged(batches, tmp_path / "record", rows)
    assert isinstance(outcomes[3], NotJudgedInBatch)
    assert ("not_judgeable", "S9") == (said(outcomes[3]), said(outcomes[4]))


async def test_a_row_that_cannot_be_judged_at_all_is_no_matter_for_the_ordinary_way(tmp_path):
    guard = guard_at(batches := FakeBatches(), splitting={"max_chunks": 1, "chunk_size": 1000, "chunk_overlap": 100})
    outcomes = await judged(batches, tmp_path / "record", [(0, check("walnut " * 900))], guard)
    assert "too_large" == said(outcomes[0])
    assert not isinstance(outcomes[0], NotJudgedInBatch)
    assert {} == batches.jobs


@pytest.mark.parametrize(("end", "reason"), [("failed", "server"), ("expired", "timeout"), ("cancelled", "server")])
async def test_a_job_that_came_to_nothing_leaves_its_rows_to_the_ordinary_way(tmp_path, end, reason):
    batches = FakeBatches(ends=[end, "completed"], lost=["-0-0", "-1-0"])
    outcomes = await judged(batches, tmp_path / "record", **OF_TWO)
    assert [reason, reason, "S1", "safe", "S1,S2"] == words(outcomes)
    assert all(isinstance(outcomes[row], NotJudgedInBatch) for row in (0, 1))


async def test_what_an_expired_job_did_do_counts(tmp_path):
    batches = FakeBatches(ends=["expired"], lost=["-1-0"])
    assert ["S9", "timeout", "S1", "safe", "S1,S2"] == words(await judged(batches, tmp_path / "record"))


async def test_each_failure_is_its_rows_alone(tmp_path):
    error = {"message": "about: a walnut tree", "type": "invalid_request_error", "param": None}
    batches = FakeBatches(errors={"-1-0": error}, statuses={"-2-0": 429}, lost=["-4-0"])
    outcomes = await judged(batches, tmp_path / "record")
    assert ["S9", "invalid_request", "rate_limit", "safe", "empty"] == words(outcomes)
    assert "walnut" not in f"{outcomes[1]!r}{outcomes[1].__cause__!r}"


async def test_an_answer_that_is_no_verdict_is_unreadable_and_not_for_the_ordinary_way(tmp_path):
    batches = FakeBatches(FakeProvider(guard=lambda _, text: "I would rather not." if "oak" in text else "safe"))
    outcomes = await judged(batches, tmp_path / "record")
    assert isinstance(outcomes[3], UnreadableVerdict)
    assert ["safe", "safe", "safe", "unreadable", "safe"] == words(outcomes)


async def test_a_reply_that_is_a_failure_in_disguise_is_no_verdict(tmp_path):
    batches = FakeBatches(FakeProvider().fail(Fault.error_with_200(), nth=1))
    assert "S9" not in words(await judged(batches, tmp_path / "record"))


async def test_a_model_that_is_not_offered_is_told_before_anything_is_submitted(tmp_path):
    batches = FakeBatches(offered=[SCOUT])
    with pytest.raises(ConfigurationError, match=f"{GUARD} is not offered in batch"):
        await judged(batches, tmp_path / "record")
    assert {} == batches.jobs


async def test_a_guard_without_a_batch_api_is_told_so(tmp_path):
    with pytest.raises(ConfigurationError, match="no Batch API is known of at vLLM"):
        await judged(batches := FakeBatches(), tmp_path / "record", guard=guard_at(batches, host="vllm"))


async def test_of_a_list_of_hosts_the_one_with_a_batch_api_is_asked(tmp_path):
    batches = FakeBatches()
    guard = guard_at(batches, host=["vllm", "openrouter"], api_key=None, default_headers={"authorization": "Bearer k"})
    outcomes = await judged(batches, tmp_path / "record", guard=guard)
    assert ALL == words(outcomes)
    assert {"OpenRouter"} == {outcome.host for outcome in outcomes.values()}


async def test_a_job_the_host_does_not_like_is_no_reason_to_stop_and_a_key_it_does_not_like_is(tmp_path):
    class Refusing(FakeBatches):
        def answer(self, request):
            if request.method == "POST" and self.refusals:
                return refused(self.refusals.pop(0), "no")
            return super().answer(request)

    batches = Refusing()
    batches.refusals = [413]
    outcomes = await judged(batches, tmp_path / "record", **OF_TWO)
    assert ["too_large", "too_large", "S1", "safe", "S1,S2"] == words(outcomes)
    batches.refusals = [401]
    with pytest.raises(AuthenticationFailed):
        await judged(batches, tmp_path / "other")
    assert ALL == words(await judged(batches, tmp_path / "other"))  # mended: the rows are in no job


async def test_looks_that_fail_in_passing_are_repeated(tmp_path):
    class Unwell(FakeBatches):
        def _about(self, job_id, *rest):
            self.looks_to_fail = [] if self.looks_to_fail or len(self.calls) > 40 else [503]
            return super()._about(job_id, *rest)

    assert ALL == words(await judged(Unwell(looks=3), tmp_path / "record"))


async def test_a_host_that_cannot_be_asked_for_long_ends_the_run_and_the_next_one_goes_on(tmp_path):
    batches = FakeBatches(looks=2)

    async def out_of_reach() -> None:
        async for _ in ajudged_in_batches(
            guard_at(batches),
            numbered(TEXTS),
            record=BatchRecord(tmp_path / "record"),
            batching=Batching(first_pause=0, longest_pause=0),
            on_job=lambda _: batches.looks_to_fail.extend([503] * 99),
        ):
            raise AssertionError

    with pytest.raises(ProviderError):
        await out_of_reach()
    batches.looks_to_fail.clear()
    assert ALL == words(await judged(batches, tmp_path / "record"))
    assert 1 == len(batches.jobs)


def test_sizes_are_above_0():
    with pytest.raises(ConfigurationError):
        Batching(requests_per_job=0)


async def test_policies_of_another_reading_hold_at_the_reading(tmp_path):
    """A run that goes on under another policy reads the answers by that."""
    batches = FakeBatches()
    assert "S9" == said((await judged(batches, tmp_path / "record"))[0])
    guard = guard_at(batches, policy=Policy(excluded_categories=["S9"]))
    assert "safe" == said((await judged(batches, tmp_path / "record", guard=guard))[0])
    assert 1 == len(batches.jobs)


async def test_results_that_cannot_be_read_leave_their_rows_to_the_ordinary_way_and_are_tried_again_before(tmp_path):
    class Garbled(FakeBatches):
        garbled = 0

        def _about(self, job_id, *rest):
            if self.garbled:
                self.garbled -= 1
                return html_answer(200, "Welcome")
            return super()._about(job_id, *rest)

    batches = Garbled()
    batches.garbled = 3
    assert ALL == words(await judged(batches, tmp_path / "record"))
    batches.garbled = 99
    outcomes = await judged(batches, tmp_path / "record")
    assert {"malformed"} == set(words(outcomes))
    assert {NotJudgedInBatch} == set(map(type, outcomes.values()))
