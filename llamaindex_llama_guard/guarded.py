"""`guarded`: the right wrapper for what it is given."""

from __future__ import annotations

from typing import Any, TypeVar, overload

from llama_index.core.agent.workflow import AgentWorkflow
from llama_index.core.agent.workflow.base_agent import BaseWorkflowAgent
from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.chat_engine.types import BaseChatEngine
from llama_index.core.llms.llm import LLM
from llama_index.core.tools import BaseTool

from llama_guard_core.classifier import LlamaGuard
from llamaindex_llama_guard.agents import guard_agent
from llamaindex_llama_guard.chat_engines import GuardedChatEngine
from llamaindex_llama_guard.guarded_llms import GuardedLLM
from llamaindex_llama_guard.query_engines import GuardedQueryEngine
from llamaindex_llama_guard.retrievers import GuardedRetriever
from llamaindex_llama_guard.tools import GuardedTool

A = TypeVar("A", bound=BaseWorkflowAgent | AgentWorkflow)


@overload
def guarded(thing: A, guard: LlamaGuard) -> A: ...
@overload
def guarded(thing: BaseTool, guard: LlamaGuard) -> GuardedTool: ...
@overload
def guarded(thing: BaseQueryEngine, guard: LlamaGuard) -> GuardedQueryEngine: ...
@overload
def guarded(thing: BaseChatEngine, guard: LlamaGuard) -> GuardedChatEngine: ...
@overload
def guarded(thing: LLM, guard: LlamaGuard) -> GuardedLLM: ...
@overload
def guarded(thing: BaseRetriever, guard: LlamaGuard) -> GuardedRetriever: ...
def guarded(thing: Any, guard: LlamaGuard) -> Any:
    """An agent, query engine, chat engine, model, retriever or tool with what goes in and comes out of it judged.

    Use what is returned wherever the thing itself was used. The wrappers' own constructors, and `guard_agent`,
    have further settings.

    Args:
        thing: what to guard.
        guard: what judges it, with the policy for what follows.

    Raises:
        TypeError: for anything else.
    """
    match thing:
        case BaseQueryEngine():
            return GuardedQueryEngine(thing, guard)
        case BaseChatEngine():
            return GuardedChatEngine(thing, guard)
        case LLM():
            return GuardedLLM(llm=thing, guard=guard)
        case BaseRetriever():
            return GuardedRetriever(thing, guard)
        case BaseTool():
            return GuardedTool(thing, guard)
        case BaseWorkflowAgent() | AgentWorkflow():
            return guard_agent(thing, guard)
        case _:
            takes = "an agent, a query engine, a chat engine, an LLM, a retriever or a tool"
            msg = f"guarded takes {takes}, not {_described(thing)}"
            raise TypeError(msg)


def _described(thing: object) -> str:
    made_by = next((f"as_{kind}" for kind in ("query_engine", "chat_engine") if hasattr(thing, f"as_{kind}")), None)
    hint = f": guard what its {made_by}() makes" if made_by else ""
    return f"a {type(thing).__name__}{hint}"
