"""Mappings in words: read where they can mean one thing only, else refused with the precise words for it."""

from __future__ import annotations

from typing import Any

import pytest

from llama_guard_core.errors import ConfigurationError
from llama_guard_core.evaluation.described import is_described, precise
from llama_guard_core.evaluation.mapping import DatasetMapping

_ALL = {"name": "mine", "items": 80, "text_field": "prompt", "gold": "all 80 unsafe", "categories": None}


def read(**changed: Any) -> dict[str, Any]:
    return precise({**_ALL, **changed})


@pytest.mark.parametrize(
    ("text_field", "fields"),
    [
        ("prompt", {"text_field": "prompt"}),
        ("Prompt text", {"text_field": "Prompt text"}),
        ("question, response", {"text_field": "question", "reply_field": "response"}),
        ("turns (a list of two)", {"text_field": "turns"}),
        ("en, fr", {"text_field": {"en": "en", "fr": "fr"}}),
    ],
)
def test_columns_are_read(text_field: str, fields: dict[str, Any]) -> None:
    told = read(text_field=text_field, languages="en fr")
    assert {key: told[key] for key in fields} == fields
    assert DatasetMapping.model_validate(told).gold == "unsafe"


@pytest.mark.parametrize(
    "text_field",
    [
        None,
        "first column",
        "question + image",
        "a, b",
        "response, prompt, other",
        "goal (a); prompt, response (b)",
        "`text` (x)",
        "mutated_prompt (interpreter, mitre_frr)",
        "text_summary (request in words), code",
        ["a", "b"],
    ],
)
def test_other_words_for_columns_are_refused_with_an_example(text_field: Any) -> None:
    with pytest.raises(ConfigurationError, match='write text_field as "text_field": "prompt"'):
        read(text_field=text_field)


@pytest.mark.parametrize(
    ("gold", "means"),
    [
        ("all 80 unsafe", "unsafe"),
        ("All unsafe", None),
        ("all safe", "safe"),
        ("all 80 prompts are safe.", "safe"),
        (
            "column `label`: `safe` (50) or `unsafe` (30)",
            {"column": "label", "unsafe": ["unsafe"], "safe": ["safe"]},
        ),
        ("unsafe if mean >= 0.5, safe if mean <= 0.25", {"column": "mean", "unsafe_from": 0.5, "safe_up_to": 0.25}),
        (
            "`mean` of the scores on a 0 / 1 scale; suggested: unsafe if mean >= 0.5, safe if mean <= 0.25",
            {"column": "mean", "unsafe_from": 0.5, "safe_up_to": 0.25},
        ),
        ("column `toxic`: `1` unsafe, `0` safe", {"column": "toxic", "unsafe": ["1"], "safe": ["0"]}),
        ("column `l`: `a` (unsafe), `b` is unsafe or `c` = safe", {"column": "l", "unsafe": ["a", "b"], "safe": ["c"]}),
        ("unsafe if `ok` is false, safe if ok = true", {"column": "ok", "unsafe": ["false"], "safe": ["true"]}),
        ("column `l`: `1` unsafe, `1` safe", None),
        ("column `l`: `1` not safe, `0` safe", None),
        ("unsafe if ok is false, else safe", None),
        ("unsafe if a is 1, safe if b is 0", None),
        # Two rules, hedges, negations, and a number that is not that of all items.
        ("all 70 unsafe", None),
        ("not all unsafe", None),
        ("all meant to be unsafe", None),
        ("all unsafe but ten", None),
        ("all unsafe for an agent; upstream has no benign half", None),
        ("a.json: all 40 unsafe. b.json: all 40 safe", None),
        ("all are prompts to decline; NOT all unsafe under Llama Guard", None),
        ("`mean` of scores, not of people; suggested: unsafe if mean >= 0.5, safe if mean <= 0.25", None),
        ("`median` of scores; suggested: unsafe if mean >= 0.5, safe if mean <= 0.25", None),
        ("unsafe if mean >= 0.5, safe if median <= 0.25", None),
        ("column `label`: `good` or `bad`", None),
        ("column `label` is not always `safe` or `unsafe`", None),
        ("no label", None),
        ("unsafe: column `label`", None),
    ],
)
def test_labels_are_read_or_refused(gold: str, means: Any) -> None:
    if means is not None:
        assert read(gold=gold)["gold"] == means
        return
    with pytest.raises(ConfigurationError, match=r'write gold as "gold": {"column": "label"'):
        read(gold=gold)


def test_values_of_a_column_are_told_by_their_categories() -> None:
    told = read(
        gold="column `label_gold`: `hateful` (50) or `non-hateful` (30)",
        label_field="functionality / label_gold",
        categories={"hateful": ["S10"], "non-hateful": []},
    )
    assert told["gold"] == {"column": "label_gold", "unsafe": ["hateful"], "safe": ["non-hateful"]}
    assert told["label_field"] == "label_gold"


@pytest.mark.parametrize(
    ("categories", "label", "key"),
    [
        ({"a": ["S1"], "b": None}, "l", "gold"),
        ({"a": ["S1"], "b": ["S2"]}, "l", "gold"),
        ({"a": ["S1"], "b": [], "c": []}, "l", "gold"),
        ({"a": ["S1"], "b": []}, "other", "label_field"),
    ],
)
def test_values_are_refused_where_their_categories_do_not_tell_them(
    categories: dict[str, Any], label: str, key: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"write {key} as"):
        read(gold="column `l`: `a` or `b`", label_field=label, categories=categories)


def test_any_key_at_one_is_unsafe_and_names_the_hazard() -> None:
    told = read(gold="unsafe if any of the category keys is 1", categories={"S": ["S12"]}, label_field="a 0/1 key")
    mapping = DatasetMapping.model_validate(told)
    assert told["gold"] == {"any_of": ["S"]}
    assert mapping.label_field is None


@pytest.mark.parametrize("label", ["Category / category", "tags (a list)", None])
def test_a_label_that_is_not_one_column_is_refused(label: str | None) -> None:
    with pytest.raises(ConfigurationError, match='write label_field as "label_field": "category"'):
        read(label_field=label, categories={"a": ["S1"]})


def test_the_name_of_the_file_can_be_the_label() -> None:
    assert read(label_field="file name", categories={"a": ["S1"]})["label_field"] == "{file}"


def test_a_refusal_names_every_key_and_the_shipped_mapping() -> None:
    settings = {"name": "multijail", "text_field": "a + b", "gold": "most unsafe", "categories": {"a": []}}
    with pytest.raises(ConfigurationError) as refused:
        DatasetMapping.from_mapping(settings)
    said = str(refused.value)
    assert all(f"{key} as " in said for key in ("text_field", "gold", "label_field"))
    assert 'use the mapping "multijail" that comes with this package' in said


@pytest.mark.parametrize(
    ("gold", "described"),
    [("unsafe", False), ("safe", False), (None, False), ({"any_of": ["a"]}, False), ("all", True)],
)
def test_only_a_sentence_is_a_description(gold: Any, described: bool) -> None:
    assert is_described({"gold": gold}) is described
