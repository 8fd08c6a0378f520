"""LangChain's own unit tests, and what stands in for the one that no package outside LangChain can pass."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from fake_provider import FakeProvider
from langchain_core.language_models import BaseChatModel
from langchain_core.load import dumpd, load
from langchain_tests.unit_tests import ChatModelUnitTests
from syrupy.assertion import SnapshotAssertion
from syrupy.filters import props
from with_langchain.standard_flags import KEY, ScoutFlags, WrappedScout

from langchain_llama_guard import Attribution, ChatLlamaScout, LlamaGuard, ProviderRouting

pytestmark = pytest.mark.filterwarnings("ignore:The function `load` is in beta")

NOT_ON_THE_LIST = 'load(allowed_objects="all") admits only the classes on LangChain\'s own list'
NEVER_UNGUARDED = "a guarded model is not serialised: it would be loaded again without its guard"


class UnitFlags(ScoutFlags):
    """The suite's settings: no test of it sends anything."""

    host: ClassVar[dict[str, Any]] = {"api_key": KEY}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        guard = {"guard": LlamaGuard()} if self.is_guarded else {}
        return {"OPENROUTER_API_KEY": KEY}, guard, {"api_key": KEY}


class TestScout(UnitFlags, ChatModelUnitTests):
    @pytest.mark.xfail(strict=True, raises=ValueError, reason=NOT_ON_THE_LIST)
    def test_serdes(self, model: BaseChatModel, snapshot: SnapshotAssertion) -> None:
        super().test_serdes(model, snapshot)


class TestGuardedScout(UnitFlags, ChatModelUnitTests):
    is_guarded = True

    @pytest.fixture
    def snapshot(self, snapshot: SnapshotAssertion) -> SnapshotAssertion:
        """The snapshot without what LangChain adds for people, its own version among it."""
        return snapshot.with_defaults(exclude=props("repr"))

    @pytest.mark.xfail(strict=True, raises=NotImplementedError, reason=NEVER_UNGUARDED)
    def test_serdes(self, model: BaseChatModel, snapshot: SnapshotAssertion) -> None:
        super().test_serdes(model, snapshot)


class TestWrappedScout(UnitFlags, ChatModelUnitTests):
    """`test_serdes` skips itself here: the wrapper says that it is not serializable."""

    is_guarded = True
    chat_model_class: ClassVar[type[BaseChatModel]] = WrappedScout


def loaded(model: ChatLlamaScout) -> ChatLlamaScout:
    found = load(
        dumpd(model),
        allowed_objects=[ChatLlamaScout],
        valid_namespaces=["langchain_llama_guard"],
        secrets_from_env=True,
    )
    assert isinstance(found, ChatLlamaScout)
    return found


def test_a_model_can_be_dumped_and_loaded_by_who_allows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an explicit list of what may be loaded, every setting comes back, the key from the environment."""
    monkeypatch.setenv("OPENROUTER_API_KEY", KEY)
    model = ChatLlamaScout(
        temperature=0.5,
        max_tokens=100,
        stop=["END"],
        variant="nitro",
        routing=ProviderRouting(only=("deepinfra",), zdr=True),
        attribution=Attribution(url="https://example.com", title="Example"),
        model_kwargs={"logprobs": True},
    )
    again = loaded(model)
    assert model._identifying_params == again._identifying_params
    assert (model.routing, model.attribution) == (again.routing, again.attribution)
    assert again.api_key is not None
    assert KEY == again.api_key.get_secret_value()


def test_a_dump_holds_no_key_and_no_header() -> None:
    """A key is dumped as the name of the variable it is read from, headers and clients not at all."""
    headers = {"Authorization": "Bearer sk-or-v1-header"}
    dumped = str(dumpd(ChatLlamaScout(api_key=KEY, default_headers=headers, http_client=FakeProvider().client())))
    assert KEY not in dumped
    assert "sk-or-v1-header" not in dumped
    assert "OPENROUTER_API_KEY" in dumped
    assert "http_client" not in dumped


def test_another_hosts_key_does_not_come_back_as_openrouters(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model for another host is not loaded with OpenRouter's key, which that host would then be sent."""
    monkeypatch.setenv("OPENROUTER_API_KEY", KEY)
    model = ChatLlamaScout(base_url="https://models.example.com/v1", api_key="other-key")
    assert "other-key" not in str(dumpd(model))
    assert loaded(model).api_key is None


def test_a_guarded_model_is_not_loaded_unguarded() -> None:
    """A dump of a guarded model says that it cannot be loaded, and loading raises."""
    dumped = dumpd(ChatLlamaScout(api_key=KEY, guard=LlamaGuard(api_key=KEY)))
    assert "not_implemented" == dumped["type"]
    assert KEY not in str(dumped)
    with pytest.raises(NotImplementedError):
        load(dumped, allowed_objects=[ChatLlamaScout], valid_namespaces=["langchain_llama_guard"])
