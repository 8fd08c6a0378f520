"""What tools say of themselves to a model: judged as documents, because whoever serves a tool writes it."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any, TypeVar

from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.drive import arun_all, run
from llama_guard_core.guardrail.decisions import Allow, Refuse
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.screening import Flow
from llama_guard_core.guardrail.tool_screening import screen_description

T = TypeVar("T", bound=BaseTool | dict[str, Any])
_AT_ONCE = 8
_log = logging.getLogger(__name__)


def screen_tool(policy: Policy, tool: BaseTool | dict[str, Any]) -> Flow[Allow | Refuse]:
    """Judge all that a model is told of a tool: name, description, and the descriptions of its arguments."""
    told = tool if isinstance(tool, dict) else convert_to_openai_tool(tool)["function"]
    return screen_description(policy, json.dumps(told, ensure_ascii=False, default=str))


def allowed_tools(guard: LlamaGuard, tools: Sequence[T]) -> list[T]:
    """The tools whose descriptions are not refused. What is left out is logged, without its text."""
    return _allowed(tools, [run(screen_tool(guard.policy, tool), guard.judge) for tool in tools])


async def aallowed_tools(guard: LlamaGuard, tools: Sequence[T]) -> list[T]:
    """The tools whose descriptions are not refused, several asked about at once; see `allowed_tools`."""
    flows = [screen_tool(guard.policy, tool) for tool in tools]
    return _allowed(tools, await arun_all(flows, guard.ajudge, at_once=_AT_ONCE))


def _allowed(tools: Sequence[T], decisions: Sequence[Allow | Refuse]) -> list[T]:
    for number, decision in enumerate(decisions, 1):
        if isinstance(decision, Refuse):
            why = "is unsafe" if decision.error is None else "could not be judged"
            _log.warning("tool %d of %d is left out: its description %s", number, len(tools), why)
    return [tool for tool, decision in zip(tools, decisions, strict=True) if isinstance(decision, Allow)]
