"""Hostile text: never a safe verdict from what does not say so, nothing dropped, nothing raw, never an untyped error."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("langchain.agents", reason="langchain, which has create_agent, is not installed")
pytest.importorskip("llama_index.core", reason="LlamaIndex is not installed")

from langchain_core.messages import AIMessage, ToolMessage

from hostile_text.answers import names_s1_alone, says_safe
from hostile_text.counting import CASES, SEED, Row, cases_of
from hostile_text.fuzzers import FUZZERS
from hostile_text.guard_answers import as_text
from hostile_text.junk import CONTROLS, deep
from hostile_text.marked import check_asked, check_message
from hostile_text.terminals import acting
from langchain_llama_guard._conversation import message_of
from langchain_llama_guard._tool_results import messages_in, with_messages
from llama_guard_core.errors import GuardUnavailable, UnexpectedResponse, UnreadableVerdict
from llama_guard_core.guardrail.custom_categories import CustomCategory
from llama_guard_core.guardrail.hazards import Taxonomy
from llama_guard_core.guardrail.verdict import Stage, Verdict, read_verdict
from llama_guard_core.messages import (
    Image,
    Message,
    Text,
    ToolCall,
    Unjudgeable,
    as_conversation,
    user,
    written_arguments,
    written_part,
)
from llama_guard_core.provider.event_stream import EventStreamDecoder
from llama_guard_core.provider.host_messages import scrubbed
from llama_guard_core.provider.private_texts import without_private_texts
from llama_guard_core.provider.wire import Completion
from llama_guard_core.written import printable, written
from llamaindex_llama_guard._replies import chat_response


@pytest.mark.filterwarnings("ignore")  # pydantic's, about values of the wrong kind
@pytest.mark.parametrize("fuzzer", FUZZERS.values(), ids=FUZZERS)
def test_nothing_goes_wrong(fuzzer: Callable[[int, int], list[Row]]) -> None:
    rows = fuzzer(SEED, min(CASES, 20_000))
    assert [] == [example for row in rows for example in row.examples]
    assert all(row.cases and row.outcomes for row in rows)


def test_the_answers_are_of_all_three_kinds_in_numbers() -> None:
    outcomes = as_text(SEED, 5_000).outcomes
    assert {"safe", "unsafe", "unreadable"} == set(outcomes)
    assert 200 < min(outcomes.values())


def test_the_same_seed_and_number_are_the_same_cases() -> None:
    first, second = ([chance.random() for chance, _ in cases_of("x", seed, 1500)] for seed in (7, 7))
    assert first == second
    assert first[:1000] == [chance.random() for chance, _ in cases_of("x", 7, 1000)]
    assert first != [chance.random() for chance, _ in cases_of("x", 8, 1500)]


def _reading(is_safe: Callable[[str, str | None], bool]) -> Callable[..., Verdict]:
    """A reader of answers that takes some for safe, and knows nothing else."""

    def read(answer: str, *, taxonomy: Any, finish_reason: str | None) -> Verdict:
        if is_safe(answer, finish_reason):
            return Verdict(safe=True)
        msg = "no verdict"
        raise UnreadableVerdict(msg)

    return read


@pytest.mark.parametrize(
    "is_safe",
    [
        lambda answer, _: answer.strip().lower().startswith("safe"),
        lambda answer, _: "safe" in answer and "unsafe" not in answer,
        lambda answer, _: answer.strip() == "safe",  # also where it was cut
        lambda answer, reason: reason == "stop" and answer.split()[:1] == ["safe"],
        lambda answer, reason: reason == "stop" and '"safe": true' in answer,
        lambda answer, reason: reason == "stop" and answer.casefold().strip() == "safe\u0301",
    ],
)
def test_readers_that_take_too_much_for_safe_are_found_out(is_safe: Callable[[str, str | None], bool]) -> None:
    assert 0 < as_text(SEED, 20_000, _reading(is_safe)).faults['wrong "safe"']


@pytest.mark.parametrize(
    "answer",
    [
        '{"safe": false, "categories": ["S1"], "safe": true, "categories": []}',
        '{"safe": true, "is_safe": false}',
        '{"safe": true, "categories": {"S1": true}}',
        "safe<|unsafe|>",
        "safe<|s1|>",
    ],
)
def test_what_contradicts_itself_is_no_verdict(answer: str) -> None:
    assert not says_safe(answer, "stop")
    with pytest.raises(UnreadableVerdict):
        read_verdict(answer, taxonomy=Taxonomy.of(4))


@pytest.mark.parametrize(
    ("answer", "is_alone"),
    [
        ("unsafe\nS1", True),
        ('{"safe": false, "categories": ["violent-crimes"]}', True),
        ("unsafe\nS1,S9", False),
        ("unsafe", False),
        ('{"safe": false, "categories": ["S1"], "reason": "S9"}', False),
        ("unsafe\nS1<|s9|>", False),
    ],
)
def test_a_hazard_is_named_alone_or_not(answer: str, is_alone: bool) -> None:
    assert is_alone is names_s1_alone(answer, "stop")


def test_a_part_that_is_lost_is_found_out() -> None:
    row = Row("lost")
    check_message(row, Message("user", (Text("zq0qz"), Image("https://example.com/zq1qz"))), ["zq0qz", "zq1qz"], "")
    assert not row.faults
    check_message(row, user("zq0qz"), ["zq0qz", "zq1qz"], "")
    check_asked(row, (user("zq0qz"),), Stage.PROMPT, [["zq1qz"]])
    assert 2 == row.faults["dropped parts"]


def test_a_result_that_calls_tools_is_asked_about_with_its_calls() -> None:
    row = Row("calls")
    said = Message("tool", (Text("zq0qz"),), (ToolCall("c1", "zq1qz", "{}"),))
    check_asked(row, (user("Hi"), said), Stage.TOOL_RESULT, [[], ["zq0qz", "zq1qz"]])
    assert not row.faults


def test_lines_without_a_value_count_as_part_of_an_event() -> None:
    decoder = EventStreamDecoder(max_event_bytes=100)
    for _ in range(20):
        decoder.feed(b"data:\n")
    with pytest.raises(UnexpectedResponse, match="longer than 100 bytes"):
        decoder.feed(b"data:\n")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, "é", None, True]}, '{"a": [1, "é", null, true]}'),
        ({("a", 1): 2, None: 3}, '{"(\'a\', 1)": 2, "null": 3}'),
        ([{1}, b"x"], '["{1}", "b\'x\'"]'),
    ],
)
def test_any_value_is_written_as_json(value: Any, text: str) -> None:
    assert text == written(value)


def test_a_value_that_holds_itself_is_written_once() -> None:
    ring: dict[str, Any] = {"a": "x"}
    ring["again"] = [ring, "y"]
    assert '{"a": "x", "again": ["(what this stands in)", "y"]}' == written(ring)


@pytest.mark.parametrize("levels", [10, 900, 1000, 100_000])
def test_a_value_is_written_however_deep_it_is(levels: int) -> None:
    assert 1 == written(deep(levels)).count("core")


SECRET = "what nobody may quote"


class Fails:
    def __str__(self) -> str:
        raise LookupError(SECRET)


def test_what_cannot_be_written_is_not_judged_and_not_quoted() -> None:
    with pytest.raises(ValueError, match="cannot be written out") as found:
        written([Fails()])
    assert SECRET not in repr((found.value, found.value.__cause__))
    assert isinstance(written_part([Fails()]), Unjudgeable)
    with pytest.raises(GuardUnavailable):
        written_arguments({"x": Fails()})


def test_what_is_printed_acts_on_no_terminal_and_keeps_what_can_be_read() -> None:
    chance = random.Random(SEED)  # noqa: S311 - that it can be repeated is the point
    for control in CONTROLS:
        assert "" == acting(printable(f"a{control}b"))
        assert "" != acting(f"a{control}b")
    text = "".join(chance.choices("añ漢😀 ع", k=50))
    assert text == printable(text)


@pytest.mark.parametrize("name", ["\x1b[31mrude", "ru\u202ede", "rude\x07", "\u200brude", "a\x85b"])
def test_a_category_has_a_name_that_can_be_shown(name: str) -> None:
    with pytest.raises(ValueError, match="terminals"):
        CustomCategory(name=name)
    spelt_with_a_joiner = "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
    assert spelt_with_a_joiner == CustomCategory(name=spelt_with_a_joiner).name


def test_a_private_text_is_taken_out_although_a_host_quotes_it_with_controls_in_it() -> None:
    private = "pick \x1b[31ma lock\x00 now"
    said = scrubbed(f"bad words: {private}!")
    assert "lock" not in without_private_texts(said, [private])


def test_a_result_may_hold_itself_and_its_messages_are_found_once() -> None:
    state: dict[str, Any] = {"messages": [ToolMessage("zq0qz", tool_call_id="c1")]}
    state["parent"] = [state]
    assert ["zq0qz"] == [message.text for message in messages_in(state)]
    changed = with_messages(state, lambda _: ToolMessage("refused", tool_call_id="c1"))
    assert ["refused"] == [message.text for message in messages_in(changed["messages"])]
    with pytest.raises(GuardUnavailable, match="nested too deeply"):
        messages_in(deep(100_000))


@pytest.mark.parametrize(
    "content", [7, [5, None], [{"token": "a", "logprob": "x", "bytes": ["y"]}], [{"logprob": 10**400}]]
)
def test_log_probabilities_that_make_no_sense_are_passed_over(content: Any) -> None:
    response = chat_response(Completion(text="a", logprobs={"content": content}))
    assert "a" == response.message.content
    assert all(each.logprob == 0.0 for position in response.logprobs or [] for each in position)


@pytest.mark.parametrize("call", ['{"q": "zq0qz"}', '{"q": "zq1qz"}'])
def test_a_content_part_is_left_out_only_where_its_call_says_the_same(call: str) -> None:
    part = {"type": "tool_use", "id": "c1", "name": "f", "input": {}, "partial_json": '{"q":"zq0qz"}'}
    said = message_of(AIMessage([part], tool_calls=[{"name": "f", "args": json.loads(call), "id": "c1"}]))
    assert ("zq0qz" in call) is (said.parts == ())
    assert "zq0qz" in said.text + said.tool_calls[0].arguments


def test_what_a_dict_says_beside_its_content_is_judged_with_it() -> None:
    beside = {"refusal": "zq0qz", "reasoning": "zq1qz", "reasoning_content": {"x": "zq2qz"}}
    called = {"name": "zq3qz", "arguments": {"x": "zq4qz"}}
    (said,) = as_conversation([{"role": "assistant", "content": "Hi", **beside, "function_call": called}])
    row = Row("beside")
    check_message(row, said, [f"zq{number}qz" for number in range(5)], "")
    assert not row.faults
    (heard,) = as_conversation([{"role": "assistant", "content": None, "audio": {"id": "a1"}}])
    assert heard.parts == (Unjudgeable("audio"),)
