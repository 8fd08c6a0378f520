"""The error tree: who catches what, and that an error survives its way between processes."""

from __future__ import annotations

import copy
import pickle

import pytest

from llama_guard_core import errors
from llama_guard_core.errors import (
    ConfigurationError,
    GuardUnavailable,
    LlamaGuardError,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    UnreadableVerdict,
    UnsafeContent,
)
from llama_guard_core.guardrail.verdict import Stage, Verdict

TREE = """
LlamaGuardError
  ConfigurationError
  ProviderError
    AuthenticationFailed
    RequestRejected
    RateLimited
    ProviderUnavailable
    UnexpectedResponse
  GuardUnavailable
    UnreadableVerdict
  UnsafeContent
"""


def drawn(error: type[Exception], depth: int = 0) -> str:
    below = [drawn(child, depth + 1) for child in error.__subclasses__() if child.__module__ == errors.__name__]
    return "\n".join(["  " * depth + error.__name__, *below])


def test_the_tree_is_as_drawn() -> None:
    assert TREE.strip() == drawn(LlamaGuardError)


def test_the_tree_in_the_documentation_names_every_error() -> None:
    assert errors.__doc__ is not None
    names = [line.strip() for line in TREE.split()]
    assert names == [name for name in names if f"{name} " in errors.__doc__ or f"{name}\n" in errors.__doc__]


def test_a_wrong_setting_is_a_value_error_too() -> None:
    assert issubclass(ConfigurationError, ValueError)


ERRORS = [
    ConfigurationError("no key"),
    ProviderError("failed", reason="server"),
    RateLimited("slow down", reason="rate_limit", status=429, retry_after=1.5, retryable=True, provider_name="p"),
    ProviderUnavailable("cut", reason="cut", error_type="t", generation_id="gen-1"),
    GuardUnavailable("no verdict", reason="timeout", stage=Stage.REPLY),
    UnreadableVerdict("prose", stage=Stage.PROMPT),
    UnsafeContent("unsafe", stage=Stage.REPLY, verdict=Verdict(safe=False, answer="unsafe"), refusal="No."),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_survives_pickling_with_all_it_knows(error: LlamaGuardError, protocol: int) -> None:
    again = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301 - our own bytes
    assert (type(error), str(error), error.__dict__) == (type(again), str(again), again.__dict__)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_can_be_copied(error: LlamaGuardError) -> None:
    again = copy.copy(error)
    assert (type(error), str(error), error.__dict__) == (type(again), str(again), again.__dict__)


def test_an_unreadable_verdict_says_so_in_its_reason() -> None:
    assert "unreadable" == UnreadableVerdict("prose").reason


def test_unsafe_content_shows_its_message_alone() -> None:
    assert ("unsafe", "UnsafeContent('unsafe')") == (str(ERRORS[-1]), repr(ERRORS[-1]))
