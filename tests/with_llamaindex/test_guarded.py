"""`guarded` picks the wrapper; the package says what it needs."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from fake_provider import FakeProvider
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent
from llama_index.core.query_engine import RetrieverQueryEngine
from with_llamaindex.agents import Tools
from with_llamaindex.engines import Saying, chat_engine, index_of, query_engine
from with_llamaindex.scouts import guard_of

import llama_guard_core
import llamaindex_llama_guard
from llamaindex_llama_guard import (
    GuardedChatEngine,
    GuardedLLM,
    GuardedQueryEngine,
    GuardedRetriever,
    GuardedTool,
    guarded,
)

THINGS = {
    "query engine": (lambda: query_engine(Saying()), GuardedQueryEngine),
    "chat engine": (lambda: chat_engine(Saying(), "simple"), GuardedChatEngine),
    "model": (Saying, GuardedLLM),
    "retriever": (lambda: index_of().as_retriever(), GuardedRetriever),
    "tool": (lambda: Tools().tool(), GuardedTool),
    "agent": (lambda: FunctionAgent(llm=Saying()), FunctionAgent),
    "workflow": (lambda: AgentWorkflow([FunctionAgent(llm=Saying())]), AgentWorkflow),
}


@pytest.mark.filterwarnings("ignore::pydantic.warnings.PydanticDeprecationWarning")  # of LlamaIndex's own agents
@pytest.mark.parametrize(("make", "wrapper"), THINGS.values(), ids=THINGS)
def test_each_thing_gets_its_wrapper(provider: FakeProvider, make: Any, wrapper: type[Any]) -> None:
    assert isinstance(guarded(make(), guard_of(provider)), wrapper)


def test_a_retriever_engine_stays_one_and_any_other_does_not_become_one(provider: FakeProvider) -> None:
    assert isinstance(guarded(query_engine(Saying()), guard_of(provider)), RetrieverQueryEngine)
    twice = guarded(guarded(query_engine(Saying()), guard_of(provider)), guard_of(provider))
    assert isinstance(twice, RetrieverQueryEngine)


def test_anything_else_is_refused_with_a_hint(provider: FakeProvider) -> None:
    with pytest.raises(TypeError, match=r"not a VectorStoreIndex: guard what its as_query_engine\(\) makes"):
        guarded(index_of(), guard_of(provider))  # type: ignore[call-overload]
    with pytest.raises(TypeError, match=r"a retriever or a tool, not a str$"):
        guarded("an engine", guard_of(provider))  # type: ignore[call-overload]


def test_all_names_are_sorted_and_there() -> None:
    names = llamaindex_llama_guard.__all__
    assert sorted(names) == names
    assert [] == [name for name in names if not hasattr(llamaindex_llama_guard, name)]
    shared = set(names) & set(llama_guard_core.__all__) - {"LlamaGuard"}
    assert [] == [n for n in shared if getattr(llama_guard_core, n) is not getattr(llamaindex_llama_guard, n)]


def test_without_llama_index_the_import_says_what_to_install() -> None:
    code = "import sys; sys.modules['llama_index'] = None; import llamaindex_llama_guard"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'pip install "llama-guardrails[llamaindex]"' in done.stderr.splitlines()[-1]


def test_importing_it_loads_no_langchain() -> None:
    code = "import sys, llamaindex_llama_guard; print([m for m in sys.modules if m.startswith('langchain')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "[]" == done.stdout.strip()
