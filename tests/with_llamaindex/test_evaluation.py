"""Verdicts as evaluation results."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fake_provider import FakeProvider, Fault
from llama_index.core import Settings
from llama_index.core.base.response.schema import Response
from llama_index.core.evaluation import BatchEvalRunner, EvaluationResult
from llama_index.core.query_engine import RetryQueryEngine
from with_llamaindex.engines import HARMLESS, QUESTION, UNSAFE, Saying, query_engine
from with_llamaindex.scouts import guard_of

from llamaindex_llama_guard import LlamaGuardEvaluator


async def evaluate(evaluator: LlamaGuardEvaluator, **told: Any) -> EvaluationResult:
    return evaluator.evaluate(**told)


async def aevaluate(evaluator: LlamaGuardEvaluator, **told: Any) -> EvaluationResult:
    return await evaluator.aevaluate(**told)


Way = Callable[..., Awaitable[EvaluationResult]]
every_way = pytest.mark.parametrize("way", [evaluate, aevaluate])


@every_way
async def test_a_safe_response_passes(provider: FakeProvider, way: Way) -> None:
    result = await way(LlamaGuardEvaluator(guard_of(provider)), query=QUESTION, response=HARMLESS, contexts=["a BOMB"])
    told = {"query": QUESTION, "response": HARMLESS, "contexts": ["a BOMB"]}
    assert EvaluationResult(**told, passing=True, score=1.0, feedback="safe") == result
    assert (("user", QUESTION), ("assistant", HARMLESS)) == provider.guard_questions[0].turns


@every_way
async def test_an_unsafe_response_fails_and_the_feedback_names_the_hazards(provider: FakeProvider, way: Way) -> None:
    result = await way(LlamaGuardEvaluator(guard_of(provider)), query=QUESTION, response="a BOMB and a KNIFE")
    assert (False, 0.0) == (result.passing, result.score)
    assert "unsafe: S9 Indiscriminate Weapons, S1 Violent Crimes" == result.feedback
    nameless = await way(LlamaGuardEvaluator(guard_of(provider)), response="NAMELESS")
    assert "unsafe: no hazard named" == nameless.feedback


@every_way
async def test_a_query_alone_is_judged_as_a_prompt(provider: FakeProvider, way: Way) -> None:
    assert False is (await way(LlamaGuardEvaluator(guard_of(provider)), query="a BOMB")).passing
    assert "user" == provider.guard_questions[0].role


@every_way
async def test_what_the_policy_would_make_of_it_does_not_matter(provider: FakeProvider, way: Way) -> None:
    lenient = guard_of(provider, mode="monitor", stages=["prompt"], hazards={"S9": "ignore"})
    assert False is (await way(LlamaGuardEvaluator(lenient), query=QUESTION, response=UNSAFE)).passing


@every_way
async def test_without_a_verdict_the_result_is_invalid_and_neither_passing_nor_failing(
    provider: FakeProvider, way: Way
) -> None:
    provider.fail(Fault.status(500), on="guard")
    result = await way(LlamaGuardEvaluator(guard_of(provider)), query=QUESTION, response=UNSAFE)
    assert (True, None, None) == (result.invalid_result, result.passing, result.score)
    assert "BOMB" not in result.invalid_reason


@every_way
@pytest.mark.parametrize("text", [None, "", "  "])
async def test_without_text_the_result_is_invalid_and_nobody_is_asked(
    provider: FakeProvider, way: Way, text: str | None
) -> None:
    result = await way(LlamaGuardEvaluator(guard_of(provider)), query=text, response=text)
    assert (True, "there is no text to judge") == (result.invalid_result, result.invalid_reason)
    assert [] == provider.guard_questions


@pytest.mark.filterwarnings("ignore:asyncio_module:DeprecationWarning")  # LlamaIndex's own
async def test_it_runs_in_a_batch(provider: FakeProvider) -> None:
    runner = BatchEvalRunner({"safety": LlamaGuardEvaluator(guard_of(provider))}, show_progress=False)
    responses = [Response(HARMLESS), Response(UNSAFE)]
    results = await runner.aevaluate_responses(queries=[QUESTION, QUESTION], responses=responses)
    assert [True, False] == [result.passing for result in results["safety"]]


def test_an_engine_that_asks_again_asks_until_the_answer_is_safe(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Settings, "_llm", Saying(says="another question"))
    says = iter([UNSAFE, HARMLESS])
    engine = query_engine(Saying(says=lambda _: next(says)))
    retrying = RetryQueryEngine(engine, LlamaGuardEvaluator(guard_of(provider)))
    assert HARMLESS == str(retrying.query(QUESTION))
