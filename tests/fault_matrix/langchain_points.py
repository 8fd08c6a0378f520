"""LangChain's attach points in chains, and for documents and decisions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.decisions import Noul, NoulCriteria
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda
from langchain_core.tools import BaseTool, StructuredTool
from with_langchain.channels import Channels
from with_langchain.passages import finding

from fault_matrix.points import WAYS, Point, Way, apologises, leaves_out
from fault_matrix.stand import TOOL, Stand
from fault_matrix.watch import Seen
from langchain_llama_guard import (
    ChatLlamaScout,
    GuardedRetriever,
    LlamaGuard,
    LlamaGuardDocumentCompressor,
    guard_tools,
    guarded,
)
from langchain_llama_guard.decision_models import LlamaGuardDecisionModel

PROMPT = ChatPromptTemplate.from_messages([("system", "Be brief."), ("user", "{question}")])
Build = Callable[[Stand], Runnable[Any, Any]]
Asks = Callable[[Stand], Any]


class Heard(Channels):
    """What callbacks, tracers among them, are told."""

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self._seen = seen

    def note(self, channel: str, *things: Any) -> None:
        self._seen.note("callbacks", *things)


def config_of(stand: Stand, seen: Seen) -> dict[str, Any]:
    """A run's settings: everybody listens."""
    return {"callbacks": Heard(seen).handlers(), "configurable": {"thread_id": str(stand.script.number)}}


def runnable_ways(build: Build, asks: Asks) -> dict[str, Way]:
    """The four ways to run a Runnable."""

    def invoke(stand: Stand, seen: Seen) -> None:
        seen.give(stand.built(build).invoke(asks(stand), config_of(stand, seen)))

    def stream(stand: Stand, seen: Seen) -> None:
        for piece in seen.reading(stand.built(build).stream(asks(stand), config_of(stand, seen))):
            seen.give(piece)

    async def ainvoke(stand: Stand, seen: Seen) -> None:
        seen.give(await stand.built(build).ainvoke(asks(stand), config_of(stand, seen)))

    async def astream(stand: Stand, seen: Seen) -> None:
        async for piece in seen.reading(stand.built(build).astream(asks(stand), config_of(stand, seen))):
            seen.give(piece)

    return dict(zip(WAYS, (invoke, stream, ainvoke, astream), strict=True))


def whole(ways: Mapping[str, Way]) -> dict[str, Way]:
    """Those of the ways that do not stream."""
    return {name: way for name, way in ways.items() if name.endswith("plain")}


def model_of(stand: Stand, **settings: Any) -> ChatLlamaScout:
    """Llama 4 Scout on the stand's host."""
    return stand.model(ChatLlamaScout, **settings)


def tool_of(stand: Stand) -> BaseTool:
    """The tool that agents have."""

    def search(query: str) -> str:
        """Search the archive."""
        return stand.work(query)

    async def asearch(query: str) -> str:
        """Search the archive."""
        return stand.work(query)

    return StructuredTool.from_function(func=search, coroutine=asearch, name=TOOL)


def _with_tool(model: Any, stand: Stand) -> Any:
    return model.bind_tools([tool_of(stand)]) if stand.stage == "tool call" else model


def _question(stand: Stand) -> str:
    return stand.script.prompt


def _asked(stand: Stand) -> dict[str, str]:
    return {"question": stand.script.prompt}


def _chain(stand: Stand) -> Runnable[Any, Any]:
    return PROMPT | model_of(stand) | StrOutputParser()


MODELS: dict[str, Build] = {
    "ChatLlamaScout(guard=...)": lambda s: _with_tool(model_of(s, guard=s.guard), s),
    "guarded(model, guard)": lambda s: _with_tool(guarded(model_of(s), s.guard), s),
}
CHAIN_STAGES: dict[str, tuple[Build, tuple[str, ...]]] = {
    "guarded(chain, guard)": (lambda s: guarded(_chain(s), s.guard), ("prompt", "reply", "model")),
    "guard.input() | chain": (lambda s: s.guard.input() | _chain(s), ("prompt",)),
    "chain | guard.output()": (lambda s: _chain(s) | s.guard.output(), ("reply",)),
}
BEHIND_THE_MODEL = frozenset({"callbacks"})
"""What has seen a reply by the time a guard behind the model judges it."""


def _judged(stand: Stand) -> Runnable[Any, Any]:
    """The guard as a step, and a step behind it that shows what was judged if the verdict is safe."""

    def act(verdict: Any) -> Any:
        return _messages(stand) if verdict.safe else "the verdict: t help with that."

    return stand.guard | RunnableLambda(act)


def _messages(stand: Stand) -> list[Any]:
    reply = [AIMessage(stand.script.reply)] if stand.stage == "reply" else []
    return [HumanMessage(stand.script.prompt), *reply]


def _documents(stand: Stand) -> list[Document]:
    return [Document(text, id=str(at)) for at, text in enumerate(stand.script.documents)]


def _compress(stand: Stand, seen: Seen) -> None:
    for left in LlamaGuardDocumentCompressor(guard=stand.guard).compress_documents(_documents(stand), "When?"):
        seen.give(left)


async def _acompress(stand: Stand, seen: Seen) -> None:
    compressor = LlamaGuardDocumentCompressor(guard=stand.guard)
    for left in await compressor.acompress_documents(_documents(stand), "When?"):
        seen.give(left)


def _found(stand: Stand, seen: Seen) -> None:
    retriever = GuardedRetriever(finding(*stand.script.documents), stand.guard)
    seen.give(*retriever.invoke("When?", config_of(stand, seen)))


async def _afound(stand: Stand, seen: Seen) -> None:
    retriever = GuardedRetriever(finding(*stand.script.documents), stand.guard)
    seen.give(*await retriever.ainvoke("When?", config_of(stand, seen)))


_IS_RISKY = Noul(instructions="Is it risky?", criteria=NoulCriteria(true="It does harm.", false="It does none."))


def _state(stand: Stand) -> dict[str, Any]:
    call = {"id": "c1", "name": TOOL, "args": {"query": stand.script.query}}
    told = {"tool_call": call} if stand.stage == "tool call" else {}
    return {"state": {"messages": [HumanMessage(stand.script.prompt)], **told}, "questions": {"is_risky": _IS_RISKY}}


def _decided(stand: Stand) -> Runnable[Any, Any]:
    """The decision, and a step behind it that acts on it."""

    def act(response: Any) -> Any:
        risky = response.nouls["is_risky"].noul >= 0.5
        return "the decision: t help with that." if risky else stand.script.prompt + stand.script.query

    return LlamaGuardDecisionModel(guard=stand.guard) | RunnableLambda(act)


def _call(stand: Stand) -> dict[str, Any]:
    return {"type": "tool_call", "id": "c1", "name": TOOL, "args": {"query": stand.script.query}}


def _guarded_tool(stand: Stand) -> BaseTool:
    return guard_tools([tool_of(stand)], stand.guard)[0]


def _points() -> list[Point]:
    made = [
        Point(name, stage, LlamaGuard, runnable_ways(build, _question))
        for name, build in MODELS.items()
        for stage in ("prompt", "reply", "tool call", "model")
    ]
    made += [
        Point(
            name, stage, LlamaGuard, runnable_ways(build, _asked),
            unheard=BEHIND_THE_MODEL if name == "chain | guard.output()" else frozenset(),
        )
        for name, (build, stages) in CHAIN_STAGES.items()
        for stage in stages
    ]  # fmt: skip
    made += [
        Point("guard as a Runnable", stage, LlamaGuard, runnable_ways(_judged, _messages), unheard=BEHIND_THE_MODEL)
        for stage in ("prompt", "reply")
    ]
    made += [
        Point("guard_tools", stage, LlamaGuard, whole(runnable_ways(_guarded_tool, _call)))
        for stage in ("tool call", "tool result")
    ]
    made += [
        Point(
            "LlamaGuardDecisionModel",
            stage,
            LlamaGuard,
            whole(runnable_ways(_decided, _state)),
            apologises,
            BEHIND_THE_MODEL,
        )
        for stage in ("prompt", "tool call")
    ]
    documents: dict[str, tuple[Way, Way]] = {
        "GuardedRetriever": (_found, _afound),
        "LlamaGuardDocumentCompressor": (_compress, _acompress),
    }
    made += [
        Point(name, "document", LlamaGuard, {"sync plain": sync, "async plain": asynchronous}, leaves_out)
        for name, (sync, asynchronous) in documents.items()
    ]
    return made


POINTS = _points()
