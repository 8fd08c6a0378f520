"""What can be set about Scout, and what it tells of itself."""

from __future__ import annotations

import pytest
from fake_provider import SMALL_TALK, FakeProvider
from llama_index.core.base.llms.base import BaseLLM
from llama_index.core.base.llms.types import ChatMessage
from with_llamaindex.scouts import (
    ENDPOINTS,
    KEY,
    KINDS,
    CompletionOnly,
    guard_of,
    scout,
)

from llama_guard_core.errors import (
    ConfigurationError,
    LlamaGuardError,
)
from llamaindex_llama_guard.guarded_llms import GuardedLLM
from llamaindex_llama_guard.llms import LlamaScout

GUARDED = ("guarded", "wrapped")
every_endpoint = pytest.mark.parametrize("endpoint", ENDPOINTS)
every_kind = pytest.mark.parametrize("kind", KINDS)
every_guarded = pytest.mark.parametrize("kind", GUARDED)


@every_kind
async def test_a_prompt_is_positional_or_by_name_and_given_once(provider: FakeProvider, kind: str) -> None:
    """`complete` takes its prompt either way, refuses two and needs one."""
    llm = scout(provider, kind)
    assert SMALL_TALK == llm.complete("Hello").text == llm.complete(prompt="Hello").text
    assert SMALL_TALK == (await llm.acomplete(prompt="Hello")).text
    with pytest.raises(TypeError):
        llm.complete("Hello", prompt="Hello")
    with pytest.raises(ValueError, match="prompt"):
        llm.complete()


async def test_a_prompt_is_formatted_unless_it_is(provider: FakeProvider) -> None:
    """`completion_to_prompt` is applied once, and not to a prompt that comes formatted."""
    for kind in ("guarded", "wrapped"):
        llm = scout(provider, kind, completion_to_prompt=lambda prompt: f"<{prompt}>")
        llm.complete("Hello")
        llm.complete("Hello", formatted=True)
        await llm.acomplete("Hello")
    assert ["<Hello>", "Hello", "<Hello>"] * 2 == [received.last_text for received in provider.requests_of("chat")]


@every_kind
async def test_settings_and_arguments_reach_the_host(provider: FakeProvider, kind: str) -> None:
    """Settings are sent with each request, arguments of a call win over them, and what is not set is left out."""
    llm = scout(
        provider, kind, temperature=0.5, max_tokens=77, variant="nitro", additional_kwargs={"seed": 3, "top_p": 0.5}
    )
    llm.chat([ChatMessage(content="Hello")], temperature=0.25, stop=["END"])
    body = provider.requests_of("chat")[0].body
    expected = {"temperature": 0.25, "max_tokens": 77, "seed": 3, "top_p": 0.5, "stop": ["END"]}
    assert expected == {name: body[name] for name in expected}
    assert "meta-llama/llama-4-scout:nitro" == body["model"]
    assert {"model", "messages", *expected} == set(body)


def test_an_argument_spelled_wrongly_is_not_passed_over(provider: FakeProvider) -> None:
    """Pydantic would ignore it, and a guard that is spelled wrongly would be none."""
    with pytest.raises(ValueError, match="gaurd"):
        LlamaScout(gaurd=guard_of(provider))
    with pytest.raises(ValueError, match="polici"):
        GuardedLLM(CompletionOnly(), guard_of(provider), polici=None)


def test_several_replies_to_one_request_are_refused(provider: FakeProvider) -> None:
    """LlamaIndex has no place for a second choice, which nobody would judge."""
    with pytest.raises(ValueError, match="one reply"):
        scout(provider).complete("Hello", n=2)


async def test_usage_is_asked_for_in_streams_of_other_hosts() -> None:
    """OpenRouter tells it unasked; others want to be asked, and one that rejects that need not be."""
    provider = FakeProvider()
    with provider.serve() as base_url:
        for settings in ({}, {"additional_kwargs": {"stream_options": None}}):
            with LlamaScout(api_base=base_url, api_key=KEY, **settings) as llm:
                list(llm.stream_complete("Hello"))
    asked = [received.body.get("stream_options") for received in provider.requests]
    assert [{"include_usage": True}, None] == asked


def test_it_is_an_llm_of_llamaindex() -> None:
    """Both classes descend from LlamaIndex's base class under names of their own."""
    for kind in (LlamaScout, GuardedLLM):
        assert BaseLLM.__name__ in [base.__name__ for base in kind.__mro__]
    assert ("LlamaScout", "GuardedLLM") == (LlamaScout.class_name(), GuardedLLM.class_name())


def test_its_metadata_is_the_hosts(provider: FakeProvider) -> None:
    """Prompt helpers and agents are told the sizes that are served, and that functions can be called."""
    for kind in KINDS:
        told = scout(provider, kind, max_tokens=500).metadata
        assert (327_680, 500, True, True) == (
            told.context_window, told.num_output, told.is_chat_model, told.is_function_calling_model,
        )  # fmt: skip
    assert 16_384 == scout(provider, max_tokens=None).metadata.num_output
    assert 8192 == scout(provider, context_window=8192).metadata.context_window


def test_what_traces_are_told_of_it() -> None:
    """The payload names the model and its temperature, and nothing secret."""
    told = LlamaScout(api_key=KEY, temperature=0.5, default_headers={"X": KEY}).to_payload()
    assert ("LlamaScout", "meta-llama/llama-4-scout", 0.5) == (told["class_name"], told["model"], told["temperature"])
    assert KEY not in str(told)


def test_without_a_key_the_error_says_where_it_belongs() -> None:
    """Nothing is read or opened before the first call; that names the environment variable."""
    with pytest.raises(ConfigurationError, match="OPENROUTER_API_KEY"):
        LlamaScout().complete("Hello")


async def test_a_key_from_the_environment_goes_to_openrouter_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another host is not sent OpenRouter's key."""
    monkeypatch.setenv("OPENROUTER_API_KEY", KEY)
    provider = FakeProvider()
    assert SMALL_TALK == LlamaScout(http_client=provider.client()).complete("Hello").text
    elsewhere = FakeProvider()
    with (
        elsewhere.serve() as base_url,
        LlamaScout(base_url=base_url, max_retries=0) as llm,
        pytest.raises(LlamaGuardError),
    ):
        llm.complete("Hello")
    assert ["no bearer key"] == elsewhere.violations
