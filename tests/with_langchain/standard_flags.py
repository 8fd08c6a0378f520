"""What Llama 4 Scout can do, in the words of langchain-tests, and the fake host its suites run on."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import pytest_asyncio
from fake_provider import FakeProvider, Received, Reply, Usage
from fake_provider.brain import converse
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_tests.integration_tests import chat_models as standard_tests

from langchain_llama_guard import ChatLlamaScout, GuardedChatModel, LlamaGuard

KEY = "sk-or-v1-standard"
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\n%%EOF\n"
USAGE_SHAPES = ("choice", "empty", "every", "repeat")


def say(received: Received) -> Reply:
    """Converse; where the prompt speaks of a cache, with tokens read from one."""
    if "cached" in received.last_text:
        return Reply("From the cache.", usage=Usage(20, 4, cached_tokens=12))
    return converse(received)


class WrappedScout(GuardedChatModel):
    """An unguarded Scout behind `GuardedChatModel`, made from Scout's settings as the suites want it."""

    def __init__(self, *, guard: LlamaGuard, **settings: Any) -> None:
        super().__init__(model=ChatLlamaScout(**settings), guard=guard)

    @property
    def api_key(self) -> Any:
        return self.model.api_key


class ScoutFlags:
    """Every flag but audio and video, which Scout does not take.

    A guard cannot judge files: the guarded models pass the PDF tests by refusing, which is their policy's choice.
    """

    chat_model_class: ClassVar[type[BaseChatModel]] = ChatLlamaScout
    is_guarded: ClassVar[bool] = False
    supports_json_mode = True
    supports_image_inputs = True
    supports_image_urls = True
    supports_image_tool_message = True
    supports_pdf_inputs = True
    supports_pdf_tool_message = True
    supports_anthropic_inputs = True
    model_override_value = "meta-llama/llama-4-maverick"
    enable_vcr_tests = True
    supported_usage_metadata_details: ClassVar[dict[str, list[str]]] = {
        "invoke": ["cache_read_input", "cache_creation_input", "reasoning_output"],
        "stream": ["cache_read_input", "cache_creation_input", "reasoning_output"],
    }
    host: ClassVar[dict[str, Any]]
    provider: ClassVar[FakeProvider]

    @property
    def chat_model_params(self) -> dict[str, Any]:
        guard = {"guard": LlamaGuard(**self.host, cache=False)} if self.is_guarded else {}
        return {**self.host, **guard}


class ServedScout(ScoutFlags):
    """Scout at a fake host behind a real socket, in each of the four places a stream may tell its usage.

    One model serves all tests of a class that differ in nothing else, so that with an event loop per test it is
    used in many of them.
    """

    @pytest.fixture(scope="class", autouse=True, params=USAGE_SHAPES)
    @classmethod
    def _served(cls, request: pytest.FixtureRequest) -> Iterator[None]:
        provider = FakeProvider(chat=say, usage=request.param)
        with provider.serve() as base_url:
            request.cls.host = {"base_url": base_url, "api_key": KEY}
            request.cls.provider = provider
            request.cls.models = {}
            yield
        assert [] == provider.violations

    @pytest_asyncio.fixture(scope="class", loop_scope="session", autouse=True)
    @classmethod
    async def _closed(cls, request: pytest.FixtureRequest, _served: None) -> AsyncIterator[None]:
        """What was used in the session's loop is closed in it; connections of other loops went with them."""
        yield
        for model in request.cls.models.values():
            await (model.model if isinstance(model, WrappedScout) else model).aclose()
            if cls.is_guarded:
                await model.guard.aclose()

    @pytest.fixture(autouse=True)
    def _no_downloads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def get(url: str, **_: Any) -> SimpleNamespace:
            return SimpleNamespace(content=PDF if url.endswith(".pdf") else PNG)

        monkeypatch.setattr(standard_tests, "httpx", SimpleNamespace(get=get))

    @pytest.fixture
    def model(self, request: pytest.FixtureRequest) -> BaseChatModel:
        """The model under test; for the replayed test, one whose requests do not name a port."""
        settings = {**self.standard_chat_model_params, **getattr(request, "param", {})}
        if request.node.get_closest_marker("vcr"):
            return self._recorded(settings)
        key = str(settings)
        if key not in self.models:
            self.models[key] = self.chat_model_class(**settings, **self.chat_model_params)
        return self.models[key]

    def _recorded(self, settings: dict[str, Any]) -> BaseChatModel:
        host = {"api_key": KEY, "http_client": FakeProvider(chat=say).client()}
        guard = {"guard": LlamaGuard(**host)} if self.is_guarded else {}
        return self.chat_model_class(**settings, **host, **guard)

    def test_prompt_and_reply_are_judged_where_there_is_a_guard(self, model: BaseChatModel) -> None:
        """The guard of a guarded suite is asked about both; that of the others is not there."""
        asked_before = len(self.provider.guard_questions)
        model.invoke("Hello")
        assert (2 if self.is_guarded else 0) == len(self.provider.guard_questions) - asked_before

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        return self._answer("What is cached?", stream=stream)

    invoke_with_cache_creation_input = invoke_with_cache_read_input
    invoke_with_reasoning_output = invoke_with_cache_read_input

    def _answer(self, text: str, *, stream: bool) -> AIMessage:
        model = self.chat_model_class(**self.chat_model_params)
        if not stream:
            return model.invoke(text)
        whole: Any = None
        for chunk in model.stream(text):
            whole = chunk if whole is None else whole + chunk
        return whole
