"""LlamaGuardDecisionModel: Llama Guard, asked the way LangChain asks decision models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

try:
    from langchain_core.decisions import (
        Answer,
        BaseDecisionModel,
        ClassifierRequest,
        ClassifierResponse,
        Noul,
        NoulAnswer,
        Question,
        State,
    )
except ImportError as error:
    msg = "LlamaGuardDecisionModel needs langchain-core 1.8 or newer, and AutoModeMiddleware langchain 1.5 or newer"
    raise ImportError(msg) from error

from langchain_core.runnables import RunnableConfig
from pydantic import ConfigDict, Field, model_validator

from langchain_llama_guard._conversation import call_of
from langchain_llama_guard._replies import usage_metadata
from langchain_llama_guard._values import conversation_in
from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.drive import arun, run
from llama_guard_core.errors import ConfigurationError
from llama_guard_core.guardrail.decisions import Allow, Refuse, refusal_error
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.screening import Flow, screen_prompt, screen_reply
from llama_guard_core.guardrail.tool_screening import screen_tool_call

_EVEN = 0.5
"""From this probability on, LangChain's middleware takes a yes for one."""


class LlamaGuardDecisionModel(BaseDecisionModel):
    """Says how probably a state is unsafe, for `AutoModeMiddleware` and whoever else asks decision models.

    A state with a `tool_call` in it, which is what `AutoModeMiddleware` asks about, is judged as that call at the end
    of the state's `messages`. Messages are judged by their last turn, as a prompt or a reply; anything else as a user's
    text. The guard's policy decides: what it lets through is below 0.5, what it refuses is not. The probability is
    the host's where it gives one that says the same, else 0 or 1.

    Llama Guard judges by its own hazards and reads no instructions or criteria. So it answers no question but "is this
    unsafe?": a `Noul` under an id that is listed in `risk_questions`. Any other raises; a question whose yes means
    that all is well would else be answered the wrong way round.

    Where no verdict can be had, it raises `GuardUnavailable`: `AutoModeMiddleware` does not run the tool then, and the
    agent's run ends with the exception. The state is in no trace of its own run.

    It does not judge tools' results or descriptions, nor whether the user has authorized a call. `AutoModeMiddleware`
    leaves a refused call's arguments in the history. `LlamaGuardMiddleware` judges results and descriptions, and takes
    such arguments out.

    Attributes:
        guard: what judges, with the policy.
        risk_questions: the ids of the questions whose yes means unsafe.
        model: the name in traces; the guard's own if left out.

    Raises:
        ConfigurationError: a question that Llama Guard cannot answer.
        GuardUnavailable: no verdict could be had, unless the policy says allow.
        UnsafeContent: where the policy says `on_unsafe="raise"`.

    Example:
        ```python
        AutoModeMiddleware(tools=[delete_file], classifier=LlamaGuardDecisionModel(guard=guard))
        ```
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    guard: LlamaGuard = Field(exclude=True)
    risk_questions: frozenset[str] = frozenset({"is_risky"})

    @model_validator(mode="before")
    @classmethod
    def _named(cls, settings: Any) -> Any:
        guard = settings.get("guard") if isinstance(settings, Mapping) else None
        return {"model": guard.model, **settings} if isinstance(guard, LlamaGuard) else settings

    @property
    def _provider(self) -> str:
        return "llama_guard"

    def invoke(self, input: ClassifierRequest, config: RunnableConfig | None = None, **_: Any) -> ClassifierResponse:
        """Answer questions about a state."""
        return super().invoke(_untraced(input), config)

    async def ainvoke(
        self, input: ClassifierRequest, config: RunnableConfig | None = None, **_: Any
    ) -> ClassifierResponse:
        """Answer questions about a state."""
        return await super().ainvoke(_untraced(input), config)

    def _classify(self, state: State, questions: dict[str, Question]) -> ClassifierResponse:
        self._require_answerable(questions)
        return self._answered(questions, run(_screen(self.guard.policy, state), self.guard.judge))

    async def _aclassify(self, state: State, questions: dict[str, Question]) -> ClassifierResponse:
        self._require_answerable(questions)
        return self._answered(questions, await arun(_screen(self.guard.policy, state), self.guard.ajudge))

    def _require_answerable(self, questions: Mapping[str, Question]) -> None:
        for name, question in questions.items():
            if name not in self.risk_questions or not isinstance(question, Noul):
                msg = (
                    f"Llama Guard cannot answer {name!r}, only Noul questions whose yes means unsafe: "
                    f"risk_questions names {', '.join(sorted(self.risk_questions)) or 'none'}"
                )
                raise ConfigurationError(msg)

    def _answered(self, questions: Iterable[str], decision: Allow | Refuse) -> ClassifierResponse:
        if isinstance(decision, Refuse) and decision.error is not None:
            raise refusal_error(decision)
        answer: Answer = NoulAnswer(type="noul", noul=_probability(decision))
        answers = dict.fromkeys(questions, answer)
        verdict = decision.verdict
        if verdict is None:
            return ClassifierResponse(model=self.model, answers=answers)
        return ClassifierResponse(
            model=verdict.model or self.model,
            answers=answers,
            usage=usage_metadata(verdict.usage),
            request_id=verdict.generation_id,
        )


class _Untraced:
    """A state that traces cannot write out."""

    __slots__ = ("state",)

    def __init__(self, state: Any) -> None:
        self.state = state

    def __repr__(self) -> str:
        return "(withheld)"


def _untraced(request: ClassifierRequest) -> ClassifierRequest:
    return ClassifierRequest(state=cast("State", _Untraced(request["state"])), questions=request["questions"])


def _screen(policy: Policy, state: Any) -> Flow[Allow | Refuse]:
    if isinstance(state, _Untraced):
        state = state.state
    match state:
        case {"tool_call": {"name": str(name), "args": args, **told}}:
            call = call_of({"name": name, "args": args, "id": str(told.get("id") or "")})
            messages = state.get("messages")
            return screen_tool_call(policy, conversation_in(messages) if messages else (), call)
    conversation = conversation_in(state)
    if conversation and conversation[-1].role == "assistant":
        return screen_reply(policy, conversation[:-1], conversation[-1])
    return screen_prompt(policy, conversation)


def _probability(decision: Allow | Refuse) -> float:
    is_refused = isinstance(decision, Refuse)
    score = None if decision.verdict is None else decision.verdict.score
    return score if score is not None and (score >= _EVEN) is is_refused else float(is_refused)
