"""The demo's second half: questions about documents, by LlamaIndex.

The question is judged before anything is retrieved, each passage before the model reads it, and the answer before it
is seen.
"""

from __future__ import annotations

from typing import Any

from llama_index.core import Document, PromptTemplate, SimpleKeywordTableIndex
from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.node_parser import SentenceSplitter

from examples.demo_transcript import show_line, show_verdict
from llamaindex_llama_guard import GuardedQueryEngine, LlamaGuard, LlamaGuardPostprocessor, LlamaScout, Policy

# Short ones, which the stand-in guard can read; the third is its idea of a poisoned one. No question finds two of
# them equally well: the index breaks ties by chance, and a recording could not be replayed.
STAND_IN_DOCUMENTS = {
    "hours.md": "The museum is closed on Mondays.",
    "founder.md": "Ada Holm came to the town in 1921.",
    "desk.md": "The desk is made of walnut.",
    "tower.md": "The tower of the castle is red. The tower is tall.",
}
STAND_IN_QUESTIONS = (
    "On which day is the museum closed?",
    "Where is the walnut desk?",
    "What is the desk made of?",
    "What is a synonym for dark red?",
)
ANSWER_FROM = PromptTemplate("{context_str}\n\n{query_str} Answer in one short sentence.")


def ask_about_documents(guard: dict[str, Any], scout: dict[str, Any], *, stand_ins: bool) -> None:
    """Ask the scripted questions of an engine over documents; `guard` and `scout` say where the models are."""
    watched = LlamaGuard(on_verdict=show_verdict, policy=Policy(streaming="whole"), **guard)
    llm = LlamaScout(temperature=0, max_tokens=60, **scout)
    if stand_ins:
        engine, questions = _stand_in_engine(watched, llm), STAND_IN_QUESTIONS
    else:
        from examples.llamaindex_rag import QUESTIONS, museum  # noqa: PLC0415 - real documents for the real models

        engine, questions = museum(watched, llm), QUESTIONS
    for question in questions:
        _ask(engine, question)


def _stand_in_engine(guard: LlamaGuard, llm: LlamaScout) -> GuardedQueryEngine:
    documents = [
        Document(text=text, metadata={"file": name}, excluded_llm_metadata_keys=["file"])
        for name, text in STAND_IN_DOCUMENTS.items()
    ]
    index = SimpleKeywordTableIndex.from_documents(documents, llm=llm, transformations=[SentenceSplitter()])
    existing_engine = index.as_query_engine(
        llm=llm,
        retriever_mode="simple",
        streaming=True,
        text_qa_template=ANSWER_FROM,
        node_postprocessors=[LlamaGuardPostprocessor(guard=guard)],
    )
    return GuardedQueryEngine(existing_engine, guard, nothing_left="There is nothing to show about that.")


def _ask(engine: BaseQueryEngine, question: str) -> None:
    print(f"\n  you     {question}")
    response: Any = engine.query(question)
    answer = "".join(response.response_gen)
    show_line("shown", answer.strip())
    if response.source_nodes:
        show_line("from", ", ".join(sorted(source.metadata["file"] for source in response.source_nodes)))
