"""LlamaGuardEvaluator: verdicts as LlamaIndex's evaluation results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.evaluation import BaseEvaluator, EvaluationResult
from llama_index.core.prompts.mixin import PromptDictType

from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.errors import GuardUnavailable
from llama_guard_core.guardrail.screening import Check
from llama_guard_core.guardrail.verdict import Stage, Verdict
from llama_guard_core.messages import Conversation, assistant, user


class LlamaGuardEvaluator(BaseEvaluator):
    """Says of a response whether Llama Guard calls it safe, as the answer to its query.

    Without a response, the query is judged. `passing` and `score` (1 for certainly safe) are the verdict's, whatever
    the policy makes of it; `feedback` names the hazards. Where no verdict could be had the result is invalid, and
    neither passing nor failing. The contexts are not judged: a passage beside a response changes verdicts.

    Args:
        guard: what judges.
    """

    def __init__(self, guard: LlamaGuard) -> None:
        self._guard = guard

    def evaluate(
        self,
        query: str | None = None,
        response: str | None = None,
        contexts: Sequence[str] | None = None,
        **_: Any,
    ) -> EvaluationResult:
        """Judge a response to a query, or a query."""
        told = {"query": query, "response": response, "contexts": contexts}
        question = _question(query, response)
        if question is None:
            return _invalid(told, "there is no text to judge")
        try:
            return _judged(told, self._guard.judge(question))
        except GuardUnavailable as error:
            return _invalid(told, str(error))

    async def aevaluate(
        self,
        query: str | None = None,
        response: str | None = None,
        contexts: Sequence[str] | None = None,
        **_: Any,
    ) -> EvaluationResult:
        """Judge a response to a query, or a query."""
        told = {"query": query, "response": response, "contexts": contexts}
        question = _question(query, response)
        if question is None:
            return _invalid(told, "there is no text to judge")
        try:
            return _judged(told, await self._guard.ajudge(question))
        except GuardUnavailable as error:
            return _invalid(told, str(error))

    def _get_prompts(self) -> PromptDictType:
        return {}

    def _update_prompts(self, prompts_dict: PromptDictType) -> None:
        """There are none: what Llama Guard is asked with is its own."""


def _question(query: str | None, response: str | None) -> Check | None:
    asked: Conversation = (user(query),) if query and query.strip() else ()
    if response and response.strip():
        return Check(Stage.REPLY, (*asked, assistant(response)))
    return Check(Stage.PROMPT, asked) if asked else None


def _judged(told: dict[str, Any], verdict: Verdict) -> EvaluationResult:
    certainly = 1.0 if verdict.safe else 0.0
    return EvaluationResult(
        **told,
        passing=verdict.safe,
        score=certainly if verdict.score is None else 1 - verdict.score,
        feedback="safe" if verdict.safe else f"unsafe: {', '.join(map(str, verdict.categories)) or 'no hazard named'}",
    )


def _invalid(told: dict[str, Any], reason: str) -> EvaluationResult:
    return EvaluationResult(**told, invalid_result=True, invalid_reason=reason)
