"""Data sets are read from a mapping alone."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from llama_guard_core.errors import ConfigurationError
from llama_guard_core.evaluation.dataset import Dataset, Example, read_dataset, read_examples
from llama_guard_core.guardrail.verdict import Stage
from llama_guard_core.messages import Image

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


def json_lines(path: Path, *rows: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def table(path: Path, *rows: Sequence[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def read(data: Path, **mapping: Any) -> Dataset:
    return read_dataset(data, {"name": "mine", "gold": "unsafe", **mapping})


def said(example: Example) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in example.conversation]


def known(dataset: Dataset) -> list[tuple[bool | None, tuple[str, ...] | None, bool]]:
    return [(each.unsafe, each.accepted, each.outside) for each in dataset.examples]


@pytest.mark.parametrize(
    ("row", "mapping", "stage", "words"),
    [
        ({"p": "KNIFE"}, {"text_field": "p"}, Stage.PROMPT, [("user", "KNIFE")]),
        ({"p": 7}, {"text_field": "p"}, Stage.PROMPT, [("user", "7")]),
        ({"p": ["one", "", "two"]}, {"text_field": "p"}, Stage.PROMPT, [("user", "one"), ("user", "two")]),
        ({"c": None, "p": "x"}, {"text_field": ["c", "p"]}, Stage.PROMPT, [("user", "x")]),
        ({"c": "y", "p": "x"}, {"text_field": ["c", "p"]}, Stage.PROMPT, [("user", "y"), ("user", "x")]),
        (
            {"p": "x", "r": "y"},
            {"text_field": "p", "reply_field": "r"},
            Stage.REPLY,
            [("user", "x"), ("assistant", "y")],
        ),
        ({"r": "y"}, {"reply_field": "r"}, Stage.REPLY, [("assistant", "y")]),
        ({"d": "y"}, {"document_field": "d"}, Stage.DOCUMENT, [("user", "y")]),
        ({"t": {"a": 1}}, {"tool_result_field": "t"}, Stage.TOOL_RESULT, [("tool", '{"a": 1}')]),
        (
            {"p": "x", "t": "y"},
            {"text_field": "p", "tool_result_field": "t"},
            Stage.TOOL_RESULT,
            [("user", "x"), ("assistant", ""), ("tool", "y")],
        ),
        (
            {"m": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]},
            {"conversation_field": "m"},
            Stage.REPLY,
            [("user", "x"), ("assistant", "y")],
        ),
        ({"m": '[{"role": "user", "content": "x"}]'}, {"conversation_field": "m"}, Stage.PROMPT, [("user", "x")]),
    ],
)
def test_the_column_tells_what_is_judged(
    tmp_path: Path, row: dict[str, Any], mapping: dict[str, Any], stage: Stage, words: list[tuple[str, str]]
) -> None:
    (example,) = read(json_lines(tmp_path / "a.jsonl", row), **mapping).examples
    assert (example.stage, said(example)) == (stage, words)


@pytest.mark.parametrize(
    ("code", "argument", "arguments"),
    [("ls", "code", '{"code": "ls"}'), ('{"x": 1}', None, '{"x": 1}'), ({"x": 1}, None, '{"x": 1}')],
)
def test_a_call_is_written_with_its_tool_and_argument(
    tmp_path: Path, code: Any, argument: str | None, arguments: str
) -> None:
    data = json_lines(tmp_path / "a.jsonl", {"p": "list", "c": code})
    mapping = {"text_field": "p", "tool_call_field": "c", "tool": "shell", "argument": argument}
    (example,) = read(data, **mapping).examples
    (call,) = example.conversation[-1].tool_calls
    assert (example.stage, call.name, call.arguments) == (Stage.TOOL_CALL, "shell", arguments)


def test_each_language_is_an_example_of_its_own_and_an_empty_one_is_left_out(tmp_path: Path) -> None:
    data = json_lines(tmp_path / "a.jsonl", {"en": "x", "fr": "y"}, {"en": "", "fr": "z"})
    dataset = read(data, text_field={"en": "en", "fr": "fr"})
    assert [each.id for each in dataset.examples] == ["a.jsonl:1#en", "a.jsonl:1#fr", "a.jsonl:2#fr"]
    assert [each.slices["language"] for each in dataset.examples] == ["en", "fr", "fr"]
    assert dataset.left_out == {"nothing to judge in en": 1}


def test_hazards_are_told_by_the_label_and_what_lies_outside_is_no_miss(tmp_path: Path) -> None:
    rows = [
        ["p", "label", "topic"],
        ["a", "bad", "arms"],
        ["b", "bad", "spam"],
        ["c", "bad", "mix"],
        ["d", "good", "arms"],
    ]
    dataset = read(
        table(tmp_path / "a.csv", *rows, ["e", "", "arms"], ["f", "", "spam"]),
        text_field="p",
        gold={"column": "label", "unsafe": "bad", "safe": "good"},
        label_field="topic",
        categories={"arms": ["S9", "S1"], "spam": [], "mix": None},
    )
    assert known(dataset) == [
        (True, ("S9", "S1"), False),
        (None, (), True),
        (True, None, False),
        (False, (), False),
        (None, ("S9", "S1"), False),
        (None, (), False),
    ]
    assert dataset.warnings == ()


def test_columns_that_are_one_are_the_labels(tmp_path: Path) -> None:
    data = json_lines(tmp_path / "a.jsonl", {"p": "a", "H": 1, "V": 1}, {"p": "b", "H": 0}, {"p": "c", "O": 1})
    categories = {"H": ["S10"], "V": ["S1", "S10"], "O": []}
    dataset = read(data, text_field="p", gold={"any_of": ["H", "V", "O"]}, categories=categories)
    assert known(dataset) == [(True, ("S10", "S1"), False), (False, (), False), (None, (), True)]


def test_one_hazard_can_be_said_for_all_rows_with_or_without_a_label(tmp_path: Path) -> None:
    data = json_lines(tmp_path / "a.jsonl", {"p": "a"})
    assert known(read(data, text_field="p", accepted=["S14", "S2"])) == [(True, ("S14", "S2"), False)]
    assert known(read(data, text_field="p", accepted=["S14"], gold=None)) == [(None, ("S14",), False)]
    assert known(read(data, text_field="p")) == [(True, None, False)]


@pytest.mark.parametrize(("which", "looks"), [(True, [True, True, False]), ({"t": ["h"]}, [True, False, False])])
def test_only_safe_rows_look_unsafe(tmp_path: Path, which: Any, looks: list[bool]) -> None:
    data = table(tmp_path / "a.csv", ["p", "l", "t"], ["a", "0", "h"], ["b", "0", "i"], ["c", "1", "h"])
    gold = {"column": "l", "unsafe": [1], "safe": [0]}
    assert [each.looks_unsafe for each in read(data, text_field="p", gold=gold, looks_unsafe=which).examples] == looks


def test_slices_are_columns_the_file_and_the_folder(tmp_path: Path) -> None:
    for name in ("fr/insult.csv", "de/insult.csv", "de/theft.csv"):
        table(tmp_path / name, ["KNIFE"])
    slices = {"language": "{folder}", "topic": "{file}"}
    gold = {"column": "{file}", "safe": ["theft"]}
    dataset = read(tmp_path, header=False, text_field="0", gold=gold, slices=slices)
    assert [(each.id, dict(each.slices), each.unsafe) for each in dataset.examples] == [
        ("de/insult.csv:1", {"language": "de", "topic": "insult"}, None),
        ("de/theft.csv:1", {"language": "de", "topic": "theft"}, False),
        ("fr/insult.csv:1", {"language": "fr", "topic": "insult"}, None),
    ]


def test_an_empty_cell_is_in_no_slice_and_a_list_is_one_value(tmp_path: Path) -> None:
    data = json_lines(tmp_path / "a.jsonl", {"p": "a", "t": ["x", "y"]}, {"p": "b", "t": None})
    assert [dict(each.slices) for each in read(data, text_field="p", slices=["t"]).examples] == [{"t": "x, y"}, {}]


def test_rows_are_left_out_by_rule_and_counted(tmp_path: Path) -> None:
    rows = [{"p": "a", "k": "user"}, {"p": None, "k": "user"}, {"p": "b", "k": "tool"}]
    dataset = read(json_lines(tmp_path / "a.jsonl", *rows), text_field="p", left_out={"p": None}, only={"k": "user"})
    assert [each.id for each in dataset.examples] == ["a.jsonl:1"]
    assert dataset.left_out == {"left out by p": 1, "left out by k": 1}
    assert dataset.warnings == ()


@pytest.mark.parametrize("chat", ["BOMB", "[1]", [{"content": "BOMB"}], [{"role": "user", "content": ""}], None])
def test_what_is_no_conversation_is_left_out_unquoted(tmp_path: Path, chat: Any) -> None:
    rows = [{"m": [{"role": "user", "content": "x"}]}, {"m": chat}]
    dataset = read(json_lines(tmp_path / "a.jsonl", *rows), conversation_field="m")
    assert dataset.left_out == {"nothing to judge in m": 1}
    assert dataset.warnings == ("1 rows are left out: nothing to judge in m",)
    assert "BOMB" not in repr(dataset)


def test_another_number_of_items_is_a_warning(tmp_path: Path) -> None:
    data = json_lines(tmp_path / "a.jsonl", {"p": "a"}, {"p": None})
    for items, warned in ((1, False), (2, False), (3, True)):
        warnings = read(data, text_field="p", left_out={"p": None}, items=items).warnings
        assert any("says 3 items, and 1 examples were read" in warning for warning in warnings) is warned


def test_labels_and_values_that_the_mapping_does_not_name_are_counted_in_warnings(tmp_path: Path) -> None:
    data = table(tmp_path / "a.csv", ["p", "l", "t"], ["a", "bad", "BOMB"], ["b", "odd", "arms"], ["c", "", "arms"])
    gold = {"column": "l", "unsafe": "bad", "safe": "good"}
    dataset = read(data, text_field="p", gold=gold, label_field="t", categories={"arms": ["S9"]})
    assert dataset.examples[0].accepted is None
    assert len(dataset.warnings) == 2
    assert "t holds what categories does not name, 1 times" in dataset.warnings[0]
    assert dataset.warnings[1].startswith("1 rows have a value in l that gold names neither unsafe nor safe")
    assert "BOMB" not in "".join(dataset.warnings)


def test_pictures_stand_in_the_users_turn_and_rows_without_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1_2.png").write_bytes(PNG)
    (tmp_path / "images" / "3_4.png").write_bytes(b"BOMB")
    data = table(tmp_path / "a.csv", ["p", "x", "y"], ["what?", "1", "2"], ["this?", "1", "9"], ["that?", "3", "4"])
    dataset = read(data, text_field="p", image_field="images/{x}_{y}.png")
    (example,) = dataset.examples
    ((picture, _),) = [message.parts for message in example.conversation]
    assert isinstance(picture, Image)
    assert picture.url == f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    assert said(example) == [("user", "what?")]
    assert dataset.left_out == {"no picture": 1, "a picture that is not judged": 1}
    assert dataset.warnings == ("1 rows are left out: a picture that is not judged",)
    assert len(read(data, image_field="images/{x}_{y}.png").examples) == 1
    assert "what" not in repr(dataset) + repr(example)


def test_a_picture_outside_of_the_datas_folder_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(PNG)
    data = tmp_path / "data"
    rows = [{"p": "a", "i": f"{up}secret.png"} for up in ("../", f"{tmp_path}/", "link/")]
    rows.append({"p": "b", "i": "https://example.org/a.png"})
    json_lines(data / "a.jsonl", *rows)
    (data / "link").symlink_to(tmp_path)
    dataset = read(data, text_field="p", image_field="i")
    assert [said(each) for each in dataset.examples] == [[("user", "b")]]
    assert dataset.left_out == {"a picture that is not judged": 3}


def test_data_is_a_file_a_folder_a_pattern_or_several_files(tmp_path: Path) -> None:
    first, second = (json_lines(tmp_path / name, {"p": name}) for name in ("x/a.jsonl", "x/b.jsonl"))
    (tmp_path / "x" / "README.md").write_text("p", "utf-8")
    json_lines(tmp_path / "x" / "other.jsonl", {"q": "no prompt"})
    json_lines(tmp_path / "x" / "mapping.json", {"p": "no data"})
    mapping = {"name": "m", "text_field": "p", "gold": None}
    both = ["a.jsonl:1", "b.jsonl:1"]
    assert [each.id for each in read_examples(tmp_path / "x", mapping)] == both
    assert [each.id for each in read_examples(str(tmp_path / "x" / "[ab].jsonl"), mapping)] == both
    assert [each.id for each in read_examples([second, first], mapping)] == both
    assert [each.id for each in read_examples(first, {**mapping, "files": "named/otherwise.csv"})] == both[:1]
    assert [each.id for each in read_examples(tmp_path, {**mapping, "files": "*/b.jsonl"})] == ["x/b.jsonl:1"]


def test_parts_are_read_in_their_order_and_a_file_in_two_of_them_gives_different_ids(tmp_path: Path) -> None:
    json_lines(tmp_path / "a.jsonl", {"p": "x", "r": "y"})
    parts = [{"text_field": "r", "gold": "safe"}, {"text_field": "p", "reply_field": "r", "gold": None}]
    dataset = read(tmp_path, files="a.jsonl", parts=parts)
    assert [(each.id, each.unsafe) for each in dataset.examples] == [("a.jsonl:1", False), ("a.jsonl:1#2", None)]


def test_a_list_inside_a_json_file_lines_and_texts_by_label_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"found": {"rows": [{"p": "x"}]}}), "utf-8")
    (tmp_path / "b.csv").write_text("sentence\none, with a comma\n\ntwo\n", "utf-8")
    (tmp_path / "c.json").write_text(json.dumps({"arms": ["x", "y"], "spam": ["z"]}), "utf-8")
    parts = [
        {"files": "a.json", "records": "found.rows", "text_field": "p"},
        {"files": "b.csv", "format": "lines", "text_field": "sentence"},
        {"files": "c.json", "format": "texts_by_label", "text_field": "text", "label_field": "label"},
    ]
    dataset = read(tmp_path, categories={"arms": ["S9"], "spam": []}, parts=parts)
    assert [said(each)[0][1] for each in dataset.examples] == ["x", "one, with a comma", "two", "x", "y", "z"]
    assert [each.outside for each in dataset.examples] == [False] * 5 + [True]


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"text_field": "q"}, r"no data file in .* has the column q: name them in files; there are a\.csv"),
        ({"text_field": "p", "files": "b.csv"}, r"no data file in .* is b\.csv: name them in files; there are a\.csv"),
        ({"text_field": "p", "label_field": "topic"}, r"no row of a\.csv has the column topic: there are p, l"),
        ({"text_field": "p", "slices": ["x"]}, "has the column x"),
        ({"text_field": "p", "gold": {"any_of": ["x", "y"]}}, "has the column x or y"),
        ({"text_field": "p", "gold": {"column": "x", "safe": [1]}}, "has the column x"),
        ({"text_field": ["x", "p"]}, "has the column x"),
        ({"text_field": "p", "only": {"l": ["z"]}}, r"has no example: left out by l \(1\)"),
        ({"text_field": "text", "files": "a.csv", "format": "texts_by_label"}, "no JSON object of lists of texts"),
    ],
)
def test_a_mapping_that_does_not_fit_the_files_is_refused(tmp_path: Path, mapping: dict[str, Any], words: str) -> None:
    table(tmp_path / "a.csv", ["p", "l"], ["BOMB", "1"])
    with pytest.raises(ConfigurationError, match=words) as refused:
        read(tmp_path, **mapping)
    assert "BOMB" not in str(refused.value)


@pytest.mark.parametrize("data", ["nowhere", "no/*.csv", []])
def test_data_that_is_not_there_is_refused(tmp_path: Path, data: Any) -> None:
    given = data if isinstance(data, list) else str(tmp_path / data)
    with pytest.raises(ConfigurationError, match=r"no data"):
        read_dataset(given, "xstest")
