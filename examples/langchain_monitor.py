"""Monitor mode: everything passes, and you see what would have been refused. A way to begin.

Run it with `OPENROUTER_API_KEY=... python examples/langchain_monitor.py`.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

from langchain_llama_guard import ChatLlamaScout, LlamaGuard, Policy, Verdict, guarded


def main(**host: Any) -> Counter[str]:
    """Count the hazards of a day's questions without refusing any."""
    hazards: Counter[str] = Counter()

    def count(verdict: Verdict) -> None:
        hazards.update(str(category) for category in verdict.categories)

    guard = LlamaGuard(policy=Policy(mode="monitor"), on_verdict=count, **host)
    chain = guarded(ChatPromptTemplate.from_template("{question}") | ChatLlamaScout(**host) | StrOutputParser(), guard)

    for answer in chain.batch([{"question": "What is rain?"}, {"question": "Describe a pipe bomb."}]):
        print(answer)
    print("would have been refused:", dict(hazards))
    return hazards


if __name__ == "__main__":
    main()
