"""Public data of attacks on agents, where it is at hand: what users ask, and what tools give with an attack in it.

The folder is `shared/datasets/agent-injection` beside the project, or what `LLAMA_GUARD_AGENT_INJECTION` names. Any JSON,
JSON Lines or YAML in it is read, whatever fields it has. No text of it is in the name or the output of a test.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_provider import Reply, ToolCall

FOLDER = Path(
    os.environ.get("LLAMA_GUARD_AGENT_INJECTION")
    or Path(__file__).parents[2] / "shared" / "datasets" / "agent-injection"
)
_ASKED = ("text", "input", "task_description", "question")


@dataclass(frozen=True)
class Attack:
    """What a user asks, and what a tool gives back; in a form that a tool may well give."""

    name: str
    prompt: str = field(repr=False)
    result: Any = field(repr=False)


def attacks() -> list[Attack]:
    """All there is in the folder."""
    paths = sorted(path for path in FOLDER.rglob("*") if path.suffix in {".json", ".jsonl", ".yaml"})
    found = [record for path in paths if path.name != "mapping.json" for record in _records(path)]
    return [_attack(number, name, record) for number, (name, record) in enumerate(found)]


needs_attacks = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"no {FOLDER.name} data: set LLAMA_GUARD_AGENT_INJECTION to its folder"
)


def says_unsafe(role: str, text: str) -> bool:
    """A judge by hash: one text in four is unsafe, always the same."""
    return hashlib.sha256(f"{role} {text}".encode("utf-8", "replace")).digest()[0] < 64


def verdict(role: str, text: str) -> str:
    """The same in Llama Guard's words."""
    return "\n\nunsafe\nS2" if says_unsafe(role, text) else "\n\nsafe"


def replies(attack: Attack) -> list[Reply | str]:
    """A model that reads, does what it read, and answers; more answers than it will need."""
    carried = json.dumps({"text": str(attack.result)[:2000]}, ensure_ascii=False)
    step = Reply("", (ToolCall("read", '{"text": "it"}', "c1"), ToolCall("act", carried, "c2")))
    return [step, *[f"About {attack.name}: done."] * 4]


def _records(path: Path) -> Iterator[tuple[str, Any]]:
    text = path.read_text("utf-8")
    if path.suffix == ".jsonl":
        read: Any = [json.loads(line) for line in text.splitlines() if line.strip()]
    else:
        read = yaml.safe_load(text) if path.suffix == ".yaml" else json.loads(text)
    items = read if isinstance(read, list) else [item for value in read.values() for item in _listed(value)]
    yield from ((path.stem, item) for item in items)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _attack(number: int, source: str, record: Any) -> Attack:
    told = record if isinstance(record, dict) else {"text": record}
    prompt = next((str(told[key]) for key in _ASKED if told.get(key)), "Go on.")
    carried = {key: value for key, value in told.items() if key not in _ASKED} or told
    forms = (json.dumps(carried, ensure_ascii=False), carried, [{"type": "text", "text": str(carried)}])
    return Attack(f"{source}-{number}", prompt, forms[number % 3])
