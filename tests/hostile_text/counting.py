"""What came of many cases: how many, and how many of them went wrong in which way."""

from __future__ import annotations

import os
import random
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from llama_guard_core.errors import LlamaGuardError

FAULTS = ("crashes", "dropped parts", 'wrong "safe"', "read otherwise in pieces", "ran unjudged", "raw controls")
_MOST_EXAMPLES = 5
_MOST_SHOWN = 400
_AT_ONCE = 1000
SEED = int(os.environ.get("HOSTILE_SEED", "20261127"))
CASES = int(os.environ.get("HOSTILE_CASES", "20000"))


@dataclass
class Row:
    """One thing that was fuzzed.

    Attributes:
        name: what it is.
        cases: how many cases there were.
        outcomes: what the others came to.
        faults: what went wrong, by `FAULTS`.
        examples: the first few that went wrong; neutral text of these tests.
    """

    name: str
    cases: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def wrong(self, fault: str, what: object) -> None:
        """Count a fault, and keep what it was if it is among the first."""
        assert fault in FAULTS
        self.faults[fault] += 1
        if len(self.examples) < _MOST_EXAMPLES:
            self.examples.append(f"{self.name}, {fault}, case {self.cases}: {_shortened(ascii(what))}")

    @contextmanager
    def case(self, what: object, typed: tuple[type[Exception], ...] = (LlamaGuardError,)) -> Iterator[None]:
        """Count a case; an error that is none of the typed ones is a crash."""
        self.cases += 1
        try:
            yield
        except typed as error:
            self.outcomes[type(error).__name__] += 1
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            frames = [f"{Path(it.filename).name}:{it.lineno}" for it in traceback.extract_tb(error.__traceback__)[-4:]]
            self.wrong("crashes", (type(error).__name__, str(error)[:100], frames, what))


def _shortened(what: str) -> str:
    return what if len(what) <= _MOST_SHOWN else f"{what[: _MOST_SHOWN // 3]} ... {what[-_MOST_SHOWN:]}"


def cases_of(name: str, seed: int, cases: int) -> Iterator[tuple[random.Random, int]]:
    """A source of chance for each case; the same for the same name, seed and number of the case's thousand."""
    for start in range(0, cases, _AT_ONCE):
        chance = random.Random(f"{seed} {name} {start}")  # noqa: S311 - that it can be repeated is the point
        for number in range(start, min(cases, start + _AT_ONCE)):
            yield chance, number
