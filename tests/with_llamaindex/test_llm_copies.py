"""Copies of an LLM: written out as a dict, pickled, copied, used in many event loops. None loses its guard."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
from typing import Any

import pytest
from fake_provider import SMALL_TALK, FakeProvider
from pydantic import ValidationError
from with_llamaindex.scouts import KEY, REFUSAL, guard_of, hosted, scout

from llama_guard_core.errors import ConfigurationError
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.provider.connection import Timeouts
from llama_guard_core.provider.routing import Attribution, ProviderRouting
from llamaindex_llama_guard.guarded_llms import GuardedLLM
from llamaindex_llama_guard.llama_guard import LlamaGuard
from llamaindex_llama_guard.llms import LlamaScout

SETTINGS: dict[str, Any] = {
    "temperature": 0.5,
    "max_tokens": 100,
    "variant": "nitro",
    "context_window": 8192,
    "system_prompt": "Be kind.",
    "timeout": Timeouts(connect=1, read=2, total=3),
    "routing": ProviderRouting(only=("deepinfra",), zdr=True),
    "attribution": Attribution(url="https://example.com", title="Example"),
    "additional_kwargs": {"seed": 3},
}


@pytest.fixture
def secrets() -> dict[str, Any]:
    return {"api_key": KEY, "default_headers": {"X-Secret": "header-secret"}, "http_client": FakeProvider().client()}


def test_a_dict_holds_every_setting_and_no_secret(secrets: dict[str, Any]) -> None:
    """What is made of it again is the same but for the key, the headers and the clients."""
    written = LlamaScout(**SETTINGS, **secrets).to_dict()
    again = LlamaScout.from_dict(written)
    assert SETTINGS == {name: getattr(again, name) for name in SETTINGS}
    assert "LlamaScout" == written["class_name"]
    for secret in (KEY, "header-secret", "api_key", "http_client"):
        assert secret not in str(written)


def test_a_dict_is_json() -> None:
    """`to_json` and back is the same."""
    assert SETTINGS == {
        name: getattr(LlamaScout.from_json(LlamaScout(**SETTINGS).to_json()), name) for name in SETTINGS
    }


def test_a_guarded_llm_is_not_made_again_unguarded(provider: FakeProvider) -> None:
    """Its dict says which guard it had, and asks for it; with one, all is as it was."""
    guard = guard_of(provider, hazards={"S6": "flag"})
    written = json.loads(json.dumps(LlamaScout(**hosted(provider), guard=guard).to_dict()))
    assert "'S6': 'flag'" in written["guard"]
    with pytest.raises(ValidationError, match="pass one"):
        LlamaScout.from_dict(written)
    again = LlamaScout.from_dict(written, guard=guard, **hosted(provider))
    assert REFUSAL == again.complete("BOMB").text


def test_a_wrapper_is_not_made_again_without_its_parts(provider: FakeProvider) -> None:
    """Its dict names both, holds nothing of the inner LLM's settings, which may be secrets, and asks for both."""
    llm = scout(provider, "wrapped")
    written = json.loads(json.dumps(llm.to_dict()))
    assert "LlamaScout meta-llama/llama-4-scout" == written["llm"]
    assert KEY not in str(written)
    with pytest.raises(ValidationError, match="pass one"):
        GuardedLLM.from_dict(written)
    with pytest.raises(ValidationError, match="pass one"):
        GuardedLLM.from_dict(written, guard=guard_of(provider))
    again = GuardedLLM.from_dict(written, llm=scout(provider), guard=guard_of(provider))
    assert REFUSAL == again.complete("BOMB").text


def test_only_a_guard_is_a_guard() -> None:
    """Anything else in its place would leave the LLM unguarded."""
    for nonsense in (True, "guard", Policy()):
        with pytest.raises(ValidationError, match="pass one"):
            LlamaScout(guard=nonsense)
    with pytest.raises(ValidationError, match="needs a guard"):
        GuardedLLM(LlamaScout(), None)


def guarded_pair(base_url: str, **key: str) -> tuple[LlamaScout, GuardedLLM]:
    host: dict[str, Any] = {"host": "openrouter", "base_url": base_url, **key}
    guard = LlamaGuard(**host, policy=Policy(hazards={"S1": "flag"}))
    return LlamaScout(**host, guard=guard, temperature=0.5), GuardedLLM(LlamaScout(**host), guard)


def close(*llms: Any) -> None:
    for llm in llms:
        llm.guard.close()
        (llm.llm if isinstance(llm, GuardedLLM) else llm).close()


def pickled(llm: Any) -> Any:
    return pickle.loads(pickle.dumps(llm))  # noqa: S301


@pytest.mark.parametrize("copied", [pickled, copy.deepcopy, copy.copy, lambda llm: llm.model_copy()])
def test_a_copy_is_guarded_and_connects_by_itself(copied: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after the original was used, and when the original is closed."""
    monkeypatch.setenv("OPENROUTER_API_KEY", KEY)  # a pickle takes no key along
    provider = FakeProvider()
    with provider.serve() as base_url:
        for llm in guarded_pair(base_url):
            assert SMALL_TALK == llm.complete("Hello").text
            twin = copied(llm)
            close(llm)
            assert SMALL_TALK == twin.complete("Hello").text
            assert REFUSAL == twin.complete("BOMB").text
            assert repr(llm.guard) == repr(twin.guard)
            close(llm, twin)


def test_what_cannot_be_pickled_is_not_left_behind(provider: FakeProvider) -> None:
    """LlamaIndex drops it with a word in the log; a guard that was dropped would be missed later, or never."""
    for kind in ("guarded", "wrapped"):
        with pytest.raises(ConfigurationError, match="cannot be pickled"):
            pickle.dumps(scout(provider, kind))


def test_clients_of_the_user_are_shared_by_a_deep_copy(provider: FakeProvider) -> None:
    """They cannot be copied, and are the user's to close."""
    for kind in ("unguarded", "guarded"):
        llm = scout(provider, kind)
        llm.complete("Hello")
        twin = copy.deepcopy(llm)
        assert twin.http_client is llm.http_client
        assert twin.guard is llm.guard
        assert SMALL_TALK == twin.complete("Hello").text


def test_a_copy_for_another_host_calls_that_one() -> None:
    """A client made for the old host is not kept."""
    here, there = FakeProvider(chat=lambda _: "Here."), FakeProvider(chat=lambda _: "There.")
    with here.serve() as one, there.serve() as other, LlamaScout(base_url=one, api_key=KEY) as llm:
        assert "Here." == llm.complete("Hello").text
        with llm.model_copy(update={"base_url": other}) as moved:
            assert "There." == moved.complete("Hello").text


@pytest.mark.parametrize("kind", ["unguarded", "guarded", "wrapped"])
def test_one_llm_serves_several_event_loops(kind: str) -> None:
    """One after another and two at once: each has connections of its own."""
    provider = FakeProvider()
    with provider.serve() as base_url:
        inside, wrapper = guarded_pair(base_url, api_key=KEY)
        llm: Any = {"unguarded": LlamaScout(base_url=base_url, api_key=KEY), "guarded": inside, "wrapped": wrapper}[
            kind
        ]

        async def use() -> str:
            answer = (await llm.acomplete("Hello")).text
            streamed = "".join([chunk.delta async for chunk in await llm.astream_complete("Hello")])
            await (llm.llm if kind == "wrapped" else llm).aclose()
            if kind != "unguarded":
                await llm.guard.aclose()
            assert answer == streamed
            return answer

        assert [SMALL_TALK] * 3 == [asyncio.run(use()) for _ in range(3)]


def test_closing_is_not_the_end() -> None:
    """The next call opens new connections; a `with` closes what was opened."""
    provider = FakeProvider()
    with provider.serve() as base_url, LlamaScout(base_url=base_url, api_key=KEY) as llm:
        llm.complete("Hello")
        llm.close()
        assert SMALL_TALK == llm.complete("Hello").text


async def test_closing_is_not_the_end_async() -> None:
    """The same for async calls."""
    provider = FakeProvider()
    with provider.serve() as base_url:
        async with LlamaScout(base_url=base_url, api_key=KEY) as llm:
            await llm.acomplete("Hello")
            await llm.aclose()
            assert SMALL_TALK == (await llm.acomplete("Hello")).text
