"""Fuzzed answers of the guard: read as text, and on the whole way from the bytes of a host's reply."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from typing import Any

from hostile_text.answers import FINISH_REASONS, answer, names_s1_alone, says_safe
from hostile_text.counting import Row, cases_of
from hostile_text.junk import junk
from llama_guard_core.errors import UnreadableVerdict
from llama_guard_core.guard_host import GuardHost, GuardRequest
from llama_guard_core.guardrail.hazards import Taxonomy
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.verdict import Stage, Verdict, read_verdict
from llama_guard_core.provider.endpoints import CHAT, COMPLETIONS, MODERATIONS, OLLAMA_GENERATE, Endpoint
from llama_guard_core.provider.hosts import Host
from llama_guard_core.provider.wire import Completion

_V4 = Taxonomy.of(4)
Reads = Callable[..., Verdict]


def rows(seed: int, cases: int) -> list[Row]:
    """As many answers as text, and a tenth as many at each endpoint."""
    few = max(1, cases // 10)
    ways = {"chat": _chat, "raw completion": _raw, "Ollama": _ollama, "moderation": _moderation}
    return [as_text(seed, cases), *(in_a_reply(f"answer in a reply: {name}", seed, few, ways[name]) for name in ways)]


def as_text(seed: int, cases: int, read: Reads = read_verdict) -> Row:
    """Answers as text.

    Args:
        seed: which answers.
        cases: how many.
        read: what reads them.
    """
    row = Row("guard's answer as text")
    for chance, _ in cases_of("answers", seed, cases):
        text, reason = answer(chance), chance.choice(FINISH_REASONS)
        row.cases += 1
        try:
            verdict = read(text, taxonomy=_V4, finish_reason=reason)
        except UnreadableVerdict:
            row.outcomes["unreadable"] += 1
            continue
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            row.wrong("crashes", (error, text))
            continue
        row.outcomes["safe" if verdict.safe else "unsafe"] += 1
        if verdict.safe and not says_safe(text, reason):
            row.wrong('wrong "safe"', (text, reason))
    return row


Body = tuple[dict[str, Any], str, "str | None"]
"""The JSON of a reply, the answer in it, and why that ended."""
Way = tuple[GuardHost, Endpoint[Completion], Callable[[random.Random], Body]]


def in_a_reply(name: str, seed: int, cases: int, way: Callable[[], Way]) -> Row:
    """Answers in the replies of a host, with something else in the place of a few of their fields."""
    row = Row(name)
    host, endpoint, body_of = way()
    policies = (Policy(), Policy(excluded_categories=("S1",)))
    for chance, number in cases_of(name, seed, cases):
        body, text, reason = body_of(chance)
        is_odd = chance.random() < 0.3
        if is_odd:
            body = _with_junk(chance, body)
        written = json.dumps(body).encode()
        policy = policies[number % 2]
        with row.case(written):
            completion = endpoint.read(written, 0.0)
            verdict = host.read(GuardRequest(endpoint, {}), completion, policy, Stage.PROMPT)
            if is_odd:  # what is in it is anybody's guess; what was read of it is not
                text, reason = completion.text, completion.finish_reason
            is_right = says_safe(text, reason) or (number % 2 and names_s1_alone(text, reason))
            row.outcomes["safe" if verdict.safe else "unsafe"] += 1
            if verdict.safe and not is_right:
                row.wrong('wrong "safe"', written)
    return row


def _chat() -> Way:
    def body(chance: random.Random) -> Body:
        text, reason = answer(chance), chance.choice(FINISH_REASONS)
        half = len(text) // 2
        parts = [{"type": "text", "text": text[:half]}, {"type": "text", "text": text[half:]}]
        content = parts if chance.random() < 0.1 else text
        choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": reason}
        return (
            {"id": "1", "model": "meta-llama/llama-guard-4-12b", "choices": [choice], "usage": {}},
            text,
            reason or None,
        )

    return GuardHost(Host.named("openrouter")), CHAT, body


def _raw() -> Way:
    def body(chance: random.Random) -> Body:
        text, reason = answer(chance), chance.choice(FINISH_REASONS)
        return {"id": "1", "choices": [{"index": 0, "text": text, "finish_reason": reason}]}, text, reason or None

    return GuardHost(Host.named("vllm"), raw_prompt=True), COMPLETIONS, body


def _ollama() -> Way:
    def body(chance: random.Random) -> Body:
        text, reason = answer(chance), chance.choice(FINISH_REASONS)
        return (
            {"model": "g", "response": text, "done": True, "done_reason": reason, "eval_count": 3},
            text,
            reason or None,
        )

    return GuardHost(Host.named("ollama")), OLLAMA_GENERATE, body


_SLUGS: list[Any] = [
    "violent-crimes",
    "violent-crimes",
    "S1",
    "S1",
    "hate",
    "s9",
    "",
    None,
    7,
    {"S1": 1},
    "privacy,S1",
    "\x1b[31m",
]


def _moderation() -> Way:
    def body(chance: random.Random) -> Body:
        results = []
        for _ in range(chance.randint(0, 2)):
            slugs = chance.choices(_SLUGS, k=chance.randint(0, 2))
            told = chance.choice([slugs, slugs, slugs, [], None, "hate"])
            results.append({"flagged": chance.choice([True, False]), "flagged_categories": told})
        named = [slug for result in results for slug in _named(result)]
        verdict = {"safe": not any(result["flagged"] for result in results), "categories": named}
        return {"model": "guard", "results": results}, json.dumps(verdict), "stop"

    return GuardHost(Host.named("meta"), model="Llama-Guard-4-12B"), MODERATIONS, body


def _named(result: Mapping[str, Any]) -> list[Any]:
    """The hazards of a result; one that nobody knows, where it is flagged for none."""
    told = result["flagged_categories"]
    named = told if isinstance(told, list) else [told] if told else []
    return named or ["?"] * result["flagged"]


def _with_junk(chance: random.Random, value: Any) -> Any:
    """The same JSON with something else in the place of one value, somewhere in it."""
    if isinstance(value, Mapping) and value and chance.random() < 0.8:
        name = chance.choice([*value])
        return {**value, name: _with_junk(chance, value[name])}
    if isinstance(value, list) and value and chance.random() < 0.8:
        at = chance.randrange(len(value))
        return [*value[:at], _with_junk(chance, value[at]), *value[at + 1 :]]
    return junk(chance)
