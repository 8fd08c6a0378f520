"""What is judged in a row, by the columns that are named or found, and what is carried over."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from core.cli.commands import SECRET, Command, judged, records_in, right, write_json_lines

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGD4DwABBAEAX+XDSwAAAABJRU5ErkJggg=="
)
BOMB, FINE = f"{SECRET} BOMB", f"{SECRET} rain"


@pytest.mark.parametrize(
    ("row", "words", "turns"),
    [
        ({"text": FINE}, [], [("user", FINE)]),
        ({"a": FINE}, ["--prompt", "a"], [("user", FINE)]),
        ({"prompt": "other", "b": FINE}, ["--prompt", "b"], [("user", FINE)]),
        ({"prompt": FINE, "response": BOMB}, [], [("user", FINE), ("assistant", BOMB)]),
        ({"prompt": BOMB, "reply": None}, [], [("user", BOMB)]),
        ({"q": FINE, "a": BOMB}, ["--prompt", "q", "--reply", "a"], [("user", FINE), ("assistant", BOMB)]),
        ({"prompt": FINE, "reply": BOMB}, ["--reply", ""], [("user", FINE)]),
        (
            {
                "prompt": "other",
                "messages": [{"role": "user", "content": FINE}, {"role": "assistant", "content": BOMB}],
            },
            [],
            [("user", FINE), ("assistant", BOMB)],
        ),
        ({"chat": json.dumps([{"role": "user", "content": FINE}])}, ["--messages", "chat"], [("user", FINE)]),
    ],
    ids=str,
)
def test_columns_are_those_named_or_those_of_a_usual_name(
    row: dict[str, object], words: list[str], turns: list[tuple[str, str]], command: Command, tmp_path: Path
):
    source = write_json_lines(tmp_path / "in.jsonl", [row])
    said = command(source, *words)

    [question] = command.host.guard_questions
    assert turns == [*question.turns]
    assert (0, [(0, "BOMB" not in turns[-1][1])]) == (said.code, judged(said.records))
    assert ["prompt" if turns[-1][0] == "user" else "reply"] == [each["stage"] for each in said.records]


def test_pictures_are_read_by_path_or_sent_by_address(command: Command, tmp_path: Path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(PNG)
    (tmp_path.parent / "outside.png").write_bytes(PNG)
    (tmp_path / "no.png").write_text(SECRET)
    address, data = "https://example.org/b.png", f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    pictures = ["pictures/a.png", address, "", "missing.png", "../outside.png", "no.png"]
    source = write_json_lines(tmp_path / "in.jsonl", [{"prompt": FINE, "image": picture} for picture in pictures])

    said = command(source, "--concurrency", "1", "--progress", "none")

    assert [(data,), (address,), ()] == [question.images for question in command.host.guard_questions]
    assert (1, [*["judged"] * 3, *["not_judgeable"] * 3]) == (said.code, [each["outcome"] for each in said.records])
    assert "3 not_judgeable" in said.err


def test_pictures_lie_in_the_folder_that_is_named(command: Command, tmp_path: Path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.png").write_bytes(PNG)
    source = write_json_lines(tmp_path / "in.jsonl", [{"prompt": FINE, "image": "a.png"}])

    assert 1 == command(source).code
    assert 0 == command(source, "--images-in", tmp_path / "elsewhere").code


def test_addresses_of_pictures_can_be_refused(command: Command, tmp_path: Path):
    source = write_json_lines(tmp_path / "in.jsonl", [{"prompt": FINE, "image": "https://example.org/b.png"}])

    said = command(source, "--image-urls", "refuse")
    assert (1, ["not_judgeable"], []) == (said.code, [each["reason"] for each in said.records], command.asked)


def test_what_is_kept_stands_beside_the_verdict_and_nothing_else_of_the_row(
    command: Command, output: Path, tmp_path: Path
):
    rows = [{"id": 7, "prompt": f"{FINE} judged", "source": f"{SECRET} a", "tags": ["x", 1], "left": f"{SECRET} left"}]
    source = write_json_lines(tmp_path / "in.jsonl", rows)
    command(source, "-o", output, "--keep", "source", "--keep", "tags")

    [record] = records_in(output)
    assert ["row", "source", "tags", "outcome"] == [*record][:4]
    assert (f"{SECRET} a", ["x", 1]) == (record["source"], record["tags"])
    assert not {"id", "prompt", "left"} & record.keys()
    assert "left" not in output.read_text()
    assert "judged" not in output.read_text().replace('"outcome":"judged"', "")


def test_an_id_is_kept_if_nothing_is_named(command: Command, source: Path):
    assert [f"r{number}" for number in range(10)] == [record["id"] for record in command(source).records]


@pytest.mark.parametrize("stage", ["prompt", "document", "tool_result"])
def test_a_stage_that_is_named_is_that_of_every_row(stage: str, command: Command, source: Path):
    said = command(source, "--stage", stage)

    assert {stage} == {record["stage"] for record in said.records}
    assert right(10) == judged(said.records)


def test_a_stage_that_no_row_can_have_gives_no_verdict(command: Command, source: Path):
    said = command(source, "--stage", "reply")

    assert (1, {None}, []) == (said.code, {record["safe"] for record in said.records}, command.asked)


def test_details_tell_what_differs_from_run_to_run_and_without_them_runs_are_alike(
    command: Command, source: Path, tmp_path: Path
):
    details = command(source, "--details").records
    plain = [command(source).out for _ in range(2)]

    assert {"provider", "host", "input_tokens", "output_tokens", "cost", "latency", "cached", "generation_id"} == (
        details[0].keys() - json.loads(plain[0].splitlines()[0]).keys()
    )
    assert all(record["cost"] > 0 and record["latency"] > 0 for record in details)
    assert 1 == len(set(plain))


def test_a_row_that_holds_nothing_is_without_a_verdict_and_is_not_asked_about(command: Command, tmp_path: Path):
    rows = [{"prompt": FINE}, {"prompt": " "}, {"prompt": None}, {}, {"prompt": {"a": SECRET}}, {"prompt": BOMB}]
    said = command(write_json_lines(tmp_path / "in.jsonl", rows))

    assert [(0, True), *((number, None) for number in (1, 2, 3, 4)), (5, False)] == judged(said.records)
    assert {"not_judgeable"} == {record["outcome"] for record in said.records[1:5]}
    assert (1, 2) == (said.code, len(command.asked))


def test_an_input_without_rows_is_whole_at_once(command: Command, output: Path, tmp_path: Path):
    (tmp_path / "in.jsonl").touch()

    assert 0 == command(tmp_path / "in.jsonl", "-o", output).code
    assert b"" == output.read_bytes()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--prompt", "nope"], "nope"),
        (["--keep", "nope"], "nope"),
        (["--keep", "row"], "row"),
        (["--prompt", ""], "--prompt"),
        (["--messages", "id", "--prompt", "prompt"], "--messages"),
        (["--stage", "nope"], "--stage"),
    ],
    ids=str,
)
def test_a_column_that_cannot_be_is_named_and_a_corrected_command_is_not_held_up(
    words: list[str], named: str, command: Command, source: Path, output: Path
):
    said = command(source, "-o", output, *words)

    assert (2, [], "") == (said.code, command.asked, said.out)
    assert named in said.err.splitlines()[-1]
    assert [source] == [*source.parent.iterdir()]
    assert 0 == command(source, "-o", output).code


def test_a_header_that_is_a_text_is_not_quoted(command: Command, tmp_path: Path):
    (tmp_path / "in.csv").write_text(f"{SECRET} this file has no header at all\nx\n")

    assert 2 == command(tmp_path / "in.csv").code


@pytest.mark.parametrize("content", [b'{"prompt": "SECRET', b"SECRET\xff\n", b'["SECRET"]\n'], ids=str)
def test_a_line_that_is_none_is_named_and_not_quoted(content: bytes, command: Command, output: Path, tmp_path: Path):
    source = tmp_path / "in.jsonl"
    source.write_bytes(b'{"prompt": "SECRET rain"}\n' + content)

    said = command(source, "-o", output)
    assert (2, False) == (said.code, output.exists())
    assert "in.jsonl, line 2" in said.err


def test_a_file_that_is_not_there_is_named(command: Command, output: Path, tmp_path: Path):
    for before in (False, True):
        if before:
            output.write_text("")
        said = command(tmp_path / "missing.jsonl", "-o", output)
        assert (2, 1) == (said.code, said.err.count("\n"))
        assert "there is no file" in said.err
