"""Where ChatLlamaScout is told to be: what it tells of that, what a copy keeps of it, and whose key goes where."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from fake_provider import SMALL_TALK, FakeProvider
from langchain_core.load import dumpd, dumps, load
from langchain_core.runnables import ConfigurableField
from pydantic import ValidationError
from several_hosts import KEYS, SeveralHosts

from langchain_llama_guard import ChatLlamaScout, ConfigurationError
from llama_guard_core.errors import ProviderError
from llama_guard_core.provider.embedded import Embedded
from llama_guard_core.provider.hosts import Host
from llama_guard_core.provider.known_hosts import HostLike

OWN_KEY = "key-of-my-own-0123456789"
WRITTEN: list[Any] = ["together", "http://localhost:8000/v1", ["openrouter", "together"], ["vllm", "http://gpu/v1"]]
OBJECTS: list[Any] = [
    Host.named("together", api_key=OWN_KEY),
    Embedded("model.gguf"),
    ["openrouter", Host.named("deepinfra", api_key=OWN_KEY)],
    [Embedded("model.gguf"), "openrouter"],
]
every_form = pytest.mark.parametrize("host", [*WRITTEN, *OBJECTS], ids=repr)
pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning")


def chosen(model: ChatLlamaScout) -> list[tuple[str, str]]:
    return [(host.name, host.base_url) for host in model._hosts]


@every_form
@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize(
    "copied",
    [
        lambda model: pickle.loads(pickle.dumps(model)),  # noqa: S301
        copy.copy,
        copy.deepcopy,
        lambda model: model.model_copy(update={"temperature": 0.5}),
        lambda model: model.without_guard(),
    ],
    ids=["pickle", "copy", "deepcopy", "model_copy", "without_guard"],
)
def test_a_copy_is_at_the_same_hosts(host: Any, used: bool, copied: Callable[[ChatLlamaScout], ChatLlamaScout]) -> None:
    model = ChatLlamaScout(host=host)
    if used:
        model._sync(), model._async()
    assert chosen(model) == chosen(copied(model))


def test_a_copy_for_other_hosts_asks_those_with_their_own_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of the environment stays behind; one that was passed is refused for several."""
    monkeypatch.setenv("OPENROUTER_API_KEY", "key-of-openrouter")
    several = SeveralHosts(None, FakeProvider())
    model = ChatLlamaScout(**several.clients())
    assert SMALL_TALK == model.model_copy(update={"host": several.hosts()}).invoke("Hello").text
    assert {"one": {f"Bearer {KEYS['one']}"}, "two": {f"Bearer {KEYS['two']}"}} == several.keys
    passed = ChatLlamaScout(api_key="passed", **several.clients()).model_copy(update={"host": several.hosts()})
    with pytest.raises(ConfigurationError, match="one host's key"):
        passed.invoke("Hello")


@pytest.mark.parametrize(
    "given", [{"api_key": OWN_KEY}, {"default_headers": {"Authorization": f"Bearer {OWN_KEY}"}}], ids=["key", "header"]
)
def test_a_pickle_takes_no_key_along(given: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A host without a variable of its own is not asked; copies in this process keep the key."""
    provider = FakeProvider()
    with provider.serve() as base_url, ChatLlamaScout(base_url=base_url, **given) as model:
        for changed in (model, ChatLlamaScout(base_url=base_url).model_copy(update=given)):
            sent = pickle.dumps(changed)
            assert OWN_KEY.encode() not in sent
            with pytest.raises(ConfigurationError, match="a copy made by pickle holds no key"):
                pickle.loads(sent).invoke("Hello")  # noqa: S301
            with changed.model_copy() as twin, copy.deepcopy(changed) as deep:
                assert [SMALL_TALK, SMALL_TALK] == [each.invoke("Hello").text for each in (twin, deep)]
        known = pickle.loads(pickle.dumps(ChatLlamaScout(host="openrouter", base_url=base_url, **given)))  # noqa: S301
        monkeypatch.setenv("OPENROUTER_API_KEY", "key-of-that-process")
        assert SMALL_TALK == known.invoke("Hello").text
        known.close()
    assert "Bearer key-of-that-process" == provider.requests[-1].headers["authorization"]


def test_a_pickle_takes_no_key_of_the_environment_along(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", OWN_KEY)
    sent = pickle.dumps(ChatLlamaScout(host="together", model="my/model"))
    assert OWN_KEY.encode() not in sent
    monkeypatch.setenv("TOGETHER_API_KEY", "key-of-that-process")
    assert "key-of-that-process" == pickle.loads(sent).api_key.get_secret_value()  # noqa: S301
    monkeypatch.delenv("TOGETHER_API_KEY")
    with pytest.raises(ConfigurationError, match="TOGETHER_API_KEY"):
        pickle.loads(sent).invoke("Hello")  # noqa: S301


@every_form
def test_one_key_for_several_hosts_is_refused(host: Any) -> None:
    if isinstance(host, list):
        with pytest.raises(ValidationError, match="give each its own") as caught:
            ChatLlamaScout(host=host, api_key=OWN_KEY)
        assert OWN_KEY not in str(caught.value)
    else:
        assert ChatLlamaScout(host=host, api_key="k").api_key is not None


@pytest.mark.parametrize(
    "host", ["nowhere", "ftp://x", [], [3], 3, {"name": "together"}, ["openrouter", None]], ids=repr
)
def test_what_is_no_host_is_refused_when_the_model_is_made(host: Any) -> None:
    with pytest.raises(ValidationError, match=r"host|https?://"):
        ChatLlamaScout(host=host)


@pytest.mark.parametrize(
    ("name", "variable"),
    [("openrouter", "OPENROUTER_API_KEY"), ("together", "TOGETHER_API_KEY"), ("deepinfra", "DEEPINFRA_API_TOKEN")],
)
async def test_each_hosts_key_is_read_from_its_own_variable(
    name: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenRouter's goes to OpenRouter, alone or in a list."""
    for other in ("OPENROUTER_API_KEY", "TOGETHER_API_KEY", "DEEPINFRA_API_TOKEN"):
        monkeypatch.setenv(other, f"secret-{other}")
    seen: dict[str, str | None] = {}

    def handle(request: httpx.Request) -> httpx.Response:
        seen[request.url.host] = request.headers.get("authorization")
        return httpx.Response(500)

    hosts: list[HostLike] = [name, ["http://elsewhere.test/v1", Host.named(name, max_retries=0)]]  # type: ignore[list-item]
    for host in hosts:
        model = ChatLlamaScout(
            host=host, max_retries=0, http_client=httpx.Client(transport=httpx.MockTransport(handle))
        )
        with pytest.raises(ProviderError):
            model.invoke("Hello")
        assert {"api_key": variable if host == name else "LLAMA_SCOUT_API_KEY"} == model.lc_secrets
    assert None is seen.pop("elsewhere.test")
    assert [f"Bearer secret-{variable}"] == list(seen.values())


def loaded(model: ChatLlamaScout) -> ChatLlamaScout:
    allowed: dict[str, Any] = {"allowed_objects": [ChatLlamaScout], "valid_namespaces": ["langchain_llama_guard"]}
    found = load(dumpd(model), secrets_from_env=True, **allowed)
    assert isinstance(found, ChatLlamaScout)
    return found


@pytest.mark.parametrize("host", WRITTEN, ids=repr)
def test_hosts_that_are_names_and_addresses_come_back_from_a_dump(host: Any) -> None:
    """And the model is again each host's own Scout."""
    model = ChatLlamaScout(host=host)
    again = loaded(model)
    assert (host, chosen(model)) == (again.host, chosen(again))
    assert model._identifying_params == again._identifying_params


@pytest.mark.parametrize("host", OBJECTS, ids=repr)
def test_a_model_with_a_host_of_ones_own_is_not_loaded_without_it(host: Any) -> None:
    model = ChatLlamaScout(host=host)
    assert "not_implemented" == dumpd(model)["type"]
    with pytest.raises(NotImplementedError):
        loaded(model)


@every_form
def test_no_key_of_a_host_is_to_be_seen(host: Any) -> None:
    model = ChatLlamaScout(host=host)
    shown = [
        repr(model), dumps(model), str(model.model_dump()), model.model_dump_json(), str(model._identifying_params),
        model._get_llm_string(), str(model._get_ls_params()),
    ]  # fmt: skip
    assert not [text for text in shown if OWN_KEY in text]
    assert json.loads(model.model_dump_json())["host"]


def test_a_description_of_a_host_is_none() -> None:
    written = ChatLlamaScout(host=Host.named("together")).model_dump()["host"]
    with pytest.raises(ValidationError, match="pass the object itself"):
        ChatLlamaScout(host=written)


def test_a_configured_copy_is_still_each_hosts_own_scout() -> None:
    """LangChain makes it of all settings, as if the user had set each."""
    provider = FakeProvider()
    host = Host(name="o", base_url="http://o.test/api/v1", api_key="k", chat_model="other/scout")
    model = ChatLlamaScout(host=host, http_client=provider.client())
    chain = model.configurable_fields(temperature=ConfigurableField(id="temperature"))
    chain.with_config(configurable={"temperature": 0.25}).invoke("Hello")
    assert ("other/scout", 0.25) == (provider.requests[0].model, provider.requests[0].body["temperature"])


def test_a_file_in_this_process_has_no_profile_of_scouts() -> None:
    assert ChatLlamaScout(host="together").profile
    assert not ChatLlamaScout(host=Embedded("model.gguf")).profile
    assert not ChatLlamaScout(host=["openrouter", Embedded("model.gguf")]).profile
