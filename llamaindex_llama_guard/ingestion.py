"""LlamaGuardTransform: documents, judged before they enter an index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from llama_index.core.schema import BaseNode, TransformComponent
from pydantic import BaseModel, Field, computed_field

from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.drive import arun_all, run
from llama_guard_core.guardrail.decisions import Allow, Refuse
from llama_guard_core.guardrail.verdict import Stage
from llamaindex_llama_guard._documents import is_remarkable, marked, screen_node


class LlamaGuardTransform(TransformComponent):
    """Keeps out of an index what the policy refuses. Put it behind the splitter and before the embeddings.

    Each node is judged on its own, as a model would read it. What the policy flags is kept, with the hazards in its
    metadata, where neither models nor embeddings read them.

    A pipeline's cache remembers what came out under the node's text, the guard's model and the policy for documents.
    It cannot be told to forget an outage. So a node that could not be judged never passes, even where the policy
    lets unjudged text pass, and the default is to raise: a node left out because the guard was down would stay out.

    It does not look for hidden instructions as such: Llama Guard has no category for prompt injection.

    Attributes:
        guard: what judges, with the policy for the stage `document`. For a pipeline with several processes it must
            be one that can be pickled: without HTTP clients of your own, and with the key in the environment.
        on_no_verdict: `raise`, or `drop` what could not be judged, for good where the pipeline has a cache.
        at_once: how many nodes an async call asks about at the same time.

    Raises:
        GuardUnavailable: a node could not be judged, and it is told to raise.
        UnsafeContent: a node is unsafe, and the policy says raise.

    Example:
        ```python
        IngestionPipeline(transformations=[SentenceSplitter(), LlamaGuardTransform(guard=guard), embed_model])
        ```
    """

    guard: LlamaGuard = Field(exclude=True)
    on_no_verdict: Literal["raise", "drop"] = "raise"
    at_once: int = Field(default=8, gt=0, exclude=True)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def judged_by(self) -> dict[str, Any]:
        """Everything that decides what passes; part of the pipeline's cache key."""
        policy = self.guard.policy
        own = policy.per_stage.get(Stage.DOCUMENT)
        return {
            "model": self.guard.model,
            "judges_documents": policy.judges(Stage.DOCUMENT),
            "policy": policy.model_dump(mode="json", include={"hazards", "mode", "on_unsafe"}),
            "for_documents": own and own.model_dump(mode="json", include={"hazards", "mode", "on_unsafe"}),
        }

    @classmethod
    def class_name(cls) -> str:
        """The name it is serialised under."""
        return "LlamaGuardTransform"

    def __call__(self, nodes: Sequence[BaseNode], **_: Any) -> list[BaseNode]:
        """Give the nodes that may enter."""
        policy = self.guard.policy
        return self._passed(nodes, [run(screen_node(policy, node), self.guard.judge) for node in nodes])

    async def acall(self, nodes: Sequence[BaseNode], **_: Any) -> list[BaseNode]:
        """Give the nodes that may enter."""
        flows = [screen_node(self.guard.policy, node) for node in nodes]
        return self._passed(nodes, await arun_all(flows, self.guard.ajudge, at_once=self.at_once))

    def __getstate__(self) -> dict[Any, Any]:
        # LlamaIndex's own leaves out what cannot be pickled: the other process would find itself without a guard.
        return BaseModel.__getstate__(self)

    def _passed(self, nodes: Sequence[BaseNode], decisions: Sequence[Allow | Refuse]) -> list[BaseNode]:
        judged = zip(nodes, decisions, strict=True)
        return [passed for node, decision in judged if (passed := self._after(node, decision)) is not None]

    def _after(self, node: BaseNode, decision: Allow | Refuse) -> BaseNode | None:
        if decision.error is not None:
            if self.on_no_verdict == "raise":
                raise decision.error
            return None
        if isinstance(decision, Refuse):
            return None
        return marked(node, decision) if is_remarkable(decision) else node
