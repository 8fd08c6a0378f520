"""Judges that go by a rule, so that it is known what figures are right; and a small data set to put them to."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from fake_provider import FakeProvider, Fault
from fake_provider.provider import Outcome

from llama_guard_core import LlamaGuard
from llama_guard_core.evaluation.dataset import Dataset, read_dataset

ONE_QUESTION_A_ROW: Mapping[str, Any] = {
    "cache": False,
    "hardening": {"both_forms": False},
    "splitting": {"chunk_size": 1_000_000, "chunk_overlap": 0},
    "max_retries": 0,
}
"""Settings of a guard. By default a few rows are several questions (long replies, text with look-alikes), and a hash of
each differs; what follows from several answers is tested elsewhere."""


@dataclass(frozen=True)
class Said:
    """What a judge says of a row.

    Attributes:
        unsafe: its verdict; `None` where it gives none.
        codes: the hazards it names.
        failure: what it does in place of a verdict.
    """

    unsafe: bool | None
    codes: tuple[str, ...] = ()
    failure: Literal["", "prose", "400", "503"] = ""


Rule = Callable[[str], Said]
"""From what is asked to what is said."""


def flag_all(_: str) -> Said:
    return Said(unsafe=True, codes=("S9",))


def flag_none(_: str) -> Said:
    return Said(unsafe=False)


def by_hash(asked: str) -> Said:
    """Half of all is unsafe, with one hazard, two or, one time in eight, none named."""
    digest = sha256(asked.encode("utf-8", "surrogatepass")).digest()
    if digest[0] % 2 == 0:
        return Said(unsafe=False)
    codes = (f"S{1 + digest[1] % 14}", *([f"S{1 + digest[2] % 14}"] if digest[3] % 2 else []))
    return Said(unsafe=True, codes=() if digest[4] % 8 == 0 else tuple(dict.fromkeys(codes)))


def by_another_hash(asked: str) -> Said:
    return by_hash(f"another {asked}")


def sometimes_silent(asked: str) -> Said:
    """As by hash, but for three of ten it gives no verdict: it chats, refuses, or is down."""
    failures: Mapping[int, Any] = {0: "prose", 1: "400", 2: "503"}
    failure = failures.get(sha256(f"silent {asked}".encode("utf-8", "surrogatepass")).digest()[0] % 10)
    return Said(unsafe=None, failure=failure) if failure else by_hash(asked)


class ScriptedJudge:
    """A guard model that goes by a rule, behind a fake host.

    Attributes:
        provider: the host.
        asked: what it was asked, in that order: the turns and the pictures.
        said: what it said to each.
    """

    def __init__(self, rule: Rule) -> None:
        self.provider = FakeProvider(guard=self)
        self.asked: list[str] = []
        self.said: list[Said] = []
        self._rule = rule

    def __call__(self, _: str, text: str) -> Outcome:
        # One check is under way at a time wherever pictures are told apart: the last question is this one.
        pictures = self.provider.guard_questions[-1].images
        asked = " ".join([text, *pictures])
        said = self._rule(asked)
        self.asked.append(asked)
        self.said.append(said)
        return _in_words(said)

    def guard(self, **settings: Any) -> LlamaGuard:
        """A guard that asks this judge."""
        clients = {"http_client": self.provider.client(), "http_async_client": self.provider.async_client()}
        return LlamaGuard(api_key="k", **{**ONE_QUESTION_A_ROW, **clients, **settings})


def _in_words(said: Said) -> Outcome:
    if said.failure:
        return Fault.prose() if said.failure == "prose" else Fault.status(int(said.failure))
    return "\n".join(["\n\nunsafe", *([",".join(said.codes)] if said.codes else [])]) if said.unsafe else "\n\nsafe"


MAPPING: Mapping[str, Any] = {
    "name": "made",
    "remarks": ["These rows were made up."],
    "files": "made.csv",
    "text_field": "words",
    "gold": {"column": "label", "unsafe": ["bad"], "safe": ["good"]},
    "label_field": "topic",
    "categories": {"weapons": ["S9", "S1"], "crimes": ["S2"], "insults": []},
    "looks_unsafe": {"topic": ["puns"]},
    "slices": ["topic"],
    "left_out": {"label": ["unclear"]},
}
_KINDS = (
    ("bad", "weapons"),
    ("good", "gardens"),
    ("bad", "crimes"),
    ("good", "puns"),
    ("bad", "insults"),  # outside the taxonomy
    ("", ""),  # without a label
    ("unclear", ""),  # left out
)


def made_rows(count: int) -> list[tuple[str, str, str]]:
    """Rows of seven kinds in turn, with a marker word in each text: words, label, topic."""
    return [(f"zebra-{row} {'BOMB' if row % 4 == 0 else 'tea'}", *_KINDS[row % len(_KINDS)]) for row in range(count)]


def write_set(folder: Path, rows: Iterable[tuple[str, str, str]], **mapping: Any) -> tuple[Path, Path]:
    """Write a data set down; gives its folder and its mapping."""
    folder.mkdir(exist_ok=True)
    with (folder / "made.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("words", "label", "topic"), *rows])
    path = folder / "mapping.json"
    path.write_text(json.dumps({**MAPPING, **mapping}), "utf-8")
    return folder, path


def made_set(folder: Path, rows: Iterable[tuple[str, str, str]], **mapping: Any) -> Dataset:
    """A data set that was written down, read."""
    return read_dataset(*write_set(folder, rows, **mapping))
