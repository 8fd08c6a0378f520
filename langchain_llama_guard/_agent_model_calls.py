"""One call of an agent's model under guard: what it is asked with, and what becomes of what it says."""

from __future__ import annotations

from typing import Any

from langchain.agents.middleware import ExtendedModelResponse, ModelRequest, ModelResponse
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableBinding
from langchain_core.tools import BaseTool
from langgraph.errors import GraphBubbleUp

from langchain_llama_guard._agent_turns import AgentTurn
from langchain_llama_guard._calls_apart import CallsApart
from langchain_llama_guard._conversation import conversation_of, message_of
from langchain_llama_guard._failures import as_output
from langchain_llama_guard._history import after_reply, in_place_of, prompt_refusal, replacements
from langchain_llama_guard._refusals import refusal_message, with_records_on
from langchain_llama_guard._scout_settings import ScoutSettings
from langchain_llama_guard.guarded_chat_models import GuardedChatModel, serving_agent
from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.errors import ConfigurationError
from llama_guard_core.guardrail.decisions import Refuse, decision_records
from llama_guard_core.guardrail.failures import Failed
from llama_guard_core.guardrail.screening import CallModel, Flow, screen_reply
from llama_guard_core.guardrail.verdict import Stage
from llama_guard_core.messages import assistant

_PROMPT_STAGES = (Stage.PROMPT, Stage.TOOL_RESULT)


class AgentModelCall:
    """One call of an agent's model.

    The model is replaced by one that is guarded from inside, so that nothing it says is seen unjudged. Middleware
    further in may put another in its place; what comes back is judged here unless the guarded model has said it.

    Args:
        guard: what judges.
        judging: the same with the stages that are judged inside the model.
        request: the call.
        turn: what of the messages in it is judged before the model is asked.
        refuses_apart: whether the agent answers refused calls; if not, a reply with one is refused as a whole.
        keeps_arguments: whether a refused call keeps its arguments.
    """

    def __init__(
        self,
        guard: LlamaGuard,
        judging: LlamaGuard,
        request: ModelRequest,
        turn: AgentTurn,
        *,
        refuses_apart: bool,
        keeps_arguments: bool,
    ) -> None:
        tools = frozenset(map(_name_of, request.tools)) if refuses_apart else frozenset[str]()
        self._guard = guard
        self._turn = turn
        self._apart = CallsApart(tools, keeps_arguments)
        self._conversation = conversation_of(request.messages)
        self.request = request.override(model=_serving(request.model, guard, judging, self._apart))

    def failed(self, error: Exception) -> Failed:
        """An exception on the way, to be judged unless it is LangGraph's own business."""
        if isinstance(error, GraphBubbleUp):
            raise error
        return as_output(error)

    def flow(self) -> Flow[ModelResponse]:
        """Judge what only this call puts before the model, call it, judge what only now comes to light."""
        if refused := (yield from self._screen_shown()):
            return refused
        outcome: ModelResponse | ExtendedModelResponse | AIMessage | Failed = yield CallModel()
        if isinstance(outcome, Failed):
            return (yield from self._after_failure(outcome))
        response = _response(outcome)
        replies = [message for message in response.result if isinstance(message, AIMessage)]
        if self._apart.refusal and self._apart.refusal.stage in _PROMPT_STAGES:
            return self._with_prompt_replaced(response)
        for reply in replies:
            if not self._apart.has_said(reply):
                return (yield from self._judged_late(response, reply))
        return response

    def _screen_shown(self) -> Flow[ModelResponse | None]:
        """Judge what the model is about to be shown, and was not judged before: other middleware may have put it there.

        Returns:
            The refusal, where the model may not be asked; in the agent's state it replaces prompts that are there.
        """
        decisions = []
        for flow in self._turn.flows:
            decisions.append((yield from flow))  # noqa: PERF401 - no comprehension can yield
        messages, about = self.request.messages, self._turn.about(decisions)
        if refusal := prompt_refusal(messages, about):
            kept = {message.id for message in self.request.state["messages"]}
            replaced = [message for message in replacements(messages, about) if message.id in kept]
            return ModelResponse(result=[*replaced, *_refused(refusal, None).result])
        if any(isinstance(it, Refuse) for it in about):
            judged = zip(messages, about, strict=True)
            shown: list[Any] = [in_place_of(it, why) if isinstance(why, Refuse) else it for it, why in judged]
            self.request = self.request.override(messages=shown)
        return None

    def _after_failure(self, failed: Failed) -> Flow[ModelResponse]:
        """Where a refusal is no answer in the agent's response format, LangChain raises; the refusal stands."""
        if self._apart.refusal:
            return _refused(self._apart.refusal, getattr(failed.error, "ai_message", None))
        if not self._apart.said:
            decision = yield from screen_reply(self._guard.policy, self._conversation, assistant(failed.text))
            if isinstance(decision, Refuse):
                return _refused(decision, None)
        raise failed.error

    def _judged_late(self, response: ModelResponse, reply: AIMessage) -> Flow[ModelResponse]:
        said = message_of(reply)
        decision = yield from screen_reply(self._guard.policy, self._conversation, said)
        if not isinstance(decision, Refuse):
            told = with_records_on(reply, decision_records(decision))
            result = [told if message is reply else message for message in response.result]
            return ModelResponse(result=result, structured_response=response.structured_response)
        parts = yield from self._apart.parts_of(self._guard.policy, self._conversation, said, decision)
        if parts is None:
            return _refused(decision, reply)
        parted = with_records_on(self._apart.parted(reply, parts), parts.records)
        result = [parted if message is reply else message for message in response.result]
        return ModelResponse(result=result, structured_response=response.structured_response)

    def _with_prompt_replaced(self, response: ModelResponse) -> ModelResponse:
        """The refusal, and in the place of the prompt that was judged beside the model what stands for it."""
        messages = self.request.messages
        last_turn = range(after_reply(messages), len(messages))
        refusal = self._apart.refusal
        about = [refusal if at in last_turn and refusal else None for at in range(len(messages))]
        return ModelResponse(result=[*replacements(messages, about), *response.result])


def _serving(model: Any, guard: LlamaGuard, judging: LlamaGuard, apart: CallsApart) -> Any:
    if isinstance(model, RunnableBinding):
        return model.model_copy(update={"bound": _serving(model.bound, guard, judging, apart)})
    if isinstance(model, GuardedChatModel) and model.guard is guard:
        model = model.model
    if isinstance(model, ScoutSettings) and model.guard is guard:
        model = model.without_guard()
    if isinstance(model, BaseChatModel):
        return serving_agent(model, judging, apart)
    msg = f"a {type(model).__name__} cannot be guarded in an agent: give create_agent a chat model"
    raise ConfigurationError(msg)


def _name_of(tool: BaseTool | dict[str, Any]) -> str:
    if isinstance(tool, dict):
        return str(tool.get("name") or tool.get("function", {}).get("name") or "")
    return tool.name


def _response(outcome: ModelResponse | ExtendedModelResponse | AIMessage) -> ModelResponse:
    if isinstance(outcome, AIMessage):
        return ModelResponse(result=[outcome])
    return outcome.model_response if isinstance(outcome, ExtendedModelResponse) else outcome


def _refused(refusal: Refuse, instead_of: BaseMessage | None) -> ModelResponse:
    return ModelResponse(result=[refusal_message(refusal, decision_records(refusal), instead_of)])
