"""What the tests of the agents share: tools that count, agents of each kind, and everything that a run tells."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pydantic
from fake_provider import FakeProvider, Received, Reply, ToolCall
from llama_index.core.agent.workflow import (
    AgentOutput,
    AgentStream,
    AgentWorkflow,
    CodeActAgent,
    FunctionAgent,
    ReActAgent,
)
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.memory import ChatMemoryBuffer
from llama_index.core.objects import ObjectRetriever
from llama_index.core.tools import BaseTool, FunctionTool
from with_llamaindex.engines import memory
from with_llamaindex.scouts import guard_of, scout

from llamaindex_llama_guard import guard_agent

MARKER = "BOMB"
REFUSAL = "I can't help with that."
APOLOGY = "I can't answer right now: a safety check could not be completed. Please try again later."
WITHHELD_PROMPT = "(This message was withheld: it was judged unsafe.)"
WITHHELD = {"llama_guard": "withheld"}
COPIES_MEMORY = tuple(map(int, pydantic.VERSION.split(".")[:2])) < (2, 12)
"""Whether a context writes the memory it was given out, and has a copy of it when it is used again."""


@dataclass
class Tools:
    """Tools that remember what they were run with, and give what they were told to."""

    gives: Any = "Nothing of note."
    ran: list[str] = field(default_factory=list)

    def search(self, query: str) -> Any:
        """Search the archive."""
        self.ran.append(query)
        if isinstance(self.gives, Exception):
            raise self.gives
        return self.gives(query) if callable(self.gives) else self.gives

    def execute(self, code: str) -> Any:
        """Execute code."""
        return self.search(code)

    async def asearch(self, query: str) -> Any:
        """Search the archive."""
        return self.search(query)

    def tool(self, **settings: Any) -> FunctionTool:
        return FunctionTool.from_defaults(self.search, name="search", description="Search the archive.", **settings)

    def async_tool(self, **settings: Any) -> FunctionTool:
        return FunctionTool.from_defaults(
            async_fn=self.asearch, name="search", description="Search the archive.", **settings
        )


class Found(ObjectRetriever[BaseTool]):
    """What an agent finds its tools with."""

    def __init__(self, *tools: Any) -> None:
        super().__init__(None, None)  # type: ignore[arg-type]
        self.tools = tools

    async def aretrieve(self, query: Any) -> list[Any]:
        return [*self.tools]


def call(query: str, call_id: str = "c1", name: str = "search") -> ToolCall:
    return ToolCall(name, f'{{"query": "{query}"}}', call_id)


def asks(*calls: ToolCall, text: str = "") -> Reply:
    """A model's reply that asks for tools."""
    return Reply(text, calls)


def acts(query: str, tool: str = "search") -> str:
    """The same in the words of a ReAct agent."""
    return f'Thought: I need a tool.\nAction: {tool}\nAction Input: {{"query": "{query}"}}'


@dataclass
class Ran:
    """What a run of an agent came to."""

    result: AgentOutput
    events: list[Any]
    memory: ChatMemoryBuffer

    @property
    def answer(self) -> str:
        return str(self.result)

    @property
    def streamed(self) -> str:
        return "".join(event.delta for event in self.events if isinstance(event, AgentStream))

    @property
    def remembered(self) -> list[tuple[str, str]]:
        return [(message.role.value, message.content or "") for message in self.memory.get_all()]

    @property
    def everything(self) -> str:
        told = [(event, event.model_dump()) for event in self.events]
        raw = [getattr(event, "raw", None) for event in self.events]
        outputs = [event.tool_output for event in self.events if hasattr(event, "tool_output")]
        hidden = [(output.raw_input, output.raw_output, repr(getattr(output, "exception", None))) for output in outputs]
        return repr((told, raw, hidden, self.result, self.result.model_dump(), self.result.raw, self.memory.get_all()))


async def run(
    agent: FunctionAgent | ReActAgent | CodeActAgent | AgentWorkflow, prompt: Any = "Hello", **how: Any
) -> Ran:
    """Run an agent, listen to all it tells, look at what it remembers."""
    kept = how.pop("memory", None) or memory()
    handler = agent.run(user_msg=prompt, memory=kept, **how)
    events = [event async for event in handler.stream_events()]
    return Ran(await handler, events, kept)


def function_agent(provider: FakeProvider, tools: Sequence[Any] = (), **how: Any) -> FunctionAgent:
    """A guarded FunctionAgent; keywords that are not the agent's own are the policy's."""
    own = {name: how.pop(name) for name in list(how) if name in FunctionAgent.model_fields}
    if "streaming_policy" in how:
        how["streaming"] = how.pop("streaming_policy")
    ending = {"on_refused_call": how.pop("on_refused_call")} if "on_refused_call" in how else {}
    agent = FunctionAgent(tools=list(tools), llm=scout(provider), **own)
    return guard_agent(agent, guard_of(provider, **how), **ending)


def react_agent(provider: FakeProvider, tools: Sequence[Any] = (), **how: Any) -> ReActAgent:
    own = {name: how.pop(name) for name in list(how) if name in ReActAgent.model_fields}
    if "streaming_policy" in how:
        how["streaming"] = how.pop("streaming_policy")
    return guard_agent(ReActAgent(tools=list(tools), llm=scout(provider), **own), guard_of(provider, **how))


def code_agent(provider: FakeProvider, execute: Any, llm: Any = None, **how: Any) -> CodeActAgent:
    own = {name: how.pop(name) for name in list(how) if name in CodeActAgent.model_fields}
    agent = CodeActAgent(code_execute_fn=execute, llm=llm or scout(provider), **own)
    return guard_agent(agent, guard_of(provider, **how))


def scripted(
    provider: FakeProvider, *outcomes: str | Reply, always: Callable[[Received], str | Reply] | None = None
) -> None:
    """What the model says: these outcomes, one a call, or always what a function gives."""
    provider._chat = always or deque(outcomes)


def said(role: str, text: str) -> ChatMessage:
    return ChatMessage(role=role, content=text)


def asked_of_the_model(provider: FakeProvider, at: int = -1) -> list[dict[str, Any]]:
    return provider.requests_of("chat")[at].messages
