"""An attach point: how it is built, the ways to ask it, and how its refusals look."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fault_matrix.marks import APOLOGIES
from fault_matrix.stand import Stand
from fault_matrix.watch import Seen
from llama_guard_core.classifier import LlamaGuard

Way = Callable[[Stand, Seen], Any]
"""Builds an attach point, asks it once and notes what was seen; async ways give a coroutine."""

WAYS = ("sync plain", "sync streamed", "async plain", "async streamed")


def apologises(seen: Seen) -> bool:
    """Whether what was given holds a refusal's words."""
    return any(words in seen.said for words in APOLOGIES)


def leaves_out(seen: Seen) -> bool:
    """Whether of two documents at most the harmless one is left."""
    return len(seen.given) < 2


_HALVES = {"llama_guard_core": "core", "langchain_llama_guard": "LangChain", "llamaindex_llama_guard": "LlamaIndex"}


@dataclass(frozen=True)
class Point:
    """One attach point at one stage.

    Attributes:
        name: the attach point.
        stage: whose text is under test.
        guard: the class of its guard.
        ways: the ways to ask it, by the names of `WAYS`.
        is_refused: whether what was given is a refusal in the caller's own form.
        unheard: channels that see the text by what the attach point is; its documentation says so.
        raises: whether an exception reaches the caller where the policy says raise.
        finishes_alone: whether a reply is brought to its end, for the memory, although its caller has left.
        is_graph: whether LangGraph runs it. A graph that is cancelled once more while it cancels its nodes leaves these
            to themselves, guarded or not (seen in LangGraph 1.2); they end when the guard's time is up.
    """

    name: str
    stage: str
    guard: Callable[..., LlamaGuard]
    ways: Mapping[str, Way]
    is_refused: Callable[[Seen], bool] = apologises
    unheard: frozenset[str] = frozenset()
    raises: bool = True
    finishes_alone: bool = False
    is_graph: bool = False

    def __str__(self) -> str:
        return f"{_HALVES[self.guard.__module__.partition('.')[0]]}: {self.name}, {self.stage}"

    @property
    def unseen_by_right(self) -> frozenset[str]:
        """Channels that do not count: whoever asks is shown the own question as it is."""
        own = {"callbacks", "state"} if self.stage == "prompt" else set()
        return self.unheard | own
