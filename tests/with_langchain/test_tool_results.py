"""What a tool gives, in every form that LangGraph reads messages in; and who judges a tool that is guarded twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from fake_provider import Reply
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import BaseTool, StructuredTool
from langgraph.types import Command, Overwrite
from pydantic import BaseModel, ValidationError
from with_langchain.guarded_agents import CONFIG, REFUSAL, Bench, asks, call, is_accepted, texts

from langchain_llama_guard import ConfigurationError, Policy
from langchain_llama_guard.middleware import LlamaGuardMiddleware
from langchain_llama_guard.tools import guard_tools

GIVEN = {"type": "tool_call", "id": "c1", "name": "work"}
both_colours = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])


@dataclass
class DataState:
    messages: list[Any]


class ModelState(BaseModel):
    messages: list[Any]


def answer(text: str) -> ToolMessage:
    return ToolMessage(text, tool_call_id="c1")


FORMS: dict[str, Callable[[str], Any]] = {
    "a text": str,
    "a mapping": lambda text: {"a": [text]},
    "content blocks": lambda text: [{"type": "text", "text": text}],
    "a message": answer,
    "a user's message": HumanMessage,
    "a message and a text": lambda text: [answer("fine"), text],
    "a reply that calls": lambda text: AIMessage("", tool_calls=[{"id": "x", "name": "n", "args": {"a": text}}]),
    "a message's extras": lambda text: AIMessage("fine", response_metadata={"a": text}),
    "messages": lambda text: [answer(text), answer("fine")],
    "a command": lambda text: Command(update={"messages": [answer(text)]}),
    "commands": lambda text: [Command(update={"messages": [answer(text)]}), answer("fine")],
    "a command with another key": lambda text: Command(update={"chat": [answer(text)]}),
    "a command with a nested key": lambda text: Command(update={"chats": {"a": [answer(text)]}}),
    "a command with messages alone": lambda text: Command(update=[answer(text)]),
    "a command with pairs": lambda text: Command(update=[("messages", [answer(text)])]),
    "a command with a dataclass": lambda text: Command(update=DataState([answer(text)])),
    "a command with a model": lambda text: Command(update=ModelState(messages=[answer(text)])),
    "a command that overwrites": lambda text: Command(update={"messages": Overwrite([answer(text)])}),
    "a command with a reply that calls": lambda text: Command(
        update={"messages": [AIMessage("", tool_calls=[{"id": "x", "name": "n", "args": {"a": text}}]), answer("fine")]}
    ),
    "a command with mappings": lambda text: Command(
        update={"messages": [{"role": "tool", "tool_call_id": "c1", "content": text}]}
    ),
    "a command with role and text": lambda text: Command(update={"messages": [("user", text), answer("fine")]}),
    "a command with texts": lambda text: Command(update={"messages": [text, answer("fine")]}),
    "a command with one text": lambda text: Command(update={"messages": text}),
}

FORMS_FOR_AGENTS = ["a text", "a message", "messages", "a command", "commands", "a command with mappings"]
"""Those of them that `create_agent` takes from a tool, and that answer its call."""


def giving(result: Any, ran: Counter[str] | None = None) -> BaseTool:
    def work(text: str) -> Any:
        """Works."""
        if ran is not None:
            ran["work"] += 1
        return result

    return StructuredTool.from_function(func=work, name="work")


async def used(tool: BaseTool, text: Any = "a hut", *, asynchronous: bool) -> Any:
    given = {**GIVEN, "args": {"text": text}}
    return await tool.ainvoke(given) if asynchronous else tool.invoke(given)


@both_colours
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
async def test_an_unsafe_text_is_found_in_whatever_form_a_tool_gives_it(
    form: Callable[[str], Any], asynchronous: bool
) -> None:
    bench = Bench()
    (unsafe,) = guard_tools([giving(form("a BOMB"))], bench.guard)
    refused = await used(unsafe, asynchronous=asynchronous)
    assert (REFUSAL, "error", "c1") == (refused.content, refused.status, refused.tool_call_id)
    (safe,) = guard_tools([giving(form("a hut"))], bench.guard)
    assert "a hut" in repr(await used(safe, asynchronous=asynchronous))


@both_colours
@pytest.mark.parametrize("name", FORMS_FOR_AGENTS)
async def test_in_an_agent_too_and_the_history_stays_one_a_provider_accepts(name: str, asynchronous: bool) -> None:
    bench = Bench([Reply("", (call("work", "a hut"),)), "Done."])
    agent = bench.agent(tools=[giving(FORMS[name]("a BOMB"))])
    state = await agent.ainvoke(asks("Go"), CONFIG) if asynchronous else agent.invoke(asks("Go"), CONFIG)
    assert ["Go", "", REFUSAL, "Done."] == texts(state)
    assert is_accepted(state["messages"])
    assert "BOMB" not in str(bench.provider.requests_of("chat"))


@both_colours
async def test_what_langchain_raises_about_unfit_arguments_is_raised_only_if_it_is_safe(asynchronous: bool) -> None:
    (guarded,) = guard_tools([giving("done")], Bench(policy=Policy(stages={"tool_result"})).guard)
    with pytest.raises(ValidationError, match="a hut"):
        await used(guarded, {"no": "a hut"}, asynchronous=asynchronous)
    refused = await used(guarded, {"no": "a BOMB"}, asynchronous=asynchronous)
    assert (REFUSAL, "error") == (refused.content, refused.status)


# Who judges


class Changing(AgentMiddleware[Any, Any, Any]):
    """Changes what a tool is called with, further in than the guard."""

    def wrap_tool_call(self, request: Any, handler: Any) -> Any:
        return handler(request.override(tool_call={**request.tool_call, "args": {"text": "a BOMB"}}))

    async def awrap_tool_call(self, request: Any, handler: Any) -> Any:
        return await handler(request.override(tool_call={**request.tool_call, "args": {"text": "a BOMB"}}))


@both_colours
async def test_a_call_that_is_changed_after_it_was_judged_is_judged_again(asynchronous: bool) -> None:
    ran: Counter[str] = Counter()
    bench = Bench([Reply("", (call("work", "a hut"),)), "Done."])
    agent = bench.agent(tools=[giving("done", ran)], middleware=[LlamaGuardMiddleware(bench.guard), Changing()])
    state = await agent.ainvoke(asks("Go"), CONFIG) if asynchronous else agent.invoke(asks("Go"), CONFIG)
    assert (["Go", "", REFUSAL, "Done."], {}) == (texts(state), ran)


@pytest.mark.parametrize("strict_outside", [False, True])
def test_a_tool_with_a_guard_of_its_own_is_judged_by_it_and_by_the_agents(strict_outside: bool) -> None:
    ran: Counter[str] = Counter()
    monitoring = Policy(mode="monitor")
    own = Bench(policy=monitoring if strict_outside else Policy())
    bench = Bench([Reply("", (call("work", "a BOMB"),)), "Done."], policy=Policy() if strict_outside else monitoring)
    agent = bench.agent(tools=guard_tools([giving("done", ran)], own.guard))
    assert ["Go", "", REFUSAL, "Done."] == texts(agent.invoke(asks("Go"), CONFIG))
    assert {} == ran


def test_a_tool_with_the_agents_guard_is_judged_once() -> None:
    bench = Bench([Reply("", (call("work", "a hut"),)), "Done."])
    agent = bench.agent(tools=guard_tools([giving("done")], bench.guard))
    agent.invoke(asks("Go"), CONFIG)
    assert 4 == len(bench.asked)  # the prompt, the call, the result, the answer


class OwnRun(BaseTool):
    """A tool whose class adds to what its code gives."""

    name: str = "work"
    description: str = "Works."

    def _run(self, text: str) -> str:
        return text

    def run(self, *arguments: Any, **named: Any) -> Any:
        return f"{super().run(*arguments, **named)} and a BOMB"


def test_what_a_tools_class_adds_to_its_result_is_judged() -> None:
    (guarded,) = guard_tools([OwnRun()], Bench().guard)
    assert REFUSAL == guarded.invoke({"text": "a hut"})


class OwnInvoke(OwnRun):
    """A tool that goes past LangChain's way of running tools."""

    def invoke(self, *arguments: Any, **named: Any) -> Any:
        return answer("a BOMB")


def test_a_tool_that_could_run_unjudged_is_not_guarded_at_all() -> None:
    with pytest.raises(ConfigurationError, match="invoke"):
        guard_tools([OwnInvoke()], Bench().guard)


def test_in_an_agent_the_result_of_such_a_tool_is_judged_after_it() -> None:
    bench = Bench([Reply("", (call("work", "a hut"),)), "Done."])
    agent = bench.agent(tools=[OwnInvoke()])
    assert ["Go", "", REFUSAL, "Done."] == texts(agent.invoke(asks("Go"), CONFIG))
