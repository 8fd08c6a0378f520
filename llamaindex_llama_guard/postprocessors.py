"""LlamaGuardPostprocessor: retrieved passages, judged before the model reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import NodeWithScore, QueryBundle
from pydantic import Field

from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.drive import arun_all, run
from llama_guard_core.guardrail.decisions import Allow, Refuse, refusal_error
from llamaindex_llama_guard._documents import is_remarkable, marked, screen_node

OnUnsafePassage = Literal["drop", "flag", "refuse"]


class LlamaGuardPostprocessor(BaseNodePostprocessor):
    """Judges retrieved passages, each on its own, and keeps from the model those that the policy refuses.

    Passages are judged as the model would read them, with their metadata and images. It is asked about them alone:
    a question beside them changes verdicts. Async calls judge several at a time, sync calls one after the other.

    It does not judge the question, and it does not find instructions hidden in a passage as such: Llama Guard has no
    category for prompt injection. Where it leaves nothing, LlamaIndex answers "Empty Response" without asking the
    model; `GuardedQueryEngine(nothing_left=...)` puts a sentence of yours there.

    Attributes:
        guard: what judges, with the policy for the stage `document`.
        on_unsafe: what becomes of a passage that the policy refuses: `drop`; `flag`, which keeps it and names the
            hazards in its metadata, where no model reads them; or `refuse`, which raises, so that nothing is answered
            from the others either. `GuardedQueryEngine` turns that into its refusal. A passage that could not be
            judged is dropped where unsafe ones are flagged.
        at_once: how many passages an async call asks about at the same time.

    Raises:
        UnsafeContent: a passage is unsafe, and `on_unsafe` is `refuse` or the policy says raise.
        GuardUnavailable: a passage could not be judged, and the same.

    Example:
        ```python
        index.as_query_engine(node_postprocessors=[LlamaGuardPostprocessor(guard=guard)])
        ```
    """

    guard: LlamaGuard = Field(exclude=True)
    on_unsafe: OnUnsafePassage = "drop"
    at_once: int = Field(default=8, gt=0)

    @classmethod
    def class_name(cls) -> str:
        """The name it is serialised under."""
        return "LlamaGuardPostprocessor"

    def _postprocess_nodes(
        self,
        nodes: list[NodeWithScore],
        query_bundle: QueryBundle | None = None,  # noqa: ARG002 - passages are judged without it
    ) -> list[NodeWithScore]:
        policy = self.guard.policy
        return self._left(nodes, [run(screen_node(policy, found.node), self.guard.judge) for found in nodes])

    async def _apostprocess_nodes(
        self,
        nodes: list[NodeWithScore],
        query_bundle: QueryBundle | None = None,  # noqa: ARG002 - passages are judged without it
    ) -> list[NodeWithScore]:
        flows = [screen_node(self.guard.policy, found.node) for found in nodes]
        return self._left(nodes, await arun_all(flows, self.guard.ajudge, at_once=self.at_once))

    def _left(self, nodes: Sequence[NodeWithScore], decisions: Sequence[Allow | Refuse]) -> list[NodeWithScore]:
        judged = zip(nodes, decisions, strict=True)
        return [left for found, decision in judged if (left := self._after(found, decision)) is not None]

    def _after(self, found: NodeWithScore, decision: Allow | Refuse) -> NodeWithScore | None:
        if isinstance(decision, Allow):
            return _marked(found, decision) if is_remarkable(decision) else found
        if self.on_unsafe == "refuse":
            raise refusal_error(decision)
        return _marked(found, decision) if self.on_unsafe == "flag" and decision.verdict is not None else None


def _marked(found: NodeWithScore, decision: Allow | Refuse) -> NodeWithScore:
    return NodeWithScore(node=marked(found.node, decision), score=found.score)
