"""One span for each check, told to whatever listens to LlamaIndex's instrumentation.

Its attributes are flat, and no judged text is among them unless that is asked for. No event of ours is sent:
handlers warn about events that they do not know.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any
from uuid import uuid4

from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.dispatcher import active_instrument_tags
from llama_index_instrumentation.events.span import SpanDropEvent
from llama_index_instrumentation.span import active_span_id

from llama_guard_core.errors import GuardUnavailable
from llama_guard_core.guardrail.screening import Check
from llama_guard_core.guardrail.verdict import Verdict

SPAN_NAME = "LlamaGuard.check"
Told = Callable[[Verdict], None]

_dispatcher = get_dispatcher(__name__)
_NO_ARGUMENTS = inspect.Signature().bind()


@contextmanager
def check_span(question: Check, model: str, *, with_text: bool) -> Iterator[Told]:
    """The span one check happens in; give it the verdict when there is one.

    Args:
        question: what is asked.
        model: the guard model that is asked.
        with_text: whether the judged text is among the attributes.
    """
    span_id = f"{SPAN_NAME}-{uuid4()}"
    asked = _of_question(question, model, with_text=with_text)
    result: dict[str, Any] = {}
    parent = active_span_id.get()
    token = active_span_id.set(span_id)
    tags = active_instrument_tags.get()
    _dispatcher.span_enter(span_id, bound_args=_bound(asked), parent_id=parent, tags=tags)
    _attach(asked)
    try:
        yield lambda verdict: result.update(_of_verdict(verdict))
    except BaseException as error:
        if isinstance(error, GuardUnavailable):
            _attach({"no_verdict": error.reason})
        _dispatcher.event(SpanDropEvent(span_id=span_id, err_str=str(error)))
        _dispatcher.span_drop(span_id, bound_args=_NO_ARGUMENTS, err=error)
        raise
    else:
        _attach(result)
        _dispatcher.span_exit(span_id, bound_args=_NO_ARGUMENTS, result=result)
    finally:
        active_span_id.reset(token)


def traced_here(check: Callable[[Check], Verdict]) -> Callable[[Check], Verdict]:
    """The check as it would run here and now, for a stream that is judged later and elsewhere.

    Its span belongs to the call that opened the stream; without this it would be a trace of its own.
    """
    here = copy_context()
    return lambda question: here.copy().run(check, question)


def atraced_here(check: Callable[[Check], Awaitable[Verdict]]) -> Callable[[Check], Awaitable[Verdict]]:
    """The check as it would run here and now; see `traced_here`."""
    here = copy_context()

    async def checked(question: Check) -> Verdict:
        return await here.copy().run(asyncio.ensure_future, check(question))

    return checked


def _of_question(question: Check, model: str, *, with_text: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"stage": question.stage.value, "model": model, "turns": len(question.conversation)}
    if with_text:
        told["text"] = question.conversation[-1].text if question.conversation else ""
    return told


def _of_verdict(verdict: Verdict) -> dict[str, Any]:
    told = verdict.as_dict() | {"categories": [category.code for category in verdict.categories]}
    return {name: value for name, value in told.items() if value is not None}


def _bound(arguments: Mapping[str, Any]) -> inspect.BoundArguments:
    """What handlers take for the arguments of the call that a span stands for."""
    named = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in arguments]
    return inspect.Signature(named).bind(**arguments)


def _attach(attributes: Mapping[str, Any]) -> None:
    """Put attributes on the OpenTelemetry span of the check: its handlers record no results, or one opaque text."""
    if tracing := sys.modules.get("opentelemetry.trace"):  # who traces has loaded it
        tracing.get_current_span().set_attributes({f"llama_guard.{name}": told for name, told in attributes.items()})
