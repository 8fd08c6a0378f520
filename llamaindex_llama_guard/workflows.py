"""Llama Guard in the steps of a workflow of your own."""

# No `from __future__ import annotations` here: workflows read the annotations of steps, resources and events.

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.schema import BaseNode, NodeWithScore
from llama_index.core.workflow import Event
from workflows.resource import Resource

from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.drive import arun
from llama_guard_core.guardrail.decisions import Allow, Refuse, decision_record
from llama_guard_core.guardrail.screening import Flow, screen_document, screen_prompt, screen_reply
from llama_guard_core.guardrail.tool_screening import screen_tool_call, screen_tool_result
from llama_guard_core.messages import Conversation, ToolCall, user
from llamaindex_llama_guard._conversation import arguments_text, conversation_of, message_of
from llamaindex_llama_guard._documents import screen_node

Said = str | ChatMessage
Chat = Said | Sequence[ChatMessage]
_numbers = count(1)


class RefusedEvent(Event):
    """Something was refused; a step of yours says what follows.

    It holds no judged text, and is true in a condition like every answer that is not `None`.

    Attributes:
        text: the policy's refusal or apology, to be shown in the place of what was refused.
        stage: what was judged: `prompt`, `reply`, `tool_call`, `tool_result` or `document`.
        decision: what was decided, with the verdict, as plain JSON values.
    """

    text: str
    stage: str
    decision: dict[str, Any]

    def __bool__(self) -> bool:
        # An event is as long as what it was given beyond its fields, and would be false with nothing.
        return True


class WorkflowGuard:
    """A guard for the steps of a workflow: each method gives a `RefusedEvent`, or `None` where the policy allows.

    It judges what it is given, when it is asked; what the workflow passes by it is not judged. Stages that the policy
    leaves out are allowed without asking.

    Args:
        guard: what judges, with the policy for what follows.

    Raises:
        UnsafeContent: from each method, where the policy says raise.
        GuardUnavailable: likewise, where no verdict could be had.

    Example:
        ```python
        Guard = Annotated[WorkflowGuard, guard_resource(LlamaGuard())]

        class Answering(Workflow):
            @step
            async def screen(self, ev: StartEvent, guard: Guard) -> Question | RefusedEvent:
                return await guard.prompt(ev.question) or Question(text=ev.question)

            @step
            async def answer(self, ev: Question, guard: Guard) -> StopEvent | RefusedEvent:
                answer = await llm.acomplete(ev.text)
                return await guard.reply(answer.text, to=ev.text) or StopEvent(result=answer.text)

            @step
            async def refuse(self, ev: RefusedEvent) -> StopEvent:
                return StopEvent(result=ev.text)
        ```
    """

    def __init__(self, guard: LlamaGuard) -> None:
        self.guard = guard

    async def prompt(self, chat: Chat) -> RefusedEvent | None:
        """Judge what was said to the model since it last spoke.

        Args:
            chat: a user's text, or messages.
        """
        return await self._event(screen_prompt(self.guard.policy, _conversation(chat)))

    async def reply(self, said: Said, *, to: Chat = ()) -> RefusedEvent | None:
        """Judge a reply, with its tool calls, as the answer to a chat."""
        message = ChatMessage(role=MessageRole.ASSISTANT, content=said) if isinstance(said, str) else said
        return await self._event(screen_reply(self.guard.policy, _conversation(to), message_of(message)))

    async def tool_call(
        self, name: str, arguments: Mapping[str, Any] | str, *, after: Chat = (), call_id: str = ""
    ) -> RefusedEvent | None:
        """Judge a call before the tool runs.

        Args:
            name: the tool's.
            arguments: as they will be given to it.
            after: the chat so far, with or without the message that asks for the call.
            call_id: which of the calls of that message it is.
        """
        call = ToolCall(call_id, name, arguments_text(arguments))
        return await self._event(screen_tool_call(self.guard.policy, _conversation(after), call))

    async def tool_result(self, said: Said, *, after: Chat = ()) -> RefusedEvent | None:
        """Judge what a tool gave before a model reads it.

        Args:
            said: the result.
            after: the chat up to and with the message that asks for it.
        """
        message = ChatMessage(role=MessageRole.TOOL, content=said) if isinstance(said, str) else said
        return await self._event(screen_tool_result(self.guard.policy, _conversation(after), message_of(message)))

    async def document(self, passage: str | BaseNode | NodeWithScore) -> RefusedEvent | None:
        """Judge a passage on its own."""
        node = passage.node if isinstance(passage, NodeWithScore) else passage
        policy = self.guard.policy
        return await self._event(
            screen_document(policy, user(node)) if isinstance(node, str) else screen_node(policy, node)
        )

    async def _event(self, flow: Flow[Allow | Refuse]) -> RefusedEvent | None:
        decision = await arun(flow, self.guard.ajudge)
        if isinstance(decision, Allow):
            return None
        return RefusedEvent(text=decision.text, stage=decision.stage.value, decision=decision_record(decision))


def guard_resource(guard: LlamaGuard) -> Any:
    """A guard as a resource that workflows hand to their steps; see `WorkflowGuard`.

    A workflow makes one for all its steps and runs. Two of them, with guards of their own, may stand in one workflow.
    """

    def workflow_guard() -> WorkflowGuard:
        return WorkflowGuard(guard)

    # Workflows know a resource by its factory's name.
    workflow_guard.__qualname__ = f"{workflow_guard.__qualname__}-{next(_numbers)}"
    return Resource(workflow_guard)


def _conversation(chat: Chat) -> Conversation:
    match chat:
        case str():
            return (user(chat),) if chat else ()
        case ChatMessage():
            return (message_of(chat),)
        case _:
            return conversation_of(chat)
