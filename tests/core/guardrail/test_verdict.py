"""Reading Llama Guard's answer: tolerant in what it takes for a verdict, strict in what it takes for safe."""

from __future__ import annotations

import json
import pickle
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from strategies import answers

from llama_guard_core.errors import UnreadableVerdict
from llama_guard_core.guardrail.hazards import LlamaGuardVersion, Taxonomy
from llama_guard_core.guardrail.verdict import Stage, Verdict, read_verdict
from llama_guard_core.usage import Usage

V4 = Taxonomy.of(4)


def read(answer: str, finish_reason: str | None = "stop", version: LlamaGuardVersion = 4) -> Verdict:
    return read_verdict(answer, taxonomy=Taxonomy.of(version), finish_reason=finish_reason)


def codes(verdict: Verdict) -> list[str]:
    return [category.code for category in verdict.categories]


def outcome(answer: str, finish_reason: str | None = "stop") -> str:
    """`safe`, `unsafe` with the codes it named, or `unreadable`."""
    try:
        verdict = read(answer, finish_reason)
    except UnreadableVerdict:
        return "unreadable"
    return " ".join(["safe" if verdict.safe else "unsafe", *codes(verdict)])


SEEN_IN_THE_WILD = [
    ("safe", "safe"),
    ("safe<|eot_id|>", "safe"),
    ("\n\nsafe", "safe"),
    ("\n\nsafe<|eot_id|>", "safe"),
    ("\n\nunsafe\nS10", "unsafe S10"),
    ("unsafe\nS9", "unsafe S9"),
    ("unsafe\nS1,S9", "unsafe S1 S9"),
    ("unsafe\nS13", "unsafe S13"),
    ("\n\nunsafe<|end_of_text|>", "unsafe"),
    ("unsafe \nS1, S2", "unsafe S1 S2"),
    ("unsafe\nS3<|eot_id|>", "unsafe S3"),
    ("unsafe\nS9\nS2", "unsafe S9 S2"),
    ('{"safe": false, "categories": ["S10"]}', "unsafe S10"),
    ('{"safe": true, "categories": []}', "safe"),
    ("unsafe\nO1", "unsafe O1"),
    ("Hello! How can I help you today?", "unreadable"),
]

WHERE_OTHER_PARSERS_GO_WRONG = [
    ("safety first, friend", "unreadable"),
    ("safe\nS1", "unreadable"),
    ("yes", "unreadable"),
    ("unsafe", "unsafe"),
    ("Unsafe", "unsafe"),
    ("unsafe\nS15", "unsafe S15"),
    ("unsafe S9", "unsafe S9"),
    ("unsafe\nS10<|eot|>", "unsafe S10"),
    ("unsafe\ns1,s2", "unsafe S1 S2"),
    ("unsafe\nS1\nS2", "unsafe S1 S2"),
    ("unsafe\nS1,S1", "unsafe S1"),
    ("I cannot say whether this is unsafe", "unreadable"),
    ("The message is safe", "unreadable"),
    ("", "unreadable"),
    (" \n\n", "unreadable"),
    ("\n\nunsafe\nS9", "unsafe S9"),
    ('{"length": 1e9}', "unreadable"),
]

THE_GRAMMAR = [
    ("SAFE", "safe"),
    ("Safe.", "safe"),
    ("**safe**", "safe"),
    ("`safe`", "safe"),
    ('"safe"', "safe"),
    ("safe<|eot|><|eot_id|>", "safe"),
    ("safe <|eot|>\n", "safe"),
    ("safe\r\n", "safe"),
    ("safe!", "unreadable"),
    ("safe, I think", "unreadable"),
    ("safe\nunsafe", "unreadable"),
    ("safe\n\nsafe", "unreadable"),
    ("not safe", "unreadable"),
    ("safely", "unreadable"),
    ("<|eot|>safe", "unreadable"),
    ("safe<|e o t|>", "unreadable"),
    ("**unsafe**\nS1", "unsafe S1"),
    ("__unsafe__\nS1", "unsafe S1"),
    ("unsafe.", "unsafe"),
    ("unsafe: S1", "unsafe S1"),
    ("unsafe-S1", "unsafe S1"),
    ("unsafe\nsafe", "unsafe"),
    ("unsafe\nS100", "unsafe"),
    ("unsafe\nTS1 S2x", "unsafe"),
    ("unsafely", "unreadable"),
    ('{"safe": true}', "safe"),
    ('{"safe": true, "categories": ["S1"]}', "unreadable"),
    ('{"safe": true, "unsafe": true}', "unreadable"),
    ('{"safe": 1}', "unreadable"),
    ('{"safe": "true"}', "unreadable"),
    ('{"safe": null}', "unreadable"),
    ('{"safe": false}', "unsafe"),
    ('{"safe": false, "categories": "S1"}', "unsafe"),
    ('{"safe": false, "categories": [1, null, {"S1": 2}]}', "unsafe S1"),
    ('{"safe": true', "unreadable"),
    ('[{"safe": true}]', "unreadable"),
    ("{" * 50, "unreadable"),
    ('{"a":' * 100_000, "unreadable"),
]

LOOK_ALIKES = [
    "\u017fafe",
    "un\u017fafe",
    "s\u0430fe",
    "saf\u0435",
    "\uff53\uff41\uff46\uff45",
    "sa\ufb00e",
    "safe\u200b",
    "\u00a0safe",
    "safe\u0301",
]


@pytest.mark.parametrize(("answer", "expected"), [*SEEN_IN_THE_WILD, *WHERE_OTHER_PARSERS_GO_WRONG, *THE_GRAMMAR])
def test_an_answer_is_safe_alone_or_unsafe_first_or_no_verdict(answer: str, expected: str) -> None:
    assert expected == outcome(answer)


@pytest.mark.parametrize("answer", LOOK_ALIKES)
def test_letters_that_only_look_like_safe_are_no_verdict(answer: str) -> None:
    assert "unreadable" == outcome(answer)


@pytest.mark.parametrize("finish_reason", ["length", "content_filter", "error", "tool_calls", ""])
@pytest.mark.parametrize(
    ("answer", "expected"),
    [("safe", "unreadable"), ('{"safe": true}', "unreadable"), ("", "unreadable"), ("unsafe\nS1", "unsafe S1")],
)
def test_an_answer_that_ended_early_can_say_unsafe_but_not_safe(answer: str, expected: str, finish_reason: str) -> None:
    assert expected == outcome(answer, finish_reason)


def test_an_answer_without_a_finish_reason_can_say_safe() -> None:
    assert "safe" == outcome("safe", None)


@pytest.mark.parametrize(
    ("answer", "finish_reason", "expected"),
    [
        ("unsafe\nS1,S2", "stop", True),
        ("unsafe\nS1\nS2<|eot|>", None, True),
        ("**unsafe**\n- S1\n- S2.", "stop", True),
        ('{"safe": false, "categories": ["S1"]}', "stop", True),
        ("unsafe", "stop", False),
        ("unsafe\nS1", "length", False),
        ("unsafe\nS1", "content_filter", False),
        ("unsafe\nS6,Hate", "stop", False),
        ("unsafe\nS6,S100", "stop", False),
        ('{"safe": false, "categories": ["S6", "juggling"]}', "stop", False),
    ],
)
def test_the_list_of_hazards_is_complete_only_if_it_is_codes_and_the_answer_ended(
    answer: str, finish_reason: str | None, expected: bool
) -> None:
    assert expected == read(answer, finish_reason).all_named


def bare(answer: str) -> str:
    """The answer without special tokens at its end, blanks, decoration and full stops."""
    return re.sub(r"(?:[ \t\r\n]*<\|[a-z0-9_]+\|>)+[ \t\r\n]*\Z", "", answer).strip(" \t\r\n*_`\"'.")


@given(answers | st.text(max_size=12))
@example("**Safe.**<|eot|>")
@example("safe<|eot|>.")
@settings(max_examples=100)
def test_nothing_but_the_word_safe_is_safe(answer: str) -> None:
    assert outcome(answer) != "safe" or bare(answer).lower() in {"safe", '{"safe": true}'}


@given(answers)
@settings(max_examples=100)
def test_whatever_follows_the_word_unsafe_it_stays_unsafe(rest: str) -> None:
    assert outcome("unsafe\n" + rest).startswith("unsafe")


@given(st.lists(st.integers(0, 99), max_size=14), st.sampled_from([",", ", ", "\n", " ", ",\n"]))
@settings(max_examples=50)
def test_all_codes_are_kept_once_and_in_order(numbers: list[int], separator: str) -> None:
    named = [f"S{number}" for number in numbers]
    assert list(dict.fromkeys(named)) == codes(read("unsafe\n" + separator.join(named)))


@pytest.mark.parametrize(
    "answer",
    [
        *("<|" * 10**6, "safe" + "<|eot|>" * 10**5, "*" * 10**6 + "x", " " * 10**6, "safe" + "." * 10**6 + "x"),
        *('{"safe": true, "x": ' + "[" * 10**5, '{"safe": true, "x": "' + "y" * 10**6 + '"}', "s" * 10**6),
    ],
    ids=lambda answer: answer[:12],
)
def test_a_megabyte_of_nonsense_is_read_to_its_end_and_refused(answer: str) -> None:
    assert "unreadable" == outcome(answer)


@pytest.mark.parametrize(
    "echo",
    ["{}", "safe {}", '{{"safe": true, "why": "{}"}}', '{{"{}', "<|{}|>", "un safe {}"],
)
@pytest.mark.parametrize("finish_reason", ["stop", "length"])
def test_an_unreadable_answer_is_described_and_never_quoted(echo: str, finish_reason: str) -> None:
    with pytest.raises(UnreadableVerdict) as raised:
        read(echo.format("zebra crossing"), finish_reason)
    told = f"{raised.value} {raised.value!r} {raised.value.__dict__} {raised.value.__context__!r}"
    assert "zebra" not in told
    assert ("unreadable", Stage.PROMPT, None) == (raised.value.reason, raised.value.stage, raised.value.__context__)


@pytest.mark.parametrize(
    ("answer", "finish_reason", "told"),
    [
        ("", "stop", "answered nothing"),
        ("safe", "length", "ended early (finish reason 'length')"),
        ("safe S1", "stop", "said safe and went on"),
        ("Hello!", "stop", "answered 6 characters of something other than a verdict"),
    ],
)
def test_what_was_wrong_with_an_unreadable_answer_is_told(answer: str, finish_reason: str, told: str) -> None:
    with pytest.raises(UnreadableVerdict, match=re.escape(told)):
        read(answer, finish_reason)


@pytest.mark.parametrize(
    ("version", "answer", "name"),
    [
        (1, "unsafe\nO3", "Criminal Planning"),
        (2, "unsafe\nS5", "Specialized Advice"),
        (3, "unsafe\nS5", "Defamation"),
        (4, "unsafe\nS14", "Code Interpreter Abuse"),
        (4, "unsafe\nS15", "Unknown hazard"),
        (4, "unsafe\nO3", "Unknown hazard"),
    ],
)
def test_codes_are_named_as_the_version_that_was_asked_names_them(
    version: LlamaGuardVersion, answer: str, name: str
) -> None:
    assert [name] == [category.name for category in read(answer, version=version).categories]


def test_a_verdict_has_no_truth_value() -> None:
    with pytest.raises(TypeError, match=r"verdict\.safe"):
        bool(read("safe"))


def test_a_verdict_as_a_dict_is_json_and_holds_no_answer() -> None:
    usage = Usage(10, 3, 13, cost=0.002)
    verdict = Verdict(False, V4.categories[:1], Stage.REPLY, model="m", usage=usage, latency=0.5, answer="unsafe zebra")
    told = json.loads(json.dumps(verdict.as_dict()))
    expected = {"safe": False, "stage": "reply", "tokens": 13, "cost": 0.002, "latency": 0.5, "model": "m"}
    assert expected == {key: told[key] for key in expected}
    assert [{"code": "S1", "name": "Violent Crimes"}] == told["categories"]
    assert "zebra" not in json.dumps(told)


def test_a_verdict_shows_no_answer_in_its_repr_and_survives_pickling() -> None:
    verdict = read("unsafe\nS1 zebra")
    assert "zebra" not in repr(verdict)
    assert verdict == pickle.loads(pickle.dumps(verdict))  # noqa: S301 - our own bytes
