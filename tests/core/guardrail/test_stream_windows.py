"""When the guard is asked about a reply that grows, and how often that can be."""

from __future__ import annotations

from math import log2
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_guard_core.errors import ConfigurationError
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.stream_windows import Streaming, Windows


def checks_within(text: str, piece: int = 1, **rules: Any) -> list[int]:
    """Of a reply in pieces of so many characters, the lengths at which a window was full."""
    windows = Windows(Streaming(**rules))
    pieces = range(0, len(text), piece)
    return [min(at + piece, len(text)) for at in pieces if windows.filled_by(text[at : at + piece])]


def test_windows_are_steady_first_and_then_double() -> None:
    assert [16, 32, 48, 64, 80, 96, 112, 128, 256, 512] == checks_within("x" * 1000)


def test_a_piece_that_fills_several_windows_is_asked_about_once() -> None:
    assert [90, 180, 270, 540] == checks_within("x" * 1000, piece=90)


def test_with_one_steady_window_the_next_is_already_twice_as_long() -> None:
    assert [16, 32, 64, 128, 256] == checks_within("x" * 300, steady=1)


def test_without_growth_windows_stay_steady_until_only_the_last_check_is_left() -> None:
    assert [50, 100, 150] == checks_within("x" * 1000, window=50, growth=1, most_checks=4)


def test_held_whole_no_window_is_ever_full() -> None:
    assert [] == checks_within("x" * 1000, hold="whole")


def test_a_sentence_ends_with_its_mark_and_a_space_or_with_its_line() -> None:
    text = "It is 3.5 m. Really? Yes… no\nwell"
    assert [text.index(" Really") + 1, text.index(" Yes") + 1, text.index(" no") + 1, text.index("\n") + 1] == (
        checks_within(text, unit="sentences")
    )
    assert [2, 4] == checks_within("好\u3002好\uff01", unit="sentences")


@given(st.text(". !?\n\u3002ab", max_size=60), st.integers(1, 7))
def test_sentences_are_counted_the_same_however_the_reply_is_cut(text: str, piece: int) -> None:
    whole = len(checks_within(text, unit="sentences", steady=100, most_checks=100))
    windows = Windows(Streaming(unit="sentences", window=1, steady=100, most_checks=100))
    for at in range(0, len(text), piece):
        windows.filled_by(text[at : at + piece])
    assert whole == windows._size


@given(st.integers(1, 200_000))
def test_by_default_a_reply_costs_a_logarithm_of_its_length_in_checks(length: int) -> None:
    lengths = checks_within("x" * length, piece=max(1, length // 5000))
    at_the_end = [] if lengths[-1:] == [length] else [length]
    checks, read = len(lengths) + len(at_the_end), sum(lengths) + sum(at_the_end)
    assert checks <= 2 + log2(length)
    assert read < 3 * length + 576


@given(st.integers(1, 50), st.floats(1, 4), st.integers(1, 30), st.integers(1, 12), st.integers(0, 3000))
def test_whatever_the_settings_the_checks_are_capped(
    window: int, growth: float, steady: int, most: int, length: int
) -> None:
    checks = checks_within("x" * length, window=window, growth=growth, steady=steady, most_checks=most)
    assert len(checks) < most


@pytest.mark.parametrize("hold", ["whole", "window", "optimistic"])
def test_a_policy_takes_the_word_alone(hold: Any) -> None:
    assert Streaming(hold=hold) == Policy(streaming=hold).streaming
    assert Streaming(hold=hold) == Policy.from_json(f'{{"streaming": "{hold}"}}').streaming


@pytest.mark.parametrize(
    ("wrong", "named"),
    [("windowed", "streaming.hold"), ({"window": 0}, "streaming.window"), ({"windows": 5}, "streaming.windows")],
)
def test_a_mistake_is_refused_with_its_name(wrong: Any, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        Policy.from_mapping({"streaming": wrong})
