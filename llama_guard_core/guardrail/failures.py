"""An exception of a model, a chain or an engine, as output: it may quote what the model wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, TypeVar

from pydantic import ValidationError

from llama_guard_core.errors import GuardUnavailable, LlamaGuardError
from llama_guard_core.messages import Message, Part, Text, Unjudgeable

UNREAD = "an exception that cannot be read"
P = TypeVar("P")
ReadsTexts = Callable[[Any], Iterable[str]]
"""Gives all text in a value, at any depth; each framework has values of its own."""


@dataclass(frozen=True)
class Failed:
    """In the place of an output: it raised."""

    error: Exception = field(repr=False)
    texts_in: ReadsTexts = field(repr=False, compare=False)

    @property
    def text(self) -> str:
        """All the exception says: its message, what it carries, and those it came from.

        Raises:
            GuardUnavailable: if it cannot be read, because it is nested too deeply or its own `str` fails.
        """
        try:
            said = [text for error in _linked(self.error) for text in _said(error, self.texts_in)]
        except Exception:  # noqa: BLE001 - somebody's own code, which may raise anything
            msg = f"{UNREAD} is not judged"
        else:
            return "\n".join(dict.fromkeys(filter(None, said)))
        raise GuardUnavailable(msg, reason="not_judgeable")

    @property
    def part(self) -> Part:
        """The same as a part of a message; marked as unjudgeable where it cannot be read."""
        try:
            return Text(self.text)
        except GuardUnavailable:
            return Unjudgeable(UNREAD)


def as_output(error: Exception, texts_in: ReadsTexts) -> Failed:
    """An exception that is to be judged before it may be seen.

    Args:
        error: what was raised.
        texts_in: reads what the exception carries.

    Raises:
        LlamaGuardError: at once, if it is one of ours. These quote nobody; exceptions that one was raised in the
            middle of may, and are taken off.
    """
    if isinstance(error, LlamaGuardError):
        raise _alone(error)
    return Failed(error, texts_in)


def with_failures(said: Message, pieces: Iterable[object]) -> Message:
    """A streamed reply together with what the exceptions among its pieces say."""
    failures = tuple(piece.part for piece in pieces if isinstance(piece, Failed))
    return Message(said.role, (*said.parts, *failures), said.tool_calls)


def shown_before_failure(
    pieces: Sequence[P | Failed], text_added_by: Callable[[P | Failed], str | None]
) -> list[P | Failed]:
    """The pieces to show of a stream that may end in an exception: then no tool call that it broke off in."""
    if not pieces or not isinstance(pieces[-1], Failed):
        return list(pieces)
    return [*takewhile(lambda piece: text_added_by(piece) is not None, pieces), pieces[-1]]


def _alone(error: LlamaGuardError) -> LlamaGuardError:
    step: BaseException | None = error
    while step is not None:
        cause = step.__cause__ if isinstance(step.__cause__, LlamaGuardError) else None
        step.__cause__ = step.__context__ = cause
        step = cause
    return error


def _linked(error: BaseException) -> Iterator[BaseException]:
    """The exception, its causes and contexts and the members of groups, each once."""
    found: dict[int, BaseException] = {}
    waiting: list[BaseException | None] = [error]
    while waiting:
        step = waiting.pop(0)
        if step is not None and id(step) not in found:
            found[id(step)] = step
            waiting += [step.__cause__, step.__context__, *getattr(step, "exceptions", ())]
    return iter(found.values())


def _said(error: BaseException, texts_in: ReadsTexts) -> Iterator[str]:
    yield str(error)
    yield from texts_in(error.args)
    yield from texts_in(vars(error))  # a parser's output, a JSON error's document, notes
    if isinstance(error, ValidationError):
        yield from texts_in([(found["msg"], found["input"]) for found in error.errors(include_url=False)])
