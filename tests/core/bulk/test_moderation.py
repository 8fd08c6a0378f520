"""A run over rows: each is written down once, what failed is asked again, and where nothing can be had it stops."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_provider import FakeProvider, Fault
from fake_provider.replies import Reply, Usage

from llama_guard_core import ConfigurationError, GuardUnavailable, LlamaGuard, Stage
from llama_guard_core.bulk.journal import Journal
from llama_guard_core.bulk.moderation import Moderation, Row
from llama_guard_core.guardrail.screening import Check
from llama_guard_core.messages import user

Answers = Callable[[str, int], Any]


class Host:
    """Answers by the text and by how often it was asked before."""

    def __init__(self, answers: Answers) -> None:
        self.asked: Counter[str] = Counter()
        self._answers = answers
        self.provider = FakeProvider(guard=self)

    def __call__(self, _: str, text: str) -> Any:
        self.asked[text] += 1
        return self._answers(text, self.asked[text])


def _rows(texts: Iterable[str | None]) -> Iterator[Row]:
    for index, text in enumerate(texts):
        failed = GuardUnavailable("nothing to judge", reason="not_judgeable")
        yield Row(index, Check(Stage.PROMPT, (user(text),)) if text else failed, {"id": f"r{index}"})


def _texts(count: int) -> list[str]:
    return [f"text {number}" + (" BOMB" if number % 3 == 0 else "") for number in range(count)]


def _judge(text: str, _: int) -> Any:
    return "unsafe\nS9" if "BOMB" in text else "safe"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def _run(
    path: Path, host: Host, texts: Iterable[str | None], *, at_once: int = 4, stop_after: int = 0, **settings: Any
) -> tuple[Moderation, Journal]:
    async def main() -> tuple[Moderation, Journal]:
        guard = LlamaGuard(api_key="k", http_async_client=host.provider.async_client(), max_retries=0)
        with Journal(path, {}) as journal:

            def advance(_: object) -> None:
                if journal.tally.rows == stop_after:
                    moderation.stop()

            moderation = Moderation(_rows(texts), journal, concurrency=at_once, on_done=advance, **settings)
            await moderation.run(lambda them: guard.acheck_many(them, concurrency=at_once, as_completed=True))
        return moderation, journal

    return asyncio.run(main())


def _outcomes(journal: Journal) -> list[str]:
    return [
        each.reason or ("safe" if each.safe else "unsafe") for each in sorted(journal.judgements(), key=lambda j: j.row)
    ]


def test_every_row_is_written_down_once_with_what_is_kept_of_it(path: Path):
    host = Host(_judge)
    moderation, journal = _run(path, host, _texts(30))

    assert "complete" == moderation.ended
    assert ["unsafe" if row % 3 == 0 else "safe" for row in range(30)] == _outcomes(journal)
    assert [{"id": f"r{row}"} for row in range(30)] == [each.kept for each in journal.judgements()]
    assert {1} == set(host.asked.values())


def test_a_row_that_holds_nothing_to_judge_is_written_down_as_such(path: Path):
    _, journal = _run(path, Host(_judge), ["a", None, "b"])

    assert ["safe", "not_judgeable", "safe"] == _outcomes(journal)


def test_what_is_done_is_not_asked_about_again(path: Path):
    host = Host(_judge)
    first, _ = _run(path, host, _texts(30), stop_after=7)
    assert "interrupted" == first.ended

    second, journal = _run(path, host, _texts(30))

    assert ("complete", 30) == (second.ended, journal.tally.rows)
    assert {1} == set(host.asked.values())


def test_what_fails_is_asked_again_once_the_rest_is_done(path: Path):
    host = Host(lambda text, time: Fault.status(503) if "7" in text and time < 3 else _judge(text, time))
    _, journal = _run(path, host, _texts(10))

    assert 3 == host.asked["text 7"]
    assert "safe" == _outcomes(journal)[7]


def test_what_fails_three_times_is_without_a_verdict(path: Path):
    host = Host(lambda text, time: Fault.status(503) if "7" in text else _judge(text, time))
    moderation, journal = _run(path, host, _texts(10))

    assert ("complete", 3) == (moderation.ended, host.asked["text 7"])
    assert "server" == _outcomes(journal)[7]
    assert ("unavailable", None) == next((each.outcome, each.safe) for each in journal.judgements() if each.row == 7)


def test_an_answer_that_is_no_verdict_is_not_asked_for_again(path: Path):
    host = Host(lambda text, time: Fault.prose() if "7" in text else _judge(text, time))
    _, journal = _run(path, host, _texts(10))

    assert (1, "unreadable") == (host.asked["text 7"], _outcomes(journal)[7])


@pytest.mark.parametrize("status", [401, 402])
def test_what_is_for_the_user_to_mend_stops_the_run_and_loses_no_row(path: Path, status: int):
    host = Host(lambda text, time: Fault.status(status) if "1" in text else _judge(text, time))
    moderation, journal = _run(path, host, _texts(1000), at_once=1)

    assert ("host_failed", 0) == (moderation.ended, journal.tally.unjudged)
    assert moderation.failure is not None
    assert 3 >= sum(host.asked.values())  # the next was begun before it was known


def test_a_host_that_is_down_stops_the_run_before_its_rows_are_written_off(path: Path):
    host = Host(lambda *_: Fault.status(503))
    moderation, journal = _run(path, host, _texts(1000), at_once=4)

    assert ("host_failed", 0) == (moderation.ended, journal.tally.rows)
    assert 20 <= sum(host.asked.values()) < 30


def test_when_it_is_up_again_the_next_run_does_the_rest(path: Path):
    host = Host(lambda text, _: Fault.status(503))
    _run(path, host, _texts(60), at_once=4)
    host = Host(_judge)
    moderation, journal = _run(path, host, _texts(60), at_once=4)

    assert ("complete", 60, 0) == (moderation.ended, journal.tally.rows, journal.tally.unjudged)


def _at_cost(cost: float | None) -> Answers:
    def priced(text: str, time: int) -> Any:
        return Reply(_judge(text, time), usage=Usage(10, 2, cost=cost))

    return priced


@pytest.mark.parametrize("at_once", [1, 8])
def test_no_row_is_begun_that_would_go_beyond_the_limit_of_cost(path: Path, at_once: int):
    host = Host(_at_cost(0.25))
    moderation, journal = _run(path, host, _texts(100), at_once=at_once, limit_cost=2.0)

    assert ("cost_limit", 8, 2.0) == (moderation.ended, journal.tally.rows, journal.tally.cost)


def test_the_limit_of_cost_holds_for_all_runs_together(path: Path):
    host = Host(_at_cost(0.25))
    _run(path, host, _texts(100), limit_cost=1.0)
    _run(path, host, _texts(100), limit_cost=1.0)
    assert 4 == sum(host.asked.values())

    _, journal = _run(path, host, _texts(100), limit_cost=1.5)
    assert 6 == journal.tally.rows


def test_a_limit_of_cost_needs_a_host_that_says_what_it_costs(path: Path):
    class Silent(Usage):
        def as_json(self) -> dict[str, Any]:
            return {name: value for name, value in super().as_json().items() if "cost" not in name}

    host = Host(lambda text, time: Reply(_judge(text, time), usage=Silent(10, 2)))
    with pytest.raises(ConfigurationError, match="limit_cost"):
        _run(path, host, _texts(100), limit_cost=1.0)
    assert 1 == sum(host.asked.values())


def test_rows_of_an_async_source_are_taken_as_they_come(path: Path):
    async def slowly() -> AsyncIterator[Row]:
        for row in _rows(_texts(5)):
            await asyncio.sleep(0)
            yield row

    async def main() -> int:
        guard = LlamaGuard(api_key="k", http_async_client=Host(_judge).provider.async_client())
        with Journal(path, {}) as journal:
            await Moderation(slowly(), journal).run(lambda them: guard.acheck_many(them, as_completed=True))
            return journal.tally.rows

    assert 5 == asyncio.run(main())


def test_an_input_that_was_changed_in_between_is_refused(path: Path):
    _run(path, Host(_judge), _texts(10), stop_after=5)

    with pytest.raises(ConfigurationError, match="another text"):
        _run(path, Host(_judge), ["other", *_texts(10)[1:]])
