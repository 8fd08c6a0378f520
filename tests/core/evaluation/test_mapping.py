"""What a mapping may say, and what is refused with which words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llama_guard_core.errors import ConfigurationError
from llama_guard_core.evaluation.gold import Gold, accepted_codes, labels_in, plain, referred
from llama_guard_core.evaluation.mapping import DatasetMapping, mapping_of, shipped_mappings

_LEAST: dict[str, Any] = {"name": "mine", "text_field": "prompt", "gold": "unsafe"}


def refusal(**changed: Any) -> str:
    settings = {name: value for name, value in {**_LEAST, **changed}.items() if value != "(left out)"}
    with pytest.raises(ConfigurationError) as refused:
        DatasetMapping.from_mapping(settings)
    return str(refused.value)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"promt": "x"}, ["promt: there is no such key; there are", "text_field", "label_field"]),
        ({"gold": "(left out)"}, ['gold: say "unsafe" or "safe"', "null"]),
        ({"gold": {"column": "x"}}, ["gold: write one of", "unsafe_from"]),
        ({"gold": {"column": "x", "unsafe": [1], "any_of": ["y"]}}, ["gold: write one of"]),
        ({"gold": {"column": "x", "unsafe": [1], "unsafe_from": 1}}, ["gold: write one of"]),
        ({"gold": {"column": "x", "unsafe": [1], "safe": ["1"]}}, ["both in unsafe and in safe"]),
        ({"gold": {"column": "x", "unsafe_from": 0.5, "safe_up_to": 0.5}}, ["safe_up_to must be less"]),
        ({"gold": {"colum": "x"}}, ["gold.colum: there is no such key; there are column, unsafe"]),
        ({"categories": {"a": ["S99"]}}, ["categories.a: S99 is no code", "S1 to S14"]),
        ({"text_field": "(left out)"}, ["text_field: name the column"]),
        ({"reply_field": "a", "document_field": "b"}, ["document_field: only one is judged"]),
        ({"conversation_field": "a"}, ["text_field: leave it out beside conversation_field"]),
        ({"accepted": ["S1"], "label_field": "topic"}, ["accepted: leave it out"]),
        ({"argument": "code"}, ["argument: it belongs to tool_call_field"]),
        ({"format": "xlsx"}, ["format:", "'csv'", "'lines'"]),
        ({"parts": [{"files": "a.csv", "gold": None}, {"gld": 1}]}, ["a part is wrong: gld: there is no such key"]),
        ({"parts": [{"text_field": None}]}, ["text_field: name the column"]),
        ({"name": "(left out)"}, ["name: Field required"]),
    ],
)
def test_what_is_wrong_is_named_with_what_is_possible(changed: dict[str, Any], words: list[str]) -> None:
    said = refusal(**changed)
    assert "mapping" in said
    assert [word for word in words if word not in said] == []


def test_a_part_overrides_what_is_said_for_all_and_may_be_the_only_one_to_say_gold() -> None:
    parts = [{"files": "a.csv", "gold": "safe"}, {"files": "b.csv", "gold": None, "text_field": "question"}]
    mapping = DatasetMapping.from_mapping({"name": "m", "text_field": "prompt", "slices": ["topic"], "parts": parts})
    first, second = mapping.groups()
    assert (first.text_field, first.gold, first.files) == ("prompt", "safe", ("a.csv",))
    assert (second.text_field, second.gold, second.slices) == ("question", None, {"topic": "topic"})


def test_a_mapping_is_given_as_itself_its_keys_a_path_or_a_name(tmp_path: Path) -> None:
    mapping = DatasetMapping.from_mapping(_LEAST)
    path = tmp_path / "mapping.json"
    path.write_text(json.dumps(_LEAST), "utf-8")
    assert mapping_of(mapping) is mapping
    assert mapping_of(_LEAST) == mapping_of(path) == mapping_of(str(path)) == mapping
    assert mapping_of("xstest").name == "xstest"


@pytest.mark.parametrize(
    ("text", "words"),
    [("[1]", "no JSON object"), ("{", "no JSON in UTF-8"), (None, "one of advbench, agent-injection")],
)
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "m.json"
    if text is not None:
        path.write_text(text, "utf-8")
    with pytest.raises(ConfigurationError, match=words):
        mapping_of(path)


@pytest.mark.parametrize("name", shipped_mappings())
def test_each_shipped_mapping_says_where_its_set_is_from_and_what_its_figures_do_not_say(name: str) -> None:
    mapping = mapping_of(name)
    assert mapping.name == name
    assert mapping.source
    assert mapping.licence
    assert mapping.remarks
    assert mapping.items
    assert mapping.kind


@pytest.mark.parametrize(
    ("gold", "row", "unsafe"),
    [
        ({"column": "l", "unsafe": ["bad"], "safe": ["good"]}, {"l": " bad "}, True),
        ({"column": "l", "unsafe": ["bad"], "safe": ["good"]}, {"l": "good"}, False),
        ({"column": "l", "unsafe": ["bad"], "safe": ["good"]}, {"l": "Bad"}, None),
        ({"column": "l", "unsafe": ["bad"], "safe": ["good"]}, {}, None),
        ({"column": "l", "unsafe": True, "safe": False}, {"l": "True"}, True),
        ({"column": "l", "unsafe": [True], "safe": [False]}, {"l": False}, False),
        ({"column": "l", "unsafe": [1], "safe": [0]}, {"l": "1"}, True),
        ({"column": "l", "unsafe": [1], "safe": [0]}, {"l": 0.0}, False),
        ({"column": "l", "safe": [None]}, {"l": ""}, False),
        ({"column": "m", "unsafe_from": 0.5, "safe_up_to": 0.25}, {"m": 0.5}, True),
        ({"column": "m", "unsafe_from": 0.5, "safe_up_to": 0.25}, {"m": "0.25"}, False),
        ({"column": "m", "unsafe_from": 0.5, "safe_up_to": 0.25}, {"m": 0.4}, None),
        ({"column": "m", "unsafe_from": 0.5, "safe_up_to": 0.25}, {"m": " "}, None),
        ({"any_of": ["a", "b"]}, {"a": 0, "b": 1}, True),
        ({"any_of": ["a", "b"]}, {"b": "true"}, True),
        ({"any_of": ["a", "b"]}, {"a": 0}, False),
        ({"any_of": ["a", "b"]}, {}, False),
    ],
)
def test_a_rule_labels_a_row(gold: dict[str, Any], row: dict[str, Any], unsafe: bool | None) -> None:
    rule = Gold.model_validate(gold)
    assert rule.of(row, row.get(rule.column or "")) is unsafe


def test_a_number_that_is_none_is_an_error_that_does_not_quote_it() -> None:
    rule = Gold(column="mean", unsafe_from=0.5, safe_up_to=0.25)
    with pytest.raises(ConfigurationError, match="mean holds something that is no number") as refused:
        rule.of({}, "BOMB")
    assert "BOMB" not in str(refused.value)


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        ("a, b", ("a, b",)),
        ("['a (e.g. b, c)', 'd']", ("a (e.g. b, c)", "d")),
        ('["a", "b"]', ("a", "b")),
        (["a"], ("a",)),
        ("[a", ("[a",)),
        (None, ()),
        (3, ("3",)),
    ],
)
def test_a_cell_holds_one_label_or_a_list_of_them(cell: Any, labels: tuple[str, ...]) -> None:
    assert labels_in(cell) == labels


def test_several_labels_accept_the_codes_of_each_and_a_mixture_makes_them_unknown() -> None:
    categories = {"a": ("S1", "S2"), "b": ("S2", "S9"), "none": (), "mixed": None}
    assert accepted_codes(["a", "b"], categories) == ("S1", "S2", "S9")
    assert accepted_codes(["none", "b"], categories) == ("S2", "S9")
    assert accepted_codes(["none"], categories) == ()
    assert accepted_codes(["a", "mixed"], categories) is None
    assert accepted_codes(["a", "unheard of"], categories) is None
    assert accepted_codes([], categories) is None


def test_braces_stand_for_columns_and_for_the_file() -> None:
    origin = {"file": "a", "folder": "fr"}
    assert referred("images/{x}_{y}.png", {"x": 1.0, "y": "2"}, origin) == "images/1_2.png"
    assert referred("{folder}/{file}", {"file": "mine"}, origin) == "fr/a"
    assert referred("x", {"x": [1]}, origin) == [1]


@pytest.mark.parametrize(("value", "text"), [(True, "true"), ("FALSE", "false"), (1.0, "1"), (0.5, "0.5"), (None, "")])
def test_a_value_is_the_same_in_every_format(value: Any, text: str) -> None:
    assert plain(value) == text
