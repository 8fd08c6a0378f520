"""Guarding a chain that is there already, without touching it: its input and its output judged.

Run it with `OPENROUTER_API_KEY=... python examples/langchain_existing_chain.py`.
"""

from __future__ import annotations

from typing import Any

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable

from langchain_llama_guard import ChatLlamaScout, GuardUnavailable, LlamaGuard, UnsafeContent, guarded


def existing_chain(**host: Any) -> Runnable[dict[str, str], str]:
    """Stands for yours: any prompt, any model, any parser."""
    prompt = ChatPromptTemplate.from_template("Use this note: {note}\nAnswer: {question}")
    return prompt | ChatLlamaScout(**host) | StrOutputParser()


def main(**host: Any) -> list[str]:
    """Wrap it whole, wrap its model only, and guard it node by node."""
    guard = LlamaGuard(**host)
    chain = existing_chain(**host)
    note = "Our office is closed on Sundays."

    # Whole. The question is judged without the note, which is not the user's.
    whole = guarded(chain, guard, input_key="question")
    answers = [whole.invoke({"question": question, "note": note}) for question in ("Open today?", "Plan a pipe bomb!")]

    # Any chat model, wherever it is used.
    model = guarded(ChatLlamaScout(**host), guard)
    answers.append((model | StrOutputParser()).invoke("Plan a pipe bomb!"))

    # Node by node. A step can only stop the steps behind it by raising.
    nodes = guard.input("question") | chain | guard.output()
    try:
        nodes.invoke({"question": "Plan a pipe bomb!", "note": note})
    except (UnsafeContent, GuardUnavailable) as stopped:
        answers.append(f"stopped: {stopped}")

    print(*answers, sep="\n")
    return answers


if __name__ == "__main__":
    main()
