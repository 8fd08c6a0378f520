"""Who is told what: the configured host what it is asked, LangSmith what its user traces, and nobody else anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from fake_provider import Answer, FakeProvider
from fake_provider.answers import json_answer
from fake_provider.server import LoopbackServer

ROOT = Path(__file__).parents[2]
KEY = "sk-or-not-for-others"

WATCHED = """
import atexit, json, os, sys
reached = []
def watch(event, arguments):
    if event == "socket.connect":
        reached.append(f"{arguments[1][0]}:{arguments[1][1]}")
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "os.system", "os.posix_spawn"):
        reached.append(f"{event} {arguments[:2]}")
    elif event == "subprocess.Popen":
        reached.append(f"program {arguments[0]}")
    elif event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        reached.append(f"file {arguments[0]}")
sys.addaudithook(watch)
atexit.register(lambda: print(json.dumps(reached)))
"""
LANGCHAIN = """
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_llama_guard import ChatLlamaScout, LlamaGuard, LlamaGuardMiddleware, guarded
host = {"api_key": os.environ["KEY"], "base_url": os.environ["BASE_URL"]}
guard = LlamaGuard(**host)
prompt = ChatPromptTemplate.from_template("{question}")
inside = prompt | ChatLlamaScout(guard=guard, **host) | StrOutputParser()
wrapped = prompt | guarded(ChatLlamaScout(**host), guard) | StrOutputParser()
chain = guarded(prompt | ChatLlamaScout(**host) | StrOutputParser(), guard)
"""
AGENT = f"""{LANGCHAIN}
from langchain.agents import create_agent
agent = create_agent(ChatLlamaScout(**host), [], middleware=[LlamaGuardMiddleware(guard)])
"""
LLAMAINDEX = """
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.embeddings import MockEmbedding
from llamaindex_llama_guard import LlamaGuard, LlamaGuardPostprocessor, LlamaScout, guarded
host = {"api_key": os.environ["KEY"], "base_url": os.environ["BASE_URL"]}
guard = LlamaGuard(**host)
documents = [Document(text="The museum is closed on Mondays.")]
index = VectorStoreIndex.from_documents(documents, embed_model=MockEmbedding(embed_dim=4))
judging = LlamaGuardPostprocessor(guard=guard)
engine = guarded(index.as_query_engine(llm=LlamaScout(**host), node_postprocessors=[judging]), guard)
agent = guarded(FunctionAgent(tools=[], llm=LlamaScout(guard=guard, **host)), guard)
"""
BUILT = {
    "core": "import llama_guard_core; llama_guard_core.LlamaGuard(api_key=os.environ['KEY'])",
    "chains": LANGCHAIN,
    "agents": AGENT,
    "engines": LLAMAINDEX,
}
USED = {
    "a check": f"{LANGCHAIN}guard.check('hello')",
    "an async check": f"{LANGCHAIN}import asyncio; asyncio.run(guard.acheck('hello'))",
    "a chain": f"{LANGCHAIN}chain.invoke({{'question': 'hello'}})",
    "a model": f"{LANGCHAIN}inside.invoke({{'question': 'hello'}})",
    "an agent": f"{AGENT}agent.invoke({{'messages': [('user', 'hello')]}})",
    "an engine": f"{LLAMAINDEX}engine.query('hello')",
}


def _reached_by(statements: str, home: Path, **environment: str) -> list[str]:
    """Run statements in a fresh process with a home of its own: whom they connected to, what they wrote and ran."""
    inherited = {name: value for name, value in os.environ.items() if name.startswith(("PATH", "LD_", "SYSTEM"))}
    done = subprocess.run(
        [sys.executable, "-c", f"{WATCHED}\n{statements}"],
        cwd=ROOT,
        env={**inherited, "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1", "KEY": KEY, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (0, "") == (done.returncode, done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("built", BUILT)
def test_importing_and_building_reach_nobody_and_write_nothing(built, tmp_path):
    assert [] == _reached_by(BUILT[built], tmp_path, BASE_URL="http://host.invalid/v1")
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("used", USED)
def test_whatever_is_asked_reaches_the_configured_host_alone(used, tmp_path, provider):
    with provider.serve() as base_url:
        address = httpx.URL(base_url)
        reached = _reached_by(USED[used], tmp_path, BASE_URL=base_url)

    assert [] != provider.guard_questions
    connected = [each for each in reached if not each.startswith("socket.getaddrinfo ")]
    assert {f"{address.host}:{address.port}"} == set(connected)
    assert all(address.host in each for each in reached)
    assert [] == list(tmp_path.iterdir())


@contextmanager
def _langsmith(heard: list[bytes]) -> Iterator[str]:
    """The address where somebody notes what is sent to LangSmith."""

    def note(request: httpx.Request) -> Answer:
        heard.extend((str(request.url).encode(), request.content))
        return json_answer({}, status=200)

    server = LoopbackServer(note)
    server.start()
    try:
        yield server.origin
    finally:
        server.stop()


def _traced(ask: str, home: Path, provider: FakeProvider, **switches: str) -> str:
    """What LangSmith's own client sent while a question was asked."""
    heard: list[bytes] = []
    statements = (
        f"{LANGCHAIN}{ask}\nfrom langchain_core.tracers.langchain import wait_for_all_tracers\nwait_for_all_tracers()"
    )
    with provider.serve() as base_url, _langsmith(heard) as endpoint:
        settings = {"LANGSMITH_ENDPOINT": endpoint, "LANGSMITH_DISABLE_RUN_COMPRESSION": "true", **switches}
        _reached_by(statements, home, BASE_URL=base_url, LANGSMITH_API_KEY="ls", **settings)
    return b"".join(heard).decode(errors="replace")


ASKED = "for way in (inside, wrapped, chain): way.invoke({'question': 'hello WHOEVERASKS'})"


def test_a_key_of_langsmith_alone_sends_it_nothing(tmp_path, provider):
    assert "" == _traced(ASKED, tmp_path, provider)


def test_a_check_is_in_no_trace(tmp_path, provider):
    assert "" == _traced("guard.check('hello WHOEVERASKS')", tmp_path, provider, LANGSMITH_TRACING="true")


def test_who_traces_has_the_prompts_and_never_a_refused_reply_or_the_key(tmp_path):
    saying = FakeProvider(chat=lambda _: "Take a BOMB")

    sent = _traced(ASKED, tmp_path, saying, LANGSMITH_TRACING="true")

    assert 3 <= sent.count("WHOEVERASKS")
    assert 3 <= sent.count("I can't help with that.")
    assert "BOMB" not in sent
    assert KEY not in sent
