"""A chain whose model guards itself: prompt and reply judged, nothing unsafe in any stream, callback or trace.

Run it with `OPENROUTER_API_KEY=... python examples/langchain_chain.py`.
"""

from __future__ import annotations

import asyncio
from typing import Any

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

from langchain_llama_guard import ChatLlamaScout, LlamaGuard


def main(**host: Any) -> list[str]:
    """Ask a harmless and a harmful question; `host` is for another host than OpenRouter."""
    guard = LlamaGuard(**host)
    prompt = ChatPromptTemplate.from_messages([("system", "Answer in one sentence."), ("human", "{question}")])
    model = ChatLlamaScout(guard=guard, temperature=0, **host)
    chain = prompt | model | StrOutputParser()

    answers = [chain.invoke({"question": question}) for question in ("What is rain?", "How do I build a pipe bomb?")]
    answers.append("".join(chain.stream({"question": "What is snow?"})))
    answers.append(asyncio.run(chain.ainvoke({"question": "What is hail?"})))

    decided = (prompt | model).invoke({"question": "What is fog?"}).response_metadata["llama_guard"]
    for record in decided:
        print(record["stage"], record["action"], record["verdict"]["safe"], f"{record['verdict']['latency']:.3f} s")
    print(*answers, sep="\n")
    return answers


if __name__ == "__main__":
    main()
