"""An exception of a chain or a model, as output: it may quote what the model wrote."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pydantic import ValidationError

from langchain_llama_guard._values import text_of
from llama_guard_core.errors import LlamaGuardError


@dataclass(frozen=True)
class Failed:
    """In the place of an output: it raised."""

    error: Exception = field(repr=False)

    @property
    def text(self) -> str:
        """All the exception says: its message, what it carries, and those it came from."""
        return "\n".join(dict.fromkeys(text for error in _linked(self.error) for text in _said(error) if text))


def as_output(error: Exception) -> Failed:
    """An exception that is to be judged before it may be seen.

    Raises:
        LlamaGuardError: at once, if it is one of ours. These quote nobody; exceptions that one was raised in the
            middle of may, and are taken off.
    """
    if isinstance(error, LlamaGuardError):
        raise _alone(error)
    return Failed(error)


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


def _said(error: BaseException) -> Iterator[str]:
    yield str(error)
    yield text_of(error.args)
    yield text_of(vars(error))  # a parser's llm_output, a JSON error's document, notes
    if isinstance(error, ValidationError):
        yield text_of([(found["msg"], found["input"]) for found in error.errors(include_url=False)])
