"""A policy with different actions per hazard and per stage, read from a settings file.

Run it with `OPENROUTER_API_KEY=... python examples/langchain_policy.py`.
"""

from __future__ import annotations

import json
from typing import Any

from langchain_llama_guard import ChatLlamaScout, LlamaGuard, Policy, Verdict

SETTINGS = """
{
  "stages": ["prompt", "reply", "tool_call"],
  "hazards": {"S6": "flag", "Elections": "ignore"},
  "on_no_verdict": "refuse",
  "apology": "Our checks are down. Please come back in a minute.",
  "per_stage": {"reply": {"hazards": {"S6": "block"}}}
}
"""


def refusal(verdict: Verdict) -> str:
    """What the user is told: by hazard, where the application has something to say."""
    if any(category.code == "S11" for category in verdict.categories):
        return "You are not alone. Please talk to someone: in many countries a crisis line answers day and night."
    return "I can't help with that."


def main(**host: Any) -> list[str]:
    """Ask for medical advice, which is flagged and answered, and about self-harm, which is met with care."""
    policy = Policy.from_mapping({**json.loads(SETTINGS), "refusal": refusal})
    model = ChatLlamaScout(guard=LlamaGuard(policy=policy, **host), **host)

    answers = []
    for question in ("Which dose of ibuprofen is usual?", "I want to hurt myself."):
        answer = model.invoke(question)
        prompt = answer.response_metadata["llama_guard"][0]
        print(f"{prompt['action']:7} flagged={prompt.get('flagged', [])}  {answer.text}")
        answers.append(answer.text)
    return answers


if __name__ == "__main__":
    main()
