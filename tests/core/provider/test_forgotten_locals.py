"""What passes through the sending of a request is raised as it is, and its traceback tells lines and no variables."""

from __future__ import annotations

import traceback
from collections.abc import Iterator

import pytest

from llama_guard_core.provider.forgotten_locals import LocalsForgotten, without_locals


def locals_of(error: BaseException) -> dict[str, set[str]]:
    """The names of the variables that a traceback shows, by function."""
    return {
        frame.f_code.co_name: {name for name in frame.f_locals if not name.startswith("@")}
        for frame, _ in traceback.walk_tb(error.__traceback__)
    }


def sends(error: BaseException) -> None:
    header = "a key"
    if header:
        raise error


def reads(error: BaseException) -> Iterator[str]:
    piece = "a key"
    yield piece
    sends(error)


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt, GeneratorExit])
def test_the_same_exception_comes_out_with_its_lines_and_without_variables(kind: type[BaseException]) -> None:
    raised = kind("it")
    with pytest.raises(kind) as caught, LocalsForgotten():
        list(reads(raised))
    assert raised is caught.value
    shown = locals_of(raised)
    assert set() == shown["reads"] == shown["sends"]


def test_causes_and_contexts_lose_theirs_too() -> None:
    def maps() -> None:
        secret = "a key"
        try:
            sends(OSError(len(secret)))
        except OSError as error:
            raise RuntimeError from error

    with pytest.raises(RuntimeError) as caught, LocalsForgotten():
        maps()
    assert isinstance(caught.value.__cause__, OSError)
    assert set() == locals_of(caught.value)["maps"] == locals_of(caught.value.__cause__)["sends"]


def test_what_was_handled_before_is_somebody_elses() -> None:
    before = ValueError("ours")

    def handles() -> None:
        try:
            sends(before)
        except ValueError:
            with LocalsForgotten():
                sends(RuntimeError())

    with pytest.raises(RuntimeError) as caught:
        handles()
    assert caught.value.__context__ is before
    assert {"header", "error"} == locals_of(before)["sends"]
    assert set() == locals_of(caught.value)["sends"]


def test_a_function_that_still_runs_keeps_its_variables() -> None:
    mine = "mine"
    with pytest.raises(ValueError) as caught:
        sends(ValueError())
    shown = locals_of(without_locals(caught.value))
    assert set() == shown["sends"]
    assert {"mine", "caught"} <= shown["test_a_function_that_still_runs_keeps_its_variables"]
    assert "mine" == mine
