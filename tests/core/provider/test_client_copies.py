"""Copies of the clients, and of the guard that uses them: they connect by themselves."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from fake_provider import FakeProvider

from llama_guard_core import ConfigurationError, LlamaGuard, Policy
from llama_guard_core.provider.client import AsyncChatClient, ChatClient, Connection

KEY = "sk-or-v1-copied"
copied = pytest.mark.parametrize("copied", [lambda it: pickle.loads(pickle.dumps(it)), copy.deepcopy])  # noqa: S301


@copied
async def test_a_guard_goes_on_judging_as_a_copy(copied: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its settings and its policy go with it, its connections do not."""
    monkeypatch.setenv("OPENROUTER_API_KEY", KEY)
    provider = FakeProvider()
    with provider.serve() as base_url:
        guard = LlamaGuard(host="openrouter", base_url=base_url, policy=Policy(hazards={"S6": "flag"}))
        assert guard.check("Hello").safe
        twin = copied(guard)
        guard.close()
        assert not twin.check("BOMB").safe
        assert not (await twin.acheck("BOMB")).safe
        assert repr(guard) == repr(twin)
        twin.close()
        await twin.aclose()
    assert [] == provider.violations


@copied
def test_a_client_of_the_users_own_is_not_copied(provider: FakeProvider, copied: Any) -> None:
    """It belongs to where it was opened; a copy with another would go another way."""
    connection = Connection(api_key=None)
    for client in (
        ChatClient(connection, http_client=provider.client()),
        AsyncChatClient(connection, http_client=provider.async_client()),
    ):
        with pytest.raises(TypeError, match="cannot be copied"):
            copied(client)


async def test_a_client_brought_by_a_pickle_has_no_key() -> None:
    says = "OpenRouter: set OPENROUTER_API_KEY, or make the guard where it is used"
    connection = Connection(api_key=KEY)
    sync, asynchronous = (pickle.loads(pickle.dumps(kind(connection))) for kind in (ChatClient, AsyncChatClient))  # noqa: S301
    with pytest.raises(ConfigurationError, match=says):
        sync.complete({})
    with pytest.raises(ConfigurationError, match=says):
        await asynchronous.complete({})
