"""GuardedChatEngine: somebody's chat engine, with its messages and answers judged."""

# ruff: noqa: SLF001 - to wrap an engine is to call its hooks and to look inside

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Sequence
from copy import copy
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole
from llama_index.core.chat_engine import CondenseQuestionChatEngine
from llama_index.core.chat_engine.types import (
    AGENT_CHAT_RESPONSE_TYPE,
    AgentChatResponse,
    BaseChatEngine,
    StreamingAgentChatResponse,
)
from llama_index.core.llms.llm import LLM

from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.drive import arun, run
from llama_guard_core.guardrail.decisions import Allow, Refuse, decision_records
from llama_guard_core.guardrail.screening import screen_prompt
from llama_guard_core.guardrail.verdict import Stage
from llama_guard_core.messages import Conversation, user
from llamaindex_llama_guard._conversation import conversation_of
from llamaindex_llama_guard._reply_form import METADATA_KEY
from llamaindex_llama_guard.guarded_llms import GuardedLLM
from llamaindex_llama_guard.query_engines import GuardedQueryEngine

History = list[ChatMessage]


class GuardedChatEngine(BaseChatEngine):
    """A chat engine whose messages are judged before it sees them, and whose answers before anybody does.

    A refused message never reaches the engine, so its memory does not hold it. An answer is judged inside, where the
    engine's model hands it over: what the engine writes to its memory, streams and tells its observers has been
    judged. In the place of an unsafe answer memory holds the refusal; of one that was streamed, what was shown and
    then the refusal. A message is always judged before the engine gets it, whatever the policy's `prompt_check` says:
    engines write it to memory first of all.

    A message is judged in its conversation. Passages that the engine puts into a system message are not part of
    that; they are `LlamaGuardPostprocessor`'s to judge. Steps in between, such as the rewriting of a question, are
    judged as replies too.

    What was decided about the message is in `AgentChatResponse.metadata["llama_guard"]`.

    Args:
        engine: the chat engine to guard; it is left as it is, and shares its memory.
        guard: what judges it, with the policy for what follows.

    Raises:
        TypeError: the engine has no language model that could be guarded from inside. Guard its model before you
            make it.

    Example:
        ```python
        chat = GuardedChatEngine(index.as_chat_engine(), guard)
        print(chat.chat("What does the museum show?"))
        ```
    """

    def __init__(self, engine: BaseChatEngine, guard: LlamaGuard) -> None:
        self.engine = engine
        self.guard = guard
        self._inside = _guarded_inside(engine, guard)

    def chat(self, message: str, chat_history: History | None = None, **kwargs: Any) -> AGENT_CHAT_RESPONSE_TYPE:
        """Answer a message, or refuse it."""
        conversation = _conversation(self.chat_history if chat_history is None else chat_history, message)
        decision = run(screen_prompt(self.guard.policy, conversation), self.guard.judge)
        if isinstance(decision, Refuse):
            return AgentChatResponse(decision.text, metadata={METADATA_KEY: decision_records(decision)})
        return _told(self._inside.chat(message, chat_history, **kwargs), decision)

    async def achat(self, message: str, chat_history: History | None = None, **kwargs: Any) -> AGENT_CHAT_RESPONSE_TYPE:
        """Answer a message, or refuse it."""
        conversation = _conversation(await self._ahistory() if chat_history is None else chat_history, message)
        decision = await arun(screen_prompt(self.guard.policy, conversation), self.guard.ajudge)
        if isinstance(decision, Refuse):
            return AgentChatResponse(decision.text, metadata={METADATA_KEY: decision_records(decision)})
        return _told(await self._inside.achat(message, chat_history, **kwargs), decision)

    def stream_chat(
        self, message: str, chat_history: History | None = None, **kwargs: Any
    ) -> StreamingAgentChatResponse:
        """Answer a message by a stream, or refuse it by one."""
        conversation = _conversation(self.chat_history if chat_history is None else chat_history, message)
        decision = run(screen_prompt(self.guard.policy, conversation), self.guard.judge)
        if isinstance(decision, Refuse):
            return StreamingAgentChatResponse(
                decision.text, chat_stream=_in_one(decision.text), is_writing_to_memory=False
            )
        return self._inside.stream_chat(message, chat_history, **kwargs)

    async def astream_chat(
        self, message: str, chat_history: History | None = None, **kwargs: Any
    ) -> StreamingAgentChatResponse:
        """Answer a message by a stream, or refuse it by one."""
        conversation = _conversation(await self._ahistory() if chat_history is None else chat_history, message)
        decision = await arun(screen_prompt(self.guard.policy, conversation), self.guard.ajudge)
        if isinstance(decision, Refuse):
            return StreamingAgentChatResponse(
                decision.text, achat_stream=_at_once(decision.text), is_writing_to_memory=False
            )
        return await self._inside.astream_chat(message, chat_history, **kwargs)

    def reset(self) -> None:
        """Forget the conversation."""
        self.engine.reset()

    @property
    def chat_history(self) -> History:
        """The conversation as the engine remembers it."""
        return self.engine.chat_history

    async def _ahistory(self) -> History:
        """The same, without blocking the loop where the engine's memory can be asked that way."""
        if aget_all := getattr(getattr(self.engine, "_memory", None), "aget_all", None):
            history: History = await aget_all()
            return history
        return self.engine.chat_history


def _guarded_inside(engine: BaseChatEngine, guard: LlamaGuard) -> BaseChatEngine:
    """A copy of the engine, on the same memory, whose answers are judged before it sees them."""
    policy = guard.policy
    judged_inside = policy.stages - {Stage.PROMPT, Stage.TOOL_RESULT}
    if not judged_inside & {Stage.REPLY, Stage.TOOL_CALL}:
        return engine
    replies = guard.with_policy(policy.model_copy(update={"stages": judged_inside}))
    inside = copy(engine)
    if isinstance(inside, CondenseQuestionChatEngine):  # its answers are its query engine's
        inside._query_engine = GuardedQueryEngine(inside._query_engine, replies)
    models = {name: model for name, model in vars(inside).items() if isinstance(model, LLM)}
    if not models:
        msg = (
            f"{type(engine).__name__} keeps no language model that could be guarded from inside: make it with a "
            "guarded one, guarded(llm, guard)"
        )
        raise TypeError(msg)
    for name, model in models.items():
        if not _is_guarded(model, guard):
            setattr(inside, name, GuardedLLM(llm=model, guard=replies))
    return inside


def _is_guarded(model: LLM, guard: LlamaGuard) -> bool:
    """Whether this very guard judges the model's replies already."""
    return getattr(model, "guard", None) is guard


def _conversation(history: Sequence[ChatMessage], message: str) -> Conversation:
    return (*conversation_of(history), user(str(message)))


def _told(response: AGENT_CHAT_RESPONSE_TYPE, decision: Allow) -> AGENT_CHAT_RESPONSE_TYPE:
    if isinstance(response, AgentChatResponse):
        response.metadata = {**(response.metadata or {}), METADATA_KEY: decision_records(decision)}
    return response


def _in_one(text: str) -> Generator[ChatResponse, None, None]:
    yield ChatResponse(message=ChatMessage(role=MessageRole.ASSISTANT, content=text), delta=text)


async def _at_once(text: str) -> AsyncGenerator[ChatResponse, None]:
    yield ChatResponse(message=ChatMessage(role=MessageRole.ASSISTANT, content=text), delta=text)
