"""LlamaGuard for LlamaIndex: each check is a span of the trace it belongs to."""

from __future__ import annotations

from llama_guard_core import classifier
from llama_guard_core.guardrail.screening import Check
from llama_guard_core.guardrail.verdict import Verdict
from llamaindex_llama_guard._tracing import check_span


class LlamaGuard(classifier.LlamaGuard):
    """Llama Guard for LlamaIndex: `llama_guard_core.LlamaGuard`, seen by LlamaIndex's instrumentation.

    The settings, and what a verdict is worth, are described at `llama_guard_core.LlamaGuard`. Wherever this package
    takes a guard, that one will do as well; it leaves no spans.

    Attributes:
        traces_text: whether spans hold the judged text, harmful or not. Set it only where the trace store may.

    Example:
        ```python
        guard = LlamaGuard()
        engine = guarded(index.as_query_engine(), guard)
        ```
    """

    traces_text = False

    def judge(self, question: Check) -> Verdict:
        """Put one question of a flow to the guard, in a span."""
        with check_span(question, self.model, with_text=self.traces_text) as told:
            verdict = super().judge(question)
            told(verdict)
            return verdict

    async def ajudge(self, question: Check) -> Verdict:
        """Put one question of a flow to the guard, in a span."""
        with check_span(question, self.model, with_text=self.traces_text) as told:
            verdict = await super().ajudge(question)
            told(verdict)
            return verdict
