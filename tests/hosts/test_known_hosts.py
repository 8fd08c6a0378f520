"""What is known of each host: its name, its address, whose key it takes, and what is wrong with it."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hosts.fakes import LlamaCpp, Together
from hosts.sites import KEYS, SITES, InProcess

from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.errors import ConfigurationError
from llama_guard_core.guardrail.guard_models import GuardModel
from llama_guard_core.provider.connection import Connection, Timeouts
from llama_guard_core.provider.hosts import Host, api_key_for, host_for
from llama_guard_core.provider.known_hosts import KNOWN_HOSTS, chosen_hosts

every_host = pytest.mark.parametrize(("name", "host"), KNOWN_HOSTS.items(), ids=KNOWN_HOSTS)
hosted = pytest.mark.parametrize(
    ("name", "host"),
    [(name, host) for name, host in KNOWN_HOSTS.items() if host.api_key_env],
    ids=[name for name, host in KNOWN_HOSTS.items() if host.api_key_env],
)
DOCUMENT = Path(__file__).parents[2] / "docs" / "hosts.md"


@every_host
def test_it_is_found_by_its_name_in_any_case(name: str, host: Host) -> None:
    for written in (name, name.upper(), f" {name.title()} "):
        assert (host,) == chosen_hosts(written, None)
        assert host == Host.named(written)


@hosted
def test_it_is_found_by_its_address(name: str, host: Host) -> None:
    assert host == host_for(host.base_url)
    domain = urlsplit(host.base_url).hostname
    elsewhere = host_for(f"https://{domain}/v9/of/mine/")
    assert (host.name, f"https://{domain}/v9/of/mine/") == (elsewhere.name, elsewhere.base_url)
    assert (elsewhere,) == chosen_hosts(elsewhere.base_url, None)


def test_ollama_is_found_by_its_port_and_together_by_both_its_domains() -> None:
    assert "Ollama" == host_for("http://192.168.1.5:11434/v1").name
    assert ["Together"] * 2 == [host_for(f"https://api.together.{end}/v1").name for end in ("ai", "xyz")]


@pytest.mark.parametrize(
    "address",
    [
        "https://openrouter.ai.example.com/v1",
        "https://example.com/openrouter.ai/v1",
        "https://notapi.groq.com/v1",
        "http://localhost:8000/v1",
        "http://localhost:8080/v1",
    ],
)
def test_an_address_that_only_looks_like_one_is_nobodys_and_is_shown_no_key(address: str) -> None:
    host = host_for(address)
    assert (urlsplit(address).hostname, None) == (host.name, host.api_key_env)
    assert api_key_for(host, None) is None


@hosted
def test_its_key_comes_from_its_own_variable_and_from_no_other(
    name: str, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert host.api_key_env is not None
    key = api_key_for(host, None)
    assert key is not None
    assert KEYS[host.api_key_env] == key.get_secret_value()
    monkeypatch.delenv(host.api_key_env)
    with pytest.raises(ConfigurationError, match=f"{re.escape(host.name)} needs an API key: set {host.api_key_env}"):
        api_key_for(host, None)


def test_no_two_hosts_share_a_variable_or_a_name() -> None:
    variables = [host.api_key_env for host in KNOWN_HOSTS.values() if host.api_key_env]
    assert len(variables) == len(set(variables))
    assert len(KNOWN_HOSTS) == len({host.name for host in KNOWN_HOSTS.values()})


@every_host
def test_a_host_of_ones_own_takes_no_key_from_the_environment(name: str, host: Host) -> None:
    is_ones_own = urlsplit(host.base_url).hostname == "localhost"
    assert is_ones_own == (api_key_for(host, None) is None)
    given = api_key_for(host, "sk-given")
    assert given is not None
    assert "sk-given" == given.get_secret_value()


def test_cloudflares_account_is_read_from_the_environment_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    host = KNOWN_HOSTS["cloudflare"]
    address = "https://api.cloudflare.com/client/v4/accounts/{}/ai/v1/chat/completions"
    assert address.format("a1b2c3") == host.chat_completions_url
    for missing in ("", "  "):
        monkeypatch.setenv("CLOUDFLARE_ACCOUNT_ID", missing)
        guard = LlamaGuard(host="cloudflare")
        with pytest.raises(
            ConfigurationError, match="Cloudflare needs CLOUDFLARE_ACCOUNT_ID: set it, or pass base_url"
        ):
            guard.check("How is the weather?")
    own = Host.named("cloudflare", base_url="https://api.cloudflare.com/client/v4/accounts/mine/ai/v1")
    assert address.format("mine") == own.chat_completions_url


@every_host
def test_its_guard_is_one_whose_version_its_id_says_and_nothing_more_is_needed(name: str, host: Host) -> None:
    if host.guard_model is None:
        with pytest.raises(ConfigurationError, match=f"{host.name} is not known to have a Llama Guard"):
            LlamaGuard(host=name)
        return
    guard = LlamaGuard(host=name)
    assert (host.guard_model, GuardModel.named(host.guard_model).taxonomy) == (guard.model, guard.taxonomy)


@every_host
def test_where_something_is_wrong_with_it_a_remark_says_what(name: str, host: Host) -> None:
    has_4 = host.guard_model is not None and GuardModel.named(host.guard_model).version == 4
    is_plain = has_4 and host.guard_endpoint == "chat" and host.logprobs and not host.rejects and not host.is_router
    assert is_plain or host.remarks


@every_host
def test_what_it_says_of_raw_prompts_agrees_with_itself(name: str, host: Host) -> None:
    if host.guard_endpoint in ("completions", "ollama"):
        assert host.guard_endpoint == host.raw_endpoint
    if host.raw_endpoint is None:
        with pytest.raises(ConfigurationError, match=f"raw_prompt: {host.name} has no endpoint"):
            LlamaGuard(host=name, model="meta-llama/llama-guard-4-12b", raw_prompt=True)
    else:
        assert "written here" in repr(LlamaGuard(host=name, raw_prompt=True))
    if not host.adds_bos:
        assert host.raw_fields


# Changes


def test_a_known_host_may_differ_in_anything() -> None:
    changed = Host.named(
        "together", base_url="https://proxy.example/v1", api_key="sk-own", timeout=3.0, guard_model="g"
    )
    assert ("Together", "https://proxy.example/v1", 3.0, "g") == (
        changed.name,
        changed.base_url,
        changed.timeout,
        changed.guard_model,
    )
    assert "sk-own" not in repr(changed)
    assert KNOWN_HOSTS["together"] == Host.named("together")


def test_what_a_host_says_of_itself_goes_before_what_is_said_of_all() -> None:
    host = Host.named("together", timeout=Timeouts(1.0, 2.0, 3.0), max_retries=5)
    connection = Connection(host=host, timeout=60.0, max_retries=0)
    assert (Timeouts(1.0, 2.0, 3.0), 5) == (connection.timeout, connection.max_retries)


def test_a_name_that_nobody_has_is_refused_with_those_there_are() -> None:
    for refused in (lambda: Host.named("bedrock"), lambda: LlamaGuard(host="bedrock")):
        with pytest.raises(
            ConfigurationError, match=r"no host is known as 'bedrock': .*cloudflare, .*openrouter.*vllm"
        ):
            refused()


def test_a_setting_that_no_host_has_is_refused_by_its_name() -> None:
    with pytest.raises(ConfigurationError, match=r"a host has no such setting: .*'colour'"):
        Host.named("vllm", colour="blue")


@pytest.mark.parametrize("address", ["localhost:8000", "", "ftp://host", "https://"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError, match="base_url must be an http"):
        Host.named("vllm", base_url=address)


def test_a_limit_of_no_connections_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="max_connections"):
        Host.named("vllm", max_connections=0)


# With an address


@every_host
def test_a_known_host_may_be_somewhere_else(name: str, host: Host) -> None:
    (moved,) = chosen_hosts(name, " http://10.0.0.7:9000/v1 ")
    assert (host.name, "http://10.0.0.7:9000/v1") == (moved.name, moved.base_url)


def test_it_is_asked_there_in_its_own_way() -> None:
    fake = LlamaCpp("http://10.0.0.7:9000/v1", key="sk-mine")
    site = SITES["llama.cpp"]
    verdict = site.guard(fake, base_url="http://10.0.0.7:9000/v1", api_key="sk-mine").check("A BOMB.")
    assert (False, "llama.cpp", ["/v1/completions"]) == (verdict.safe, verdict.host, fake.paths)


def test_the_key_of_a_known_host_goes_with_it_to_the_address_that_was_written_beside_its_name() -> None:
    fake = Together()
    fake.base_url = "https://gateway.example/together/v1"
    verdict = SITES["together"].guard(fake, base_url=fake.base_url).check("A BOMB.")
    assert (False, "Together", []) == (verdict.safe, verdict.host, fake.violations)


@pytest.mark.parametrize("host", [["vllm"], ["vllm", "together"], ()])
def test_a_list_of_hosts_with_one_address_is_refused(host: list[str]) -> None:
    with pytest.raises(
        ConfigurationError, match=r"base_url is one address: in a list .* Host\.named\('vllm', base_url="
    ):
        LlamaGuard(host=host, base_url="http://10.0.0.7:9000/v1")


def test_a_model_file_with_an_address_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="base_url: a model file"):
        LlamaGuard(host=InProcess("Llama-Guard-3-8B.gguf"), base_url="http://10.0.0.7:9000/v1")


def test_a_list_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="the list of hosts is empty"):
        LlamaGuard(host=[])


@pytest.mark.parametrize("thing", [[7], [None], [["vllm"]]])
def test_what_is_no_host_is_refused(thing: object) -> None:
    with pytest.raises(ConfigurationError, match="a host is a name, an address, a Host or an Embedded"):
        LlamaGuard(host=thing)  # type: ignore[arg-type]


# Documentation


@every_host
def test_the_table_in_the_documentation_has_its_name_and_its_variable(name: str, host: Host) -> None:
    rows = [line for line in DOCUMENT.read_text("utf-8").splitlines() if line.startswith("|") and f"`{name}`" in line]
    assert rows
    assert host.api_key_env is None or any(f"`{host.api_key_env}`" in row for row in rows)
