"""A guard that is copied or sent to another process judges there as here, on connections of its own.

A copy made by pickle holds no key: it has the one of the environment it comes into, or says that it has none.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from fake_provider import FakeProvider

from llama_guard_core import ConfigurationError, Host, LlamaGuard, Policy

KEY = "kept-in-this-process"
VARIABLE = "KEY_OF_THE_OTHER_PROCESS"
AUTHORIZATION = {"Authorization": f"Bearer {KEY}"}


def pickled(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))  # noqa: S301 - our own bytes


@pytest.mark.parametrize("way", [copy.deepcopy, pickled])
def test_a_copy_judges_under_the_same_policy_at_the_same_host(
    provider: FakeProvider, way: Callable[[LlamaGuard], LlamaGuard], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", KEY)
    policy = Policy(hazards={"S6": "flag"})
    with provider.serve() as url, LlamaGuard(host="openrouter", base_url=url, policy=policy) as guard:
        guard.check("one")
        with way(guard) as twin:
            assert twin.check("a BOMB").categories[0].code == "S9"
            assert (repr(guard), policy) == (repr(twin), twin.policy)
        assert guard.check("another").safe


def test_a_client_of_the_users_does_not_travel(provider: FakeProvider) -> None:
    with provider.client() as client, pytest.raises(TypeError, match="pickle"):
        pickle.dumps(LlamaGuard(api_key="k", http_client=client))


GIVEN: dict[str, Callable[[str], dict[str, Any]]] = {
    "api_key=": lambda url: {"base_url": url, "api_key": KEY},
    "Host(api_key=)": lambda url: {"host": Host(name="mine", base_url=url, api_key=KEY)},
    "headers": lambda url: {"base_url": url, "default_headers": AUTHORIZATION},
    "Host(headers)": lambda url: {"host": Host(name="mine", base_url=url, default_headers=AUTHORIZATION)},
}
given = pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)


@given
def test_a_pickle_without_a_key_asks_nobody_and_says_so(
    provider: FakeProvider, given: Callable[[str], dict[str, Any]]
) -> None:
    """A host that needs no key would answer it, and one that does would not say what is wrong."""
    with provider.serve() as url, LlamaGuard(**given(url), model="meta-llama/llama-guard-4-12b") as guard:
        sent = pickle.dumps(guard)
        assert KEY.encode() not in sent
        for twin in (pickle.loads(sent), pickled(pickled(guard))):  # noqa: S301 - our own bytes
            with pytest.raises(ConfigurationError, match=r"holds no key.*make the guard where it is"):
                twin.check("one")
    assert [] == provider.requests


@given
@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy])
def test_a_copy_in_this_process_keeps_its_key(
    provider: FakeProvider, given: Callable[[str], dict[str, Any]], way: Callable[[LlamaGuard], LlamaGuard]
) -> None:
    with provider.serve() as url, way(LlamaGuard(**given(url), model="meta-llama/llama-guard-4-12b")) as twin:
        assert twin.check("one").safe
    assert {f"Bearer {KEY}"} == {received.headers["authorization"] for received in provider.requests}


@pytest.mark.parametrize("settings", [{"api_key": KEY}, {"default_headers": AUTHORIZATION}], ids=["key", "header"])
def test_a_pickle_has_the_key_of_the_environment_it_comes_into(
    provider: FakeProvider, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with provider.serve() as url:
        host = Host(name="mine", base_url=url, api_key_env=VARIABLE, guard_model="meta-llama/llama-guard-4-12b")
        twin = pickled(LlamaGuard(host=host, **settings))
        with pytest.raises(ConfigurationError, match=f"set {VARIABLE}, or make the guard where it is used"):
            twin.check("one")
        monkeypatch.setenv(VARIABLE, "of-the-other-process")
        with twin:
            assert twin.check("one").safe
    assert ["Bearer of-the-other-process"] == [received.headers["authorization"] for received in provider.requests]


@pytest.mark.parametrize("name", ["X-Api-Key", "api-key", "Cookie", "Proxy-Authorization", "cf-aig-authorization"])
def test_a_header_that_may_hold_a_key_stays_and_others_travel(
    provider: FakeProvider, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", "k")
    titled = LlamaGuard(host="openrouter", default_headers={"X-Title": "Mine"})
    assert b"Mine" in pickle.dumps(titled)
    with provider.serve() as url:
        guard = LlamaGuard(host="openrouter", base_url=url, default_headers={name: KEY, "X-Title": "Mine"})
        assert KEY.encode() not in pickle.dumps(guard)
        with pytest.raises(ConfigurationError, match=f"a copy made by pickle holds no header '{name.lower()}'"):
            pickled(guard).check("one")
    assert [] == provider.requests


def test_a_list_of_hosts_is_refused_before_any_is_asked(provider: FakeProvider) -> None:
    with provider.serve() as url:
        model = "meta-llama/llama-guard-4-12b"
        hosts = [Host(name="open", base_url=url, guard_model=model), Host(name="mine", base_url=url, api_key=KEY)]
        with pytest.raises(ConfigurationError, match="holds no key for mine"):
            pickled(LlamaGuard(host=hosts, model=model)).check("one")
    assert [] == provider.requests
