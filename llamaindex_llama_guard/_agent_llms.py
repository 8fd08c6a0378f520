"""The model of a guarded agent: a guarded LLM whose refused calls are refused apart from the harmless ones."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from llama_index.core.base.llms.types import ChatResponse, ChatResponseAsyncGen
from llama_index.core.llms.llm import LLM
from llama_index.core.tools import BaseTool
from pydantic import PrivateAttr

from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.errors import GuardUnavailable
from llama_guard_core.guardrail.decisions import Refuse
from llama_guard_core.guardrail.verdict import Stage
from llama_guard_core.messages import Message, ToolCall
from llamaindex_llama_guard._conversation import call_key, message_of
from llamaindex_llama_guard._reply_form import METADATA_KEY, PartedForm
from llamaindex_llama_guard._reply_forms import ChatForm
from llamaindex_llama_guard._withheld import without_arguments
from llamaindex_llama_guard.guarded_llms import GuardedLLM
from llamaindex_llama_guard.llms import LlamaScout

HANDOFF = "handoff"
"""The name that LlamaIndex keeps for the tool by which one agent hands over to another."""

ReadsAction = Callable[[str], ToolCall | None]
"""Reads in a reply's text the call that an agent will make of it."""


class AgentForm(ChatForm):
    """Chat responses for an agent: an action written in the text is judged as the call it becomes.

    A refusal says in `raw` what was decided, which is all that agents pass on of a response.
    """

    def __init__(self, reads_action: ReadsAction | None = None) -> None:
        super().__init__()
        self._reads_action = reads_action

    def read(self, chunks: Sequence[ChatResponse]) -> Message:
        """What the responses say, with the call that their text asks for."""
        said = super().read(chunks)
        action = self._reads_action(chunks[-1].message.content or "") if self._reads_action else None
        return Message(said.role, said.parts, (action, *said.tool_calls)) if action else said

    def refused(self, text: str, *, is_streamed: bool, **told: Any) -> ChatResponse:
        """A refusal as a chat response."""
        response = super().refused(text, is_streamed=is_streamed, **told)
        return response.model_copy(update={"raw": _with_decisions(response)})


class CallsApartForm(AgentForm, PartedForm[ChatResponse, ChatResponse]):
    """Chat responses for an agent that answers refused calls of its tools itself.

    A call of something else may be unsafe by its name, which would stay.
    """

    def __init__(self, offered: Container[str | None]) -> None:
        super().__init__()
        self._offered = offered

    def without(
        self,
        reply: ChatResponse,
        refused: Mapping[ToolCall, Refuse],
        *,
        shown: str | None,
        raw: dict[str, Any],
        **told: Any,
    ) -> ChatResponse | None:
        """The reply with the arguments of some calls withheld; `None` if one of them is none that could be answered."""
        message = without_arguments(reply.message, refused)
        left = set(map(call_key, message_of(message).tool_calls))
        if any(call.name == HANDOFF or call.name not in self._offered or call_key(call) in left for call in refused):
            return None
        delta = None if shown is None else (message.content or "").removeprefix(shown)
        raw = {**raw, "choices": [{"index": 0, "finish_reason": "tool_calls"}]}
        parted = ChatResponse(message=message, delta=delta, raw=raw, additional_kwargs=told)
        return parted.model_copy(update={"raw": _with_decisions(parted)})


run_was_refused: ContextVar[bool] = ContextVar("llama_guard_run_was_refused", default=False)
"""Whether a run has ended with a refusal. Its messages may hold what nobody could judge, and are shown to no model."""

_offered: ContextVar[frozenset[str | None]] = ContextVar("llama_guard_offered", default=frozenset())


class AgentLLM(GuardedLLM):
    """An LLM whose replies are judged for an agent, which judges by itself what it shows the model."""

    _reads_action: ReadsAction | None = PrivateAttr(default=None)
    _ends_run: bool = PrivateAttr(default=False)

    async def achat_with_tools(self, tools: Sequence[BaseTool], *args: Any, **kwargs: Any) -> ChatResponse:
        """Answer, perhaps with calls of these tools."""
        with _offering(tools):
            return await super().achat_with_tools(tools, *args, **kwargs)

    async def astream_chat_with_tools(
        self, tools: Sequence[BaseTool], *args: Any, **kwargs: Any
    ) -> ChatResponseAsyncGen:
        """Answer piece by piece, perhaps with calls of these tools."""
        with _offering(tools):
            return await super().astream_chat_with_tools(tools, *args, **kwargs)

    def _chat_form(self) -> AgentForm:
        if run_was_refused.get():
            msg = "no answer is made of a run that was refused"
            raise GuardUnavailable(msg, reason="not_judgeable")
        if self._ends_run or self._reads_action:
            return AgentForm(self._reads_action)
        return CallsApartForm(_offered.get())


@contextmanager
def _offering(tools: Iterable[BaseTool]) -> Iterator[None]:
    token = _offered.set(frozenset(tool.metadata.name for tool in tools))
    try:
        yield
    finally:
        _offered.reset(token)


def agent_llm(llm: LLM, guard: LlamaGuard, reads_action: ReadsAction | None, *, ends_run: bool) -> LLM:
    """The LLM as an agent uses it under guard."""
    policy = guard.policy
    judged = policy.stages & {Stage.REPLY, Stage.TOOL_CALL}
    replies = guard.with_policy(policy.model_copy(update={"stages": judged}))
    twin = AgentLLM(llm=_inside(llm, guard), guard=replies)
    twin._reads_action, twin._ends_run = reads_action, ends_run  # noqa: SLF001 - one of us
    return twin


def was_refused(raw: Any) -> bool:
    """Whether an agent's output, by its `raw`, is a refusal in the place of a reply."""
    if not (isinstance(raw, Mapping) and METADATA_KEY in raw):
        return False
    return [choice.get("finish_reason") for choice in raw.get("choices", ())] == ["content_filter"]


def _inside(llm: LLM, guard: LlamaGuard) -> LLM:
    """The LLM without this very guard: it would refuse whole what is to be refused in parts."""
    if isinstance(llm, GuardedLLM) and llm.guard is guard:
        return llm.llm
    if isinstance(llm, LlamaScout) and llm.guard is guard:
        return llm._twin(guard=None)  # noqa: SLF001 - one of us
    return llm


def _with_decisions(response: ChatResponse) -> dict[str, Any]:
    return {**(response.raw or {}), METADATA_KEY: response.additional_kwargs[METADATA_KEY]}
