"""How sure the guard was, read off the token that says the verdict, and off no other."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llama_guard_core.guardrail.scores import unsafe_probability
from llama_guard_core.token_logprobs import TokenLogProbs, read_token_logprobs

generated = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

Chances = Mapping[str, float]
Written = Sequence[tuple[str, Chances]]
"""Each token, and the probabilities of what could have stood there, itself among them."""


def as_content(written: Written) -> dict[str, Any]:
    """As in chats at OpenAI, vLLM, llama.cpp and Ollama."""
    return {
        "content": [
            {
                "token": token,
                "logprob": math.log(chances[token]),
                "bytes": [*token.encode()],
                "top_logprobs": [{"token": other, "logprob": math.log(chance)} for other, chance in chances.items()],
            }
            for token, chances in written
        ]
    }


def as_columns(written: Written) -> dict[str, Any]:
    """As in raw completions, and at Together."""
    return {
        "tokens": [token for token, _ in written],
        "token_logprobs": [math.log(chances[token]) for token, chances in written],
        "top_logprobs": [{other: math.log(chance) for other, chance in chances.items()} for _, chances in written],
        "token_ids": [1] * len(written),
    }


def as_columns_of_lists(written: Written) -> dict[str, Any]:
    """The same with the alternatives written as in chats: a mixture that nothing forbids."""
    columns = as_columns(written)
    tops = [[{"token": token, "logprob": value} for token, value in top.items()] for top in columns["top_logprobs"]]
    return {**columns, "top_logprobs": tops}


Shape = Callable[[Written], dict[str, Any]]
SHAPES: dict[str, Shape] = {"content": as_content, "columns": as_columns, "columns of lists": as_columns_of_lists}
every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def score(logprobs: Any) -> float | None:
    return unsafe_probability(read_token_logprobs(logprobs))


BREAK = ("\n\n", {"\n\n": 0.9998, "unsafe": 0.0001, "safe": 0.00001})
UNSAFE = ("unsafe", {"unsafe": 0.6, "safe": 0.2, "Unsafe": 0.1})
SAFE = ("safe", {"safe": 0.9, "unsafe": 0.05})
CODES = [("\n", {"\n": 0.99}), ("S", {"S": 0.99}), ("9", {"9": 0.5, "1": 0.4})]


@every_shape
@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ([UNSAFE], 0.75),
        ([UNSAFE, *CODES], 0.75),
        ([SAFE], 0.05 / 0.95),
        ([BREAK, UNSAFE, *CODES], 0.75),
        ([BREAK, SAFE], 0.05 / 0.95),
        ([("\n", {"\n": 0.9}), ("\n", {"\n": 0.9}), (" ", {" ": 0.9}), UNSAFE], 0.75),
        ([("", {"": 0.9}), UNSAFE], 0.75),
        ([(" unsafe", {" unsafe": 0.6, " safe": 0.2})], 0.75),
        ([("\u0120unsafe", {"\u0120unsafe": 0.6, "\u0120safe": 0.2})], 0.75),
        ([("\u2581unsafe", {"\u2581unsafe": 0.6, "\u2581safe": 0.2})], 0.75),
        ([("\u010a\u010a", {"\u010a\u010a": 0.9}), UNSAFE], 0.75),
        ([("unsafe\n", {"unsafe\n": 0.6, "safe": 0.2})], 0.75),
        ([("Unsafe", {"Unsafe": 0.6, "Safe": 0.2})], 0.75),
        ([("unsafe", {"unsafe": 0.8})], 0.8),
        ([("safe", {"safe": 0.8})], 0.2),
        ([("safe", {"safe": 0.8, "Sure": 0.1})], 0.2),
        ([("safe", {"safe": 0.8, "unsafely": 0.1, "un": 0.1})], 0.2),
        ([("unsafe", {"unsafe": 1.0, "safe": 1.0})], 0.5),
    ],
)
def test_it_is_the_probability_of_unsafe_at_the_first_token_with_anything_in_it(
    shape: Shape, written: Written, expected: float
) -> None:
    assert expected == pytest.approx(score(shape(written)))


@every_shape
@pytest.mark.parametrize(
    "written",
    [
        [],
        [BREAK],
        [("uns", {"uns": 0.9}), ("afe", {"afe": 0.9})],
        [("un", {"un": 0.9, "safe": 0.1}), ("safe", {"safe": 0.9, "unsafe": 0.1})],
        [("s", {"s": 0.9, "safe": 0.05}), ("afe", {"afe": 0.9})],
        [BREAK, ("un", {"un": 0.9}), ("safe", {"safe": 0.99})],
        [("Hello", {"Hello": 0.9, "safe": 0.05, "unsafe": 0.05}), SAFE],
        [("<|header_end|>", {"<|header_end|>": 0.9}), SAFE],
        [("S9", {"S9": 0.9}), UNSAFE],
        [("\n", {"\n": 0.9}), ("{", {"{": 0.9}), UNSAFE],
    ],
)
def test_there_is_none_where_that_token_is_neither_word(shape: Shape, written: Written) -> None:
    assert score(shape(written)) is None


@every_shape
@generated
@given(
    breaks=st.lists(st.sampled_from(["\n\n", "\n", " ", "\t", ""]), max_size=4),
    certain=st.lists(st.floats(0.001, 1.0), min_size=12, max_size=12),
    word=st.sampled_from(["safe", "unsafe"]),
)
def test_what_stands_before_and_behind_the_word_has_no_part_in_it(
    shape: Shape, breaks: list[str], certain: list[float], word: str
) -> None:
    chances = {"safe": certain[0], "unsafe": certain[1]}
    before = [
        (blank, {blank: certain[2 + at], "safe": certain[6 + at], "unsafe": certain[7 + at]})
        for at, blank in enumerate(breaks)
    ]
    behind = [("unsafe", {"unsafe": certain[10], "safe": certain[11]})]
    expected = certain[1] / (certain[0] + certain[1])
    assert expected == pytest.approx(score(shape([*before, (word, chances), *behind])))


@pytest.mark.parametrize("nothing", [None, {}, {"content": None}, {"content": []}, {"tokens": []}, {"tokens": None}])
def test_there_is_none_where_nothing_was_told(nothing: Any) -> None:
    assert score(nothing) is None


NO_NUMBERS = (None, "", "-0.1", [], {}, True, math.nan, 10**400, -(10**400))


@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_a_word_whose_own_probability_is_not_told_is_scored_by_the_other_alone(value: Any) -> None:
    other = math.log(0.2)
    content = [{"token": "unsafe", "logprob": value, "top_logprobs": [{"token": "safe", "logprob": other}]}]
    columns = {"tokens": ["unsafe"], "token_logprobs": [value], "top_logprobs": [{"safe": other}]}
    assert 0.8 == pytest.approx(score({"content": content}))
    assert 0.8 == pytest.approx(score(columns))


@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_a_word_whose_probability_is_not_told_at_all_has_no_score_and_the_next_word_is_not_taken_for_it(
    value: Any,
) -> None:
    safe = {"token": "safe", "logprob": -0.1, "top_logprobs": []}
    assert score({"content": [{"token": "unsafe", "logprob": value, "top_logprobs": []}, safe]}) is None
    assert score({"tokens": ["unsafe", "safe"], "token_logprobs": [value, -0.1]}) is None


@pytest.mark.parametrize("token", [None, 7, [], {}])
def test_nothing_is_read_behind_a_token_that_is_not_told(token: Any) -> None:
    unknown = {"token": token, "logprob": -0.1, "top_logprobs": []}
    assert score({"content": [unknown, {"token": "safe", "logprob": -0.1}]}) is None
    assert score({"content": ["unsafe", {"token": "safe", "logprob": -0.1}]}) is None
    assert score({"tokens": [token, "safe"], "token_logprobs": [-0.1, -0.1]}) is None


@pytest.mark.parametrize(
    ("unsafe", "safe", "expected"),
    [
        (0.0, -math.inf, 1.0),
        (-math.inf, 0.0, 0.0),
        (-math.inf, -math.inf, None),
        (math.inf, 0.0, 0.5),
        (3.5, 0.2, 0.5),
        (-9999.0, -0.1, 0.0),
        (-1e308, 1e308, 0.0),
    ],
)
def test_impossible_and_infinite_log_probabilities_are_taken_for_the_nearest_possible_ones(
    unsafe: float, safe: float, expected: float | None
) -> None:
    told = {"content": [{"token": "unsafe", "logprob": unsafe, "top_logprobs": [{"token": "safe", "logprob": safe}]}]}
    found = score(told)
    assert found is expected if expected is None else expected == pytest.approx(found)


ANY_NUMBER = st.floats() | st.integers() | st.just(10**400)
ANYTHING = st.recursive(
    st.none() | st.booleans() | ANY_NUMBER | st.text(max_size=5) | st.sampled_from(["safe", "unsafe", "\n\n"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
NAMES = st.sampled_from(["content", "tokens", "token_logprobs", "top_logprobs", "token", "logprob"])
ITEM = st.dictionaries(NAMES, ANYTHING, max_size=4) | ANYTHING


@generated
@given(st.none() | st.dictionaries(NAMES, st.lists(ITEM, max_size=5) | ANYTHING, max_size=5))
def test_whatever_a_host_tells_the_score_is_a_probability_or_none(logprobs: dict[str, Any] | None) -> None:
    found = score(logprobs)
    assert found is None or 0.0 <= found <= 1.0


@generated
@given(
    st.lists(
        st.builds(
            TokenLogProbs,
            st.sampled_from(["unsafe", "safe", "\n\n", "Unsafe", " safe", "S9", ""]),
            st.floats(),
            st.dictionaries(st.sampled_from(["unsafe", "safe", " unsafe", "SAFE", "no"]), st.floats(), max_size=4),
        ),
        max_size=4,
    )
)
def test_whatever_the_tokens_are_the_score_is_a_probability_or_none(tokens: list[TokenLogProbs]) -> None:
    found = unsafe_probability(tokens)
    assert found is None or 0.0 <= found <= 1.0


@generated
@given(st.floats(-20, 0), st.floats(-20, 0))
def test_the_shapes_survive_being_written_as_json(unsafe: float, safe: float) -> None:
    chances = {"unsafe": math.exp(unsafe), "safe": math.exp(safe)}
    scores = [score(json.loads(json.dumps(shape([BREAK, ("unsafe", chances)])))) for shape in SHAPES.values()]
    assert all(scores[0] == pytest.approx(other) for other in scores)
