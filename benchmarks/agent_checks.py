"""How often a guard is asked in one run of an agent: ours beside OpenAI's moderation middleware, in the same run.

    make bench-agents

A scripted model calls a tool at each step, so every guard sees the same messages. Nothing is timed: checks are counted
where they leave the process, at the HTTP transport and at OpenAI's client.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import httpx
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langchain_openai.middleware import OpenAIModerationMiddleware

from langchain_llama_guard import LlamaGuard, LlamaGuardMiddleware

STEPS = 10


class Stepping(BaseChatModel):
    """Calls a tool at each step, and answers after the last."""

    words: str = ""

    @property
    def _llm_type(self) -> str:
        return "stepping"

    def bind_tools(self, tools: Sequence[Any], **_: Any) -> Any:  # noqa: ARG002 - LangChain's own signature
        """Itself: the tools are known."""
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        step = sum(isinstance(message, AIMessage) for message in messages)
        call = {"name": "look_up", "args": {"page": step}, "id": f"c{step}"}
        said = AIMessage(self.words, tool_calls=[call]) if step < STEPS else AIMessage("That is all.")
        return ChatResult(generations=[ChatGeneration(message=said)])


@tool
def look_up(page: int) -> str:
    """Look up a page."""
    return f"Page {page} says nothing new."


class Ours:
    """Counts what reaches the guard's host."""

    def __init__(self) -> None:
        self.checks = 0
        client = httpx.Client(transport=httpx.MockTransport(self._answer))
        self.middleware: Any = LlamaGuardMiddleware(LlamaGuard(api_key="sk-local", http_client=client))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.checks += 1
        model = json.loads(request.content)["model"]
        message = {"role": "assistant", "content": "safe"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return httpx.Response(200, json={"id": "1", "model": model, "choices": [choice]})


class OpenAIs:
    """Counts what reaches OpenAI's client."""

    def __init__(self, *, tool_results: bool) -> None:
        self.checks = 0
        client: Any = SimpleNamespace(moderations=SimpleNamespace(create=self._answer))
        self.middleware: Any = OpenAIModerationMiddleware(client=client, check_tool_results=tool_results)

    def _answer(self, **_: Any) -> Any:
        self.checks += 1
        return SimpleNamespace(results=[SimpleNamespace(flagged=False)])


def counted(counter: Ours | OpenAIs, words: str) -> tuple[int, int]:
    """The messages of one run, and the checks it took."""
    agent = create_agent(Stepping(words=words), [look_up], middleware=[counter.middleware])
    state = agent.invoke({"messages": [("user", "Read all pages.")]}, {"recursion_limit": 200})
    return len(state["messages"]), counter.checks


def main() -> None:
    """Print the table."""
    print(f"One run of {STEPS} steps, each a call of one tool.\n")
    print("| guard | judges | messages | checks | checks for a message |")
    print("|---|---|---|---|---|")
    for words in ("", "I look at the next page."):
        said = "calls with words" if words else "calls alone"
        rows = {
            "LlamaGuardMiddleware": ("prompts, replies, calls, results", Ours()),
            "OpenAIModerationMiddleware": ("prompts, replies", OpenAIs(tool_results=False)),
            "the same, tool results too": ("prompts, replies, results", OpenAIs(tool_results=True)),
        }
        for name, (judges, counter) in rows.items():
            messages, checks = counted(counter, words)
            print(f"| {name}, {said} | {judges} | {messages} | {checks} | {checks / messages:.2f} |")


if __name__ == "__main__":
    main()
