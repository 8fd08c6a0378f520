"""Agents for tests: a scripted model, tools that count how often they ran, and everything that can be seen of a run."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fake_provider import FakeProvider, Received, Reply, ToolCall
from fake_provider.replies import words
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.tools import BaseTool, StructuredTool
from langgraph.checkpoint.memory import InMemorySaver
from with_langchain.channels import Channels

from langchain_llama_guard import ChatLlamaScout, LlamaGuard, LlamaGuardMiddleware, Policy

REFUSAL = "I can't help with that."
MODES = ["messages", "updates", "values", "custom", "debug"]


def call(name: str, text: str = "", call_id: str = "c1") -> ToolCall:
    """A call of one of the counted tools."""
    return ToolCall(name, f'{{"text": "{text}"}}', call_id)


@dataclass
class Bench:
    """An agent's world: the host that plays model and guard, the tools and how often each ran.

    Attributes:
        replies: what the model says, one reply a call, whatever it is asked.
        policy: the guard's.
        results: what each tool gives; a function of its text, or a text.
    """

    replies: Sequence[Reply | str] = ()
    policy: Policy = field(default_factory=Policy)
    results: dict[str, Any] = field(default_factory=dict)
    guard_settings: dict[str, Any] = field(default_factory=dict)
    ran: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.provider = FakeProvider(chat=list(self.replies))
        self.guard = LlamaGuard(policy=self.policy, **self.host, **self.guard_settings)
        self.saver = InMemorySaver()

    @property
    def host(self) -> dict[str, Any]:
        clients = {"http_client": self.provider.client(), "http_async_client": self.provider.async_client()}
        return {"api_key": "sk-or-v1-bench", "max_retries": 0, **clients}

    @property
    def asked(self) -> list[str]:
        """What the guard was asked about, by the judged text."""
        return [question.text for question in self.provider.guard_questions]

    def model(self, **settings: Any) -> ChatLlamaScout:
        return ChatLlamaScout(**self.host, **settings)

    def tool(self, name: str, *, asynchronous: bool = True, **settings: Any) -> BaseTool:
        """A tool with one text for an argument, which counts its runs."""

        def work(text: str) -> Any:
            """Do something with a text."""
            self.ran[name] += 1
            gives = self.results.get(name, f"done with {name}")
            return gives(text) if callable(gives) else gives

        async def awork(text: str) -> Any:
            """Do something with a text."""
            await asyncio.sleep(0)
            return work(text)

        functions = {"func": work, **({"coroutine": awork} if asynchronous else {})}
        return StructuredTool.from_function(**functions, name=name, **settings)

    def agent(self, *names: str, middleware: Iterable[Any] | None = None, model: Any = None, **settings: Any) -> Any:
        """An agent with tools of these names."""
        own: dict[str, Any] = {
            name: settings.pop(name) for name in ("exit_behavior", "prompt_hook", "descriptions") if name in settings
        }
        return create_agent(
            model or self.model(),
            [self.tool(name) for name in names] or settings.pop("tools", None),
            middleware=[LlamaGuardMiddleware(self.guard, **own)] if middleware is None else list(middleware),
            checkpointer=settings.pop("checkpointer", self.saver),
            **settings,
        )


CONFIG: dict[str, Any] = {"configurable": {"thread_id": "1"}}
Run = Callable[..., Any]


async def plain(agent: Any, value: Any, config: dict[str, Any] = CONFIG) -> Any:
    return agent.invoke(value, config)


async def aplain(agent: Any, value: Any, config: dict[str, Any] = CONFIG) -> Any:
    return await agent.ainvoke(value, config)


async def streamed(agent: Any, value: Any, config: dict[str, Any] = CONFIG) -> Any:
    last: Any = None
    for mode, piece in agent.stream(value, config, stream_mode=MODES):
        last = piece if mode == "values" else last
    return last


async def astreamed(agent: Any, value: Any, config: dict[str, Any] = CONFIG) -> Any:
    last: Any = None
    async for mode, piece in agent.astream(value, config, stream_mode=MODES):
        last = piece if mode == "values" else last
    return last


RUNS: dict[str, Run] = {"invoke": plain, "ainvoke": aplain, "stream": streamed, "astream": astreamed}


def asks(text: str) -> dict[str, Any]:
    """A user's message, as an agent takes it."""
    return {"messages": [("user", text)]}


def texts(state: Any) -> list[str]:
    """The agent's messages, by their texts."""
    return [message.text for message in state["messages"]]


def last_text(state: Any) -> str:
    return texts(state)[-1]


def is_accepted(messages: Sequence[BaseMessage]) -> bool:
    """Whether a provider takes this history: it begins with a user, and each call is answered once and at once."""
    open_ids: list[str] = []
    for message in messages:
        if isinstance(message, ToolMessage):
            if message.tool_call_id not in open_ids:
                return False
            open_ids.remove(message.tool_call_id)
        elif open_ids:
            return False
        if isinstance(message, AIMessage):
            open_ids = [str(made["id"]) for made in message.tool_calls]
    return not open_ids and bool(messages) and messages[0].type == "human"


def see(channels: Channels, agent: Any, value: Any, config: dict[str, Any] = CONFIG) -> None:
    """Run it in every stream mode, and note all that is seen, the checkpoints' history too."""
    observed = {**config, "callbacks": channels.handlers()}
    try:
        for piece in agent.stream(value, observed, stream_mode=MODES, subgraphs=True):
            channels.note(f"stream {piece[1]}", piece)
    except Exception as error:  # noqa: BLE001 - what it says is looked at
        channels.note("exception", error)
    for snapshot in agent.get_state_history(config):
        channels.note("history", snapshot)


async def asee(channels: Channels, agent: Any, value: Any, config: dict[str, Any] = CONFIG) -> None:
    """The same, async."""
    observed = {**config, "callbacks": channels.handlers()}
    try:
        async for piece in agent.astream(value, observed, stream_mode=MODES, subgraphs=True):
            channels.note(f"stream {piece[1]}", piece)
    except Exception as error:  # noqa: BLE001 - what it says is looked at
        channels.note("exception", error)
    async for snapshot in agent.aget_state_history(config):
        channels.note("history", snapshot)


def spoken(*texts: str) -> list[Reply]:
    """Replies of words alone."""
    return [Reply(text, deltas=words(text)) for text in texts]


def received_texts(requests: Iterable[Received]) -> list[str]:
    """All that a model was sent, as one text a request."""
    return [str(received.body["messages"]) for received in requests]
