"""Which columns are judged: a row becomes a question, or is not judgeable, and nothing of it is quoted."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from llama_guard_core.bulk.columns import Columns, ImageFiles
from llama_guard_core.errors import ConfigurationError, GuardUnavailable
from llama_guard_core.guardrail.images import ImageRules
from llama_guard_core.guardrail.verdict import Stage
from llama_guard_core.messages import Image, Message, Text, assistant, user

PNG = b"\x89PNG\r\n\x1a\n" + b"ZEBRA"
AS_DATA = Image(f"data:image/png;base64,{base64.b64encode(PNG).decode()}")
ADDRESS = "https://example.org/zebra.png"
NO_IMAGES = ImageFiles(None)
TURNS = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "inside"
    (inside / "pictures").mkdir(parents=True)
    (inside / "pictures" / "a.png").write_bytes(PNG)
    (tmp_path / "ZEBRA.png").write_bytes(PNG)
    return inside


def check(columns: Columns, images: ImageFiles = NO_IMAGES, **row: Any) -> tuple[Stage, tuple[Message, ...]]:
    question = columns.check_of(row, images)
    return question.stage, question.conversation


def reason_without_quote(columns: Columns, images: ImageFiles = NO_IMAGES, **row: Any) -> str:
    with pytest.raises(GuardUnavailable) as raised:
        columns.check_of(row, images)
    seen: BaseException | None = raised.value
    while seen is not None:
        assert "zebra" not in f"{seen!r}{vars(seen)}".lower()
        seen = seen.__cause__ or seen.__context__
    return raised.value.reason


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["id", "text", "label"], Columns(prompt="text", keep=("id",))),
        (["text", "prompt", "response"], Columns(prompt="prompt", reply="response")),
        (["conversation", "prompt", "reply", "images"], Columns(messages="conversation", image="images")),
        (["response", "n"], Columns(reply="response")),
    ],
)
def test_columns_of_usual_names_are_found(names: list[str], expected: Columns) -> None:
    assert expected == Columns.found(names)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"prompt": "q"}, Columns(prompt="q", reply="reply", keep=("id",))),
        ({"prompt": "q", "reply": ""}, Columns(prompt="q", keep=("id",))),
        ({"messages": "q"}, Columns(messages="q", keep=("id",))),
        ({"messages": "", "keep": ["q", "q"]}, Columns(reply="reply", keep=("q",))),
        ({"keep": []}, Columns(messages="messages")),
    ],
)
def test_what_is_given_stands_before_what_would_be_found(given: dict[str, Any], expected: Columns) -> None:
    assert expected == Columns.found(["id", "q", "reply", "messages"], **given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"--prompt, --reply or --messages. The columns are: question, \(column 2\)$"),
        ({"prompt": "text"}, r"no column text: the columns are question, \(column 2\)$"),
        ({"prompt": "question", "keep": ["lang"]}, r"no column lang: the columns are question"),
        ({"prompt": "question", "messages": "question"}, "whole conversations"),
    ],
)
def test_columns_that_cannot_be_are_named_beside_those_that_there_are(given: dict[str, Any], message: str) -> None:
    """A name that is rather somebody's text, as the first row of a file without header, is not shown."""
    with pytest.raises(ConfigurationError, match=message):
        Columns.found(["question", "zebra is what all of the first row says"], **given)


@pytest.mark.parametrize("name", ["row", "outcome", "safe", "categories", "generation_id"])
def test_no_kept_column_can_be_taken_for_a_part_of_the_verdict(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} cannot be kept.*rename"):
        Columns.found(["prompt", name], keep=[name])


def test_a_later_row_may_have_what_the_first_row_had_not() -> None:
    columns = Columns.found(["prompt"], image="")
    assert ("reply", "messages", None) == (
        columns.would_have_found({"n", "reply"}),
        columns.would_have_found({"messages"}),
        columns.would_have_found({"image", "text2"}),
    )
    assert Columns.found(["messages"]).would_have_found({"prompt", "reply"}) is None


def test_kept_columns_are_carried_over_and_each_needed_column_is_named_once() -> None:
    columns = Columns(prompt="p", reply="r", keep=("id", "p"))
    assert {"id": 7, "p": None} == columns.kept_of({"id": 7, "r": "b"})
    assert ("p", "r", "id") == columns.names


@pytest.mark.parametrize(
    ("row", "stage", "conversation"),
    [
        ({"prompt": "a", "reply": "b"}, Stage.REPLY, (user("a"), assistant("b"))),
        ({"prompt": "a"}, Stage.PROMPT, (user("a"),)),
        ({"prompt": "a", "reply": None}, Stage.PROMPT, (user("a"),)),
        ({"prompt": "a", "reply": " \n"}, Stage.PROMPT, (user("a"),)),
        ({"prompt": "a", "reply": float("nan")}, Stage.PROMPT, (user("a"),)),
        ({"prompt": ["a", None, "", 3], "reply": "b"}, Stage.REPLY, (user("a"), user("3"), assistant("b"))),
        ({"prompt": 4.5}, Stage.PROMPT, (user("4.5"),)),
        ({"prompt": '["a", "b"]'}, Stage.PROMPT, (user('["a", "b"]'),)),
        ({"prompt": None, "reply": "b"}, Stage.REPLY, (assistant("b"),)),
    ],
)
def test_a_prompt_and_a_reply_are_a_conversation(row: dict[str, Any], stage: Stage, conversation: Any) -> None:
    assert (stage, conversation) == check(Columns(prompt="prompt", reply="reply"), **row)


@pytest.mark.parametrize("written", [lambda turns: turns, tuple, json.dumps], ids=["list", "tuple", "JSON"])
@pytest.mark.parametrize(
    ("turns", "stage"),
    [
        (TURNS, Stage.REPLY),
        (TURNS[:1], Stage.PROMPT),
        ([*TURNS, {"role": "tool", "content": "c"}], Stage.TOOL_RESULT),
        ([*TURNS, {"role": "tool", "content": "c"}, {"role": "user", "content": "d"}], Stage.PROMPT),
    ],
)
def test_messages_are_used_whole_and_their_end_tells_the_stage(written: Any, turns: Any, stage: Stage) -> None:
    found, conversation = check(Columns(messages="m"), m=written(turns))
    assert (stage, [turn["content"] for turn in turns]) == (found, [message.text for message in conversation])


@pytest.mark.parametrize(
    "row",
    [
        *({}, {"prompt": None, "reply": ""}, {"prompt": []}, {"prompt": ["", None]}, {"prompt": {"zebra": 1}}),
        *({"prompt": [["zebra"]]}, {"prompt": "a", "reply": ["zebra"]}, {"prompt": b"zebra"}),
    ],
)
def test_a_row_that_holds_no_text_is_not_judgeable(row: dict[str, Any]) -> None:
    assert "not_judgeable" == reason_without_quote(Columns(prompt="prompt", reply="reply"), **row)


@pytest.mark.parametrize(
    "messages",
    [
        *(None, " ", "zebra", '"zebra"', '[{"content": "zebra"}]', '[{"role": "zebra"}]', "[" * 99_999, [], "[]"),
        *({"role": "user", "content": "zebra"}, ["zebra"], 7, [{"role": "user", "content": " "}]),
        [{"role": "assistant", "tool_calls": ["zebra"]}],
    ],
)
def test_a_malformed_conversation_is_one_row_that_is_not_judgeable(messages: Any) -> None:
    assert "not_judgeable" == reason_without_quote(Columns(messages="m"), m=messages)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"p": "a"}, [("user", 1)]),
        ({"p": "a", "r": "b"}, [("user", 1), ("assistant", 0)]),
        ({"p": ["a", "c"]}, [("user", 0), ("user", 1)]),
        ({"p": None}, [("user", 1)]),
        ({"p": None, "r": "b"}, [("user", 1), ("assistant", 0)]),
    ],
)
def test_pictures_belong_to_the_last_turn_of_the_user(row: dict[str, Any], expected: list[tuple[str, int]]) -> None:
    _, conversation = check(Columns(prompt="p", reply="r", image="i"), **row, i=ADDRESS)
    pictures = [(turn.role, sum(isinstance(part, Image) for part in turn.parts)) for turn in conversation]
    assert expected == pictures


def test_pictures_beside_messages_are_judged_with_them() -> None:
    stage, conversation = check(Columns(messages="m", image="i"), m=TURNS, i=ADDRESS)
    assert (Stage.REPLY, Message("user", (Text("a"), Image(ADDRESS)))) == (stage, conversation[0])


@pytest.mark.parametrize("url", [ADDRESS, "http://example.org/a.gif", "data:image/png;base64,AAAA", "HTTPS://e.org/a"])
@pytest.mark.parametrize("cell", [lambda url: url, lambda url: [url, None], lambda url: json.dumps([url])])
def test_addresses_and_data_are_left_to_the_guards_own_rules(url: str, cell: Any) -> None:
    assert (Image(url),) == NO_IMAGES.of(cell(url))


@pytest.mark.parametrize("nothing", [None, "", " ", [], "[]", [None, ""], float("nan"), {"bytes": None, "path": None}])
def test_a_row_may_have_no_picture(nothing: Any) -> None:
    assert NO_IMAGES.of(nothing) == ()


@pytest.mark.parametrize(
    "path", ["pictures/a.png", "./pictures/../pictures/a.png", "link.png", "{folder}/pictures/a.png"]
)
def test_a_picture_is_read_by_its_path_inside_the_folder(folder: Path, path: str) -> None:
    (folder / "link.png").symlink_to(folder / "pictures" / "a.png")
    assert (AS_DATA,) == ImageFiles(folder).of(path.format(folder=folder))


@pytest.mark.parametrize("cell", [PNG, {"bytes": PNG, "path": "ZEBRA.png"}, {"bytes": None, "path": "pictures/a.png"}])
def test_a_picture_may_be_given_as_the_sets_of_hugging_face_have_it(folder: Path, cell: Any) -> None:
    assert (AS_DATA,) == ImageFiles(folder).of(cell)


@pytest.mark.parametrize(
    "path",
    [
        *(
            "../ZEBRA.png",
            "pictures/../../ZEBRA.png",
            "{folder}/../ZEBRA.png",
            "zebra-link.png",
            "zebra-folder/ZEBRA.png",
        ),
        *("zebra.png", "pictures", "zebra.txt", "ring-zebra", "zebra\0.png", "z" * 9_999, "file:///zebra.png", "pipe"),
        *("~/zebra.png", "[zebra", "empty-zebra.png"),
    ],
)
def test_no_path_leads_out_of_the_folder_or_to_what_is_no_picture(folder: Path, path: str) -> None:
    (folder / "zebra-link.png").symlink_to(folder.parent / "ZEBRA.png")
    (folder / "zebra-folder").symlink_to(folder.parent)
    (folder / "ring-zebra").symlink_to(folder / "ring-zebra")
    (folder / "zebra.txt").write_bytes(b"ZEBRA")
    (folder / "empty-zebra.png").touch()
    os.mkfifo(folder / "pipe")
    cell = path.format(folder=folder)
    assert "not_judgeable" == reason_without_quote(Columns(prompt="p", image="i"), ImageFiles(folder), p="a", i=cell)


def test_a_folder_that_is_itself_a_link_is_no_obstacle(folder: Path) -> None:
    (folder.parent / "linked").symlink_to(folder)
    assert (AS_DATA,) == ImageFiles(folder.parent / "linked").of("pictures/a.png")


def test_a_picture_that_is_too_large_is_not_read_whole(folder: Path) -> None:
    columns, images = Columns(prompt="p", image="i"), ImageFiles(folder, ImageRules(max_bytes=len(PNG) - 1))
    assert "not_judgeable" == reason_without_quote(columns, images, p="a", i="pictures/a.png")
    assert (AS_DATA,) == ImageFiles(folder, ImageRules(max_bytes=len(PNG))).of("pictures/a.png")


@pytest.mark.parametrize("cell", [7, {"zebra": 1}, [["zebra"]], "pictures/a.png"])
def test_a_picture_that_cannot_be_had_makes_its_row_not_judgeable(cell: Any) -> None:
    """The last is a path, where the input has no folder."""
    assert "not_judgeable" == reason_without_quote(Columns(prompt="p", image="i"), p="a", i=cell)
