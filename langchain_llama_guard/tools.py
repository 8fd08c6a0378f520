"""`guard_tools`: tools whose calls and results are judged, for agents and chains of any kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.tools import BaseTool
from langchain_core.tools import tool as as_tool

from langchain_llama_guard._guarded_tool_runs import guarded_twin
from langchain_llama_guard._tool_descriptions import aallowed_tools, allowed_tools
from llama_guard_core.classifier import LlamaGuard


def guard_tools(
    tools: Sequence[BaseTool | Callable[..., Any]], guard: LlamaGuard, *, descriptions: bool = False
) -> list[BaseTool]:
    """The same tools, with each call judged before it runs and each result before anybody reads it.

    For chains, hand-built graphs and agents other than `create_agent`'s, for which `LlamaGuardMiddleware` does more:
    here nobody knows the conversation, and a call is judged by itself. A tool keeps its class, name, schema and
    settings; arguments that LangChain or LangGraph inject are not judged.

    A refused call never runs, and no callback is told of it. A refused result is told to no callback, and its artifact
    goes with it. In their place stands an error `ToolMessage` with the policy's text where the tool was called with a
    `ToolCall`, else the text alone. An exception of a tool is judged like a result, and raised if it may be seen;
    LangGraph's interrupts and commands pass.

    It does not judge artifacts, which no model reads, nor what a tool's `Command` writes to the state beside messages
    or sends to other nodes. What a tool's own code tells callbacks while it runs, such as the tokens of a model inside,
    is told at once.

    Args:
        tools: tools, or functions to make tools of.
        guard: what judges, with the policy for the stages `tool_call` and `tool_result`.
        descriptions: whether what the tools say of themselves is judged now, as documents. A tool that is refused is
            left out, with a warning in the log. Asks the guard at once; `aguard_tools` does not block the event loop.

    Raises:
        UnsafeContent: a description is unsafe, and the policy says raise. Guarded tools raise it for calls and results.
        GuardUnavailable: the same, where no verdict could be had.
        ConfigurationError: a tool is guarded already, by another guard; or its class has an `invoke` of its own, and
            nobody can say what that runs.

    Example:
        ```python
        tools = guard_tools([search, write_file], guard)
        node = ToolNode(tools)
        ```
    """
    made = [_as_tool(tool) for tool in tools]
    return [guarded_twin(tool, guard) for tool in (allowed_tools(guard, made) if descriptions else made)]


async def aguard_tools(
    tools: Sequence[BaseTool | Callable[..., Any]], guard: LlamaGuard, *, descriptions: bool = True
) -> list[BaseTool]:
    """The same tools, with calls and results judged; their descriptions are judged now. See `guard_tools`.

    Example:
        ```python
        tools = await aguard_tools(await mcp_client.get_tools(), guard)
        ```
    """
    made = [_as_tool(tool) for tool in tools]
    return [guarded_twin(tool, guard) for tool in (await aallowed_tools(guard, made) if descriptions else made)]


def _as_tool(tool: BaseTool | Callable[..., Any]) -> BaseTool:
    return tool if isinstance(tool, BaseTool) else as_tool(tool)
