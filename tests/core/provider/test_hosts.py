"""Addresses, keys, headers and timeouts."""

from __future__ import annotations

import httpx
import pytest
from pydantic import SecretStr

from llama_guard_core.errors import ConfigurationError
from llama_guard_core.provider.connection import DEFAULT_TIMEOUTS, Connection, Timeouts, timeouts_from
from llama_guard_core.provider.hosts import OPENROUTER, api_key_for, host_for


@pytest.mark.parametrize(
    ("base_url", "expected"),
    [
        (None, "https://openrouter.ai/api/v1/chat/completions"),
        ("https://openrouter.ai/api/v1/", "https://openrouter.ai/api/v1/chat/completions"),
        ("http://localhost:8080/v1", "http://localhost:8080/v1/chat/completions"),
        ("http://localhost:8080", "http://localhost:8080/chat/completions"),
        (" https://host/a/b/v1// ", "https://host/a/b/v1/chat/completions"),
        ("https://host/v1?api-version=2", "https://host/v1/chat/completions?api-version=2"),
        ("http://[::1]:8080/v1", "http://[::1]:8080/v1/chat/completions"),
    ],
)
def test_the_path_of_the_base_address_is_kept_and_joined_by_one_slash(base_url, expected):
    assert expected == host_for(base_url).chat_completions_url


@pytest.mark.parametrize(
    "base_url", ["", "localhost:8080", "ftp://host/v1", "https://", "http://[::1", "http://host:99999/v1", "/v1"]
)
def test_what_is_no_address_is_refused_with_an_example(base_url):
    with pytest.raises(ConfigurationError, match=r"https://openrouter\.ai/api/v1"):
        host_for(base_url)


def test_an_address_that_goes_too_far_is_refused():
    with pytest.raises(ConfigurationError, match="leave that part out"):
        host_for("https://openrouter.ai/api/v1/chat/completions")


def test_the_key_given_wins_over_the_environment(monkeypatch):
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-env")
    assert "sk-given" == api_key_for(OPENROUTER, " sk-given\n").get_secret_value()
    assert "sk-env" == api_key_for(OPENROUTER, None).get_secret_value()


@pytest.mark.parametrize("given", [None, "", SecretStr("  ")])
def test_a_missing_key_is_said_to_be_missing_with_the_variable_to_set(monkeypatch, given):
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="OPENROUTER_API_KEY"):
        api_key_for(OPENROUTER, given)


def test_another_host_is_sent_no_key_of_the_environment(monkeypatch):
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-env")
    assert api_key_for(host_for("http://localhost:8080/v1"), None) is None


@pytest.mark.parametrize("key", ["sk-\nsecret", "sk-secrét", "sk-sec ret", "sk-\x00secret"])
def test_a_key_no_header_can_carry_is_refused_and_not_shown(key):
    with pytest.raises(ConfigurationError) as caught:
        api_key_for(OPENROUTER, key)
    assert "sk-" not in str(caught.value)


def headers_of(**settings) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in Connection(**settings).request_headers()}


def test_the_users_headers_win_whatever_their_case():
    headers = headers_of(
        api_key=SecretStr("sk-1"), default_headers={"USER-AGENT": "mine", "authorization": "Basic x", "X-Title": "Café"}
    )
    assert ("mine", "Basic x", "Café") == (headers["user-agent"], headers["authorization"], headers["x-title"])
    assert len(headers) == len({name.lower() for name in headers})


def test_the_project_names_itself():
    assert headers_of(api_key=SecretStr("sk-1"))["user-agent"].startswith("llama-guardrails/")


@pytest.mark.parametrize("headers", [{"X-A": "a\nb: secret"}, {"X A": "secret"}, {"": "secret"}, {"X-A": "secret\x00"}])
def test_a_header_that_cannot_be_sent_is_refused_and_not_shown(headers):
    with pytest.raises(ConfigurationError) as caught:
        headers_of(api_key=SecretStr("sk-1"), default_headers=headers)
    assert "secret" not in str(caught.value)


def test_neither_key_nor_headers_are_in_the_repr():
    assert "secret" not in repr(Connection(api_key=SecretStr("secret"), default_headers={"X-A": "secret"}))


@pytest.mark.parametrize(
    ("timeout", "expected"),
    [
        (5, Timeouts(5.0, 5.0, 5.0)),
        (90.0, Timeouts(10.0, 90.0, 90.0)),
        (None, Timeouts(None, None, None)),
        (DEFAULT_TIMEOUTS, Timeouts(10.0, 60.0, 120.0)),
        (httpx.Timeout(3.0, connect=1.0), Timeouts(1.0, 3.0, None)),
    ],
)
def test_timeouts_are_seconds_in_any_form(timeout, expected):
    assert expected == timeouts_from(timeout)


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_timeout_that_is_no_time_is_refused(seconds):
    with pytest.raises(ConfigurationError, match="seconds"):
        timeouts_from(seconds)


def test_fewer_than_no_retries_are_refused():
    with pytest.raises(ConfigurationError, match="max_retries"):
        Connection(max_retries=-1)
