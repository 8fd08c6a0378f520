"""What the tests of the LLMs share: the models under test, their endpoints, and somebody who watches everything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fake_provider import FakeProvider
from llama_index.core.base.llms.types import CompletionResponse, LLMMetadata
from llama_index.core.callbacks import CallbackManager
from llama_index.core.callbacks.base_handler import BaseCallbackHandler
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.span_handlers import BaseSpanHandler
from llama_index.core.llms import ChatMessage
from llama_index.core.llms.custom import CustomLLM
from llama_index.core.llms.llm import LLM
from pydantic import Field, PrivateAttr

from llama_guard_core.guardrail.policy import Policy
from llamaindex_llama_guard.guarded_llms import GuardedLLM
from llamaindex_llama_guard.llama_guard import LlamaGuard
from llamaindex_llama_guard.llms import LlamaScout

KEY = "sk-or-v1-0123456789abcdef"
REFUSAL = "I can't help with that."
SECRET_TEXT = "You take a BOMB and then"
"""A reply that is unsafe; its marker stands in no prompt of these tests."""

SYNC = ("chat", "complete", "stream_chat", "stream_complete")
ENDPOINTS = (*SYNC, *(f"a{name}" for name in SYNC))
KINDS = ("unguarded", "guarded", "wrapped")


def hosted(provider: FakeProvider) -> dict[str, Any]:
    """What it takes to reach the fake host."""
    return {"api_key": KEY, "http_client": provider.client(), "http_async_client": provider.async_client()}


def guard_of(provider: FakeProvider, **policy: Any) -> LlamaGuard:
    return LlamaGuard(**hosted(provider), policy=Policy(**policy), max_retries=0)


def scout(
    provider: FakeProvider, kind: str = "unguarded", policy: dict[str, Any] | None = None, **settings: Any
) -> LLM:
    """Scout alone, guarded from inside, or guarded by the wrapper; streams are held whole unless the policy says more."""
    if kind == "unguarded":
        return LlamaScout(**hosted(provider), **settings)
    guard = guard_of(provider, **{"streaming": "whole", **(policy or {})})
    if kind == "guarded":
        return LlamaScout(**hosted(provider), guard=guard, **settings)
    return GuardedLLM(LlamaScout(**hosted(provider), **settings), guard)


async def ask(llm: LLM, endpoint: str, text: str, **kwargs: Any) -> list[Any]:
    """Call an endpoint; gives all its responses, of which a plain call has one."""
    asked = text if "complete" in endpoint else [ChatMessage(content=text)]
    answer = getattr(llm, endpoint)(asked, **kwargs)
    if endpoint.startswith("a"):
        answer = await answer
    if "stream" not in endpoint:
        return [answer]
    return [item async for item in answer] if endpoint.startswith("a") else list(answer)


def text_of(response: Any) -> str:
    return response.message.content if hasattr(response, "message") else response.text


class _Events(BaseEventHandler):
    seen: list[Any] = Field(default_factory=list)

    @classmethod
    def class_name(cls) -> str:
        return "Events"

    def handle(self, event: Any, **_: Any) -> None:
        self.seen.append(event)


class _Spans(BaseSpanHandler[Any]):
    seen: list[Any] = Field(default_factory=list)

    @classmethod
    def class_name(cls) -> str:
        return "Spans"

    def new_span(self, id_: str, bound_args: Any, instance: Any = None, **_: Any) -> None:
        self.seen.append((id_, bound_args))

    def prepare_to_exit_span(
        self, id_: str, bound_args: Any, instance: Any = None, result: Any = None, **_: Any
    ) -> None:
        self.seen.append((id_, result))

    def prepare_to_drop_span(self, id_: str, bound_args: Any, instance: Any = None, err: Any = None, **_: Any) -> None:
        self.seen.append((id_, repr(err)))


class _Callbacks(BaseCallbackHandler):
    def __init__(self, seen: list[Any]) -> None:
        super().__init__([], [])
        self.seen = seen

    def on_event_start(self, event_type: Any, payload: Any = None, event_id: str = "", **_: Any) -> str:
        self.seen.append((event_type, payload))
        return event_id

    def on_event_end(self, event_type: Any, payload: Any = None, event_id: str = "", **_: Any) -> None:
        self.seen.append((event_type, payload))

    def start_trace(self, trace_id: str | None = None) -> None:
        self.seen.append(trace_id)

    def end_trace(self, trace_id: str | None = None, trace_map: Any = None) -> None:
        self.seen.append(trace_id)


class Watcher:
    """Event handler, span handler and callback handler in one: everything LlamaIndex tells anybody."""

    def __init__(self) -> None:
        self.event_handler, self.span_handler = _Events(), _Spans()
        self.events, self.spans = self.event_handler.seen, self.span_handler.seen
        self.calls: list[Any] = []
        self.callback_manager = CallbackManager([_Callbacks(self.calls)])

    @property
    def event_names(self) -> list[str]:
        return [event.class_name() for event in self.events]

    @property
    def span_names(self) -> list[str]:
        return [id_.split("-")[0] for id_, _ in self.spans]

    @property
    def everything(self) -> str:
        return repr((self.events, self.spans, self.calls))


@contextmanager
def watching() -> Iterator[Watcher]:
    """Listen at the root of all dispatchers."""
    watcher, root = Watcher(), get_dispatcher()
    before = root.event_handlers, root.span_handlers
    root.event_handlers = [*before[0], watcher.event_handler]
    root.span_handlers = [*before[1], watcher.span_handler]
    try:
        yield watcher
    finally:
        root.event_handlers, root.span_handlers = before


class CompletionOnly(CustomLLM):
    """Somebody's LLM that knows no chat and calls no functions, and whose endpoints call each other."""

    says: str = "Nothing of note."
    _prompts: list[str] = PrivateAttr(default_factory=list)

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(model_name="completion-only")

    @classmethod
    def class_name(cls) -> str:
        return "completion_only"

    def complete(self, prompt: str, formatted: bool = False, **_: Any) -> Any:
        return next(reversed(list(self._pieces(prompt))))

    def stream_complete(self, prompt: str, formatted: bool = False, **_: Any) -> Any:
        return self._pieces(prompt)

    def _pieces(self, prompt: str) -> Iterator[Any]:
        self._prompts.append(prompt)
        text = ""
        for word in self.says.split(" "):
            delta = word if not text else f" {word}"
            text += delta
            yield CompletionResponse(text=text, delta=delta, raw={"said": text})
