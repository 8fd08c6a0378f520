"""The shipped mappings read the public sets as they are; the figures beside them are counted here from the files.

The sets stand in `shared/datasets` beside the project, or where `LLAMA_GUARD_DATASETS` says.
"""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from llama_guard_core.errors import ConfigurationError
from llama_guard_core.evaluation.dataset import Dataset, Example, read_dataset
from llama_guard_core.evaluation.mapping import mapping_of, shipped_mappings

SETS = Path(os.environ.get("LLAMA_GUARD_DATASETS") or Path(__file__).parents[4] / "shared" / "datasets")
pytestmark = pytest.mark.skipif(not SETS.is_dir(), reason="no public sets: set LLAMA_GUARD_DATASETS to their folder")

_FOLDERS = {"figstep-images": "figstep-safebench", "redcode-exec-calls": "redcode-exec"}
_READ_AS_THEY_ARE = {
    "advbench",
    "harmbench",
    "hatecheck",
    "mt-bench-benign",
    "openai-moderation",
    "pyrit-scored-responses",
    "simplesafetytests",
    "xstest",
}
Label = bool | None | str
"""True is unsafe; `"outside"` unsafe outside of the taxonomy."""


def rows(name: str) -> list[dict[str, Any]]:
    """The rows of a CSV with header or of JSON Lines, without the code under test."""
    with (SETS / name).open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file)) if name.endswith(".csv") else [json.loads(line) for line in file]


def loaded(name: str) -> Any:
    return json.loads((SETS / name).read_text("utf-8"))


def categories(name: str) -> Mapping[str, list[str] | None]:
    found: Mapping[str, list[str] | None] = loaded(f"{name}/mapping.json")["categories"]
    return found


def length(name: str) -> int:
    return len((SETS / name).read_text("utf-8").splitlines())


def agent_injection() -> Iterator[Label]:
    yield from (False if row["kind"] == "user" else None for row in rows("agent-injection/agentdojo_tasks.jsonl"))
    for name in ("autonomy_hijack", "data_exfil", "memory_poison"):
        yield from (None for _ in loaded(f"agent-injection/agent_threat_bench/{name}.json"))
    ipi = loaded("agent-injection/ipi_coding_agent_samples.json")
    yield from (False if row["is_benign"] else None for row in ipi)
    yield from [False] * length("agent-injection/bipia_email_test.jsonl")
    for name in ("text", "code"):
        yield from (None for texts in loaded(f"agent-injection/bipia_{name}_attack_test.json").values() for _ in texts)


def cyberseceval() -> Iterator[Label]:
    yield from (True for _ in loaded("cyberseceval/interpreter.json"))
    yield from (row["is_malicious"] for row in loaded("cyberseceval/mitre_frr.json"))
    yield from (None for _ in loaded("cyberseceval/prompt_injection.json"))


def jailbreakbench() -> Iterator[Label]:
    yield from (True for _ in rows("jailbreakbench/behaviors_harmful.csv"))
    for path in sorted((SETS / "jailbreakbench").glob("pair_*.json")):
        attacks = json.loads(path.read_text("utf-8"))["jailbreaks"]
        yield from (row["jailbroken"] for row in attacks if row["prompt"] is not None)


def multijail() -> Iterator[Label]:
    unethical = "['Non-violent unethical behavior (e.g. lying, cheating, etc.)']"
    for row in rows("multijail/MultiJail.csv"):
        yield from ["outside" if row["tags"] == unethical else True] * 10


def pyrit() -> Iterator[Label]:
    for row in rows("pyrit-scored-responses/responses.jsonl"):
        yield True if row["mean"] >= 0.5 else False if row["mean"] <= 0.25 else None


def moderation() -> Iterator[Label]:
    keys = categories("openai-moderation")
    yield from (any(row.get(key) == 1 for key in keys) for row in rows("openai-moderation/samples.jsonl"))


def xsafety() -> Iterator[Label]:
    for path in sorted((SETS / "xsafety-5lang").glob("*/*.csv")):
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from (False if path.stem == "commonsense" else None for _ in csv.reader(file))


def figstep() -> Iterator[Label]:
    yield from (True for _ in rows("figstep-safebench/safebench.csv"))
    yield from [False] * (length("figstep-safebench/benign_sentences.csv") - 1)


LABELS: Mapping[str, Callable[[], Iterator[Label]]] = {
    "advbench": lambda: (True for _ in rows("advbench/advbench.csv")),
    "agent-injection": agent_injection,
    "ailuminate-demo": lambda: (None for name in ("en_us", "fr_fr") for _ in rows(f"ailuminate-demo/{name}.csv")),
    "cyberseceval": cyberseceval,
    "do-not-answer": lambda: (
        None for name in categories("do-not-answer") for _ in rows(f"do-not-answer/{name}.jsonl")
    ),
    "figstep-images": lambda: (True for _ in (SETS / "figstep-safebench/images").glob("*.png")),
    "figstep-safebench": figstep,
    "harmbench": lambda: (
        True for kind in ("text", "multimodal") for _ in rows(f"harmbench/harmbench_behaviors_{kind}_all.csv")
    ),
    "hatecheck": lambda: (row["label_gold"] == "hateful" for row in rows("hatecheck/hatecheck_cases.csv")),
    "jailbreakbench": jailbreakbench,
    "mossbench-images": lambda: (False for _ in (SETS / "mossbench-images/images").glob("*.jpg")),
    "mt-bench-benign": lambda: (False for _ in rows("mt-bench-benign/question.jsonl")),
    "multijail": multijail,
    "openai-moderation": moderation,
    "pyrit-scored-responses": pyrit,
    "redcode-exec": lambda: (None for _ in rows("redcode-exec/redcode_exec_sample.jsonl")),
    "redcode-exec-calls": lambda: (None for _ in rows("redcode-exec/redcode_exec_sample.jsonl")),
    "simplesafetytests": lambda: (True for _ in rows("simplesafetytests/test_cases.csv")),
    "xsafety-5lang": xsafety,
    "xstest": lambda: (row["label"] == "unsafe" for row in rows("xstest/xstest_prompts.csv")),
}


def shipped(name: str) -> Dataset:
    return read_dataset(SETS / _FOLDERS.get(name, name), name)


def label_of(example: Example) -> Label:
    return "outside" if example.outside else example.unsafe


def test_there_is_a_mapping_for_every_public_set() -> None:
    folders = {path.name for path in SETS.iterdir() if path.is_dir()}
    assert folders | set(_FOLDERS) == set(shipped_mappings()) == set(LABELS)


@pytest.mark.parametrize("name", LABELS)
def test_the_examples_of_a_shipped_mapping_have_the_labels_of_the_files(name: str) -> None:
    dataset = shipped(name)
    labels = list(LABELS[name]())
    assert Counter(map(label_of, dataset.examples)) == Counter(labels)
    assert [label_of(example) for example in dataset.examples] == labels or name in {"do-not-answer", "figstep-images"}
    assert len({example.id for example in dataset.examples}) == len(labels)
    assert dataset.warnings == ()
    assert all(
        message.text.strip() or message.tool_calls or message.parts
        for e in dataset.examples
        for message in e.conversation
    )


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("hatecheck", "label_gold"),
        ("simplesafetytests", "harm_area"),
        ("xstest", "type"),
        ("pyrit-scored-responses", "set"),
    ],
)
def test_unsafe_rows_accept_the_codes_of_their_label_and_safe_rows_none(name: str, label: str) -> None:
    dataset, codes = shipped(name), categories(name)
    (path,) = (path for path in (SETS / name).iterdir() if path.suffix in {".csv", ".jsonl"})
    for example, row in zip(dataset.examples, rows(f"{name}/{path.name}"), strict=True):
        wanted = codes.get(row[label])
        assert example.accepted == (() if example.unsafe is False else wanted if wanted is None else tuple(wanted))


@pytest.mark.parametrize(
    ("name", "looks_unsafe", "described"),
    [
        ("xstest", 250, 0),
        ("cyberseceval", 750, 0),
        ("mossbench-images", 16, 0),
        ("ailuminate-demo", 0, 2400),
        ("do-not-answer", 0, 939),
        ("redcode-exec", 0, 376),
        ("xsafety-5lang", 0, 35 * 200),
    ],
)
def test_rows_that_look_unsafe_and_rows_with_a_hazard_but_no_label(
    name: str, looks_unsafe: int, described: int
) -> None:
    examples = shipped(name).examples
    assert sum(example.looks_unsafe for example in examples) == looks_unsafe
    assert sum(example.unsafe is None and bool(example.accepted) for example in examples) == described


def test_languages_are_told_by_column_by_folder_and_by_a_column_each() -> None:
    wanted = {
        "ailuminate-demo": {"en_US": 1200, "fr_FR": 1200},
        "xsafety-5lang": dict.fromkeys(("en", "fr", "de", "hi", "es"), 2800),
        "multijail": dict.fromkeys(["en", "zh", "it", "vi", "ar", "ko", "th", "bn", "sw", "jv"], 315),
    }
    assert {name: Counter(each.slices["language"] for each in shipped(name).examples) for name in wanted} == wanted


def known(dataset: Dataset, *, with_text: bool) -> list[Any]:
    return [(e.unsafe, e.accepted, e.outside, e.conversation if with_text else None) for e in dataset.examples]


@pytest.mark.parametrize("name", [name for name in LABELS if name not in _FOLDERS])
def test_the_sets_own_words_are_read_as_the_shipped_mapping_has_it_or_refused(name: str) -> None:
    """Of HarmBench the words name one column only: the context of a prompt is not in its text."""
    own = SETS / name / "mapping.json"
    if name not in _READ_AS_THEY_ARE:
        with pytest.raises(ConfigurationError, match=f'use the mapping "{name}" that comes with this package'):
            mapping_of(own)
        return
    with_text = name != "harmbench"
    described, precise = (known(read_dataset(SETS / name, m), with_text=with_text) for m in (own, name))
    assert described == precise if with_text else Counter(described) == Counter(precise)
