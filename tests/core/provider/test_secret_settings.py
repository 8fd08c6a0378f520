"""Keys are secrets from the moment they are given: no repr shows them, and they travel in no pickle."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from llama_guard_core import AuthenticationFailed, ConfigurationError, Host
from llama_guard_core.provider.connection import Connection
from llama_guard_core.provider.local_secret import LocalSecret, local_secret
from llama_guard_core.provider.private_headers import PrivateHeaders, holds_a_key
from llama_guard_core.provider.private_texts import withholding
from llama_guard_core.provider.secret_settings import HeadersField, SecretSettings

KEY = "quartz-lantern-81"


class Model(SecretSettings, BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)

    api_key: SecretStr | None = None
    default_headers: HeadersField = Field(default=None, exclude=True)
    size: int = 1


def pickled(thing: Any) -> Any:
    return pickle.loads(pickle.dumps(thing))  # noqa: S301 - our own bytes


def test_a_secret_is_not_shown_and_a_pickle_knows_that_it_left_one_behind() -> None:
    secret = local_secret(KEY)
    assert secret is local_secret(secret) is copy.copy(secret) is copy.deepcopy(secret)
    assert local_secret(SecretStr(KEY)) == secret
    assert local_secret(None) is None
    assert KEY not in f"{secret!r} {secret}"
    assert not secret.is_left_behind
    for arrived in (pickled(secret), pickled(pickled(secret))):
        assert (True, "", True) == (
            isinstance(arrived, LocalSecret),
            arrived.get_secret_value(),
            arrived.is_left_behind,
        )


@pytest.mark.parametrize(
    "set_it",
    [
        lambda: Model(api_key=KEY, default_headers={"X-Api-Key": KEY}),
        lambda: Model().model_copy(update={"api_key": KEY, "default_headers": {"X-Api-Key": KEY}}),
        lambda: Model.model_validate({"api_key": SecretStr(KEY), "default_headers": {"X-Api-Key": KEY}}),
        lambda: _assigned(Model()),
    ],
    ids=["made", "copied", "validated", "assigned"],
)
def test_a_model_hides_what_it_is_given(set_it: Callable[[], Model]) -> None:
    model = set_it()
    assert KEY not in repr((model, vars(model), model.model_dump()))
    assert KEY.encode() not in pickle.dumps(model)
    assert (KEY, {"X-Api-Key": KEY}) == (model.api_key and model.api_key.get_secret_value(), model.default_headers)
    kept = copy.deepcopy(model)
    assert (model.api_key, model.default_headers) == (kept.api_key, kept.default_headers)


def _assigned(model: Model) -> Model:
    model.api_key = KEY  # type: ignore[assignment]
    model.default_headers = {"X-Api-Key": KEY}
    return model


def test_wrong_headers_are_still_told() -> None:
    for wrong in ({"X-Api-Key": 5}, [("X-Api-Key", KEY)], "text"):
        with pytest.raises(ValidationError):
            Model(default_headers=wrong)
    assert Model(default_headers=None).default_headers is None


def test_what_a_pickle_left_behind_is_still_known_when_a_model_is_made_of_it() -> None:
    arrived = pickled(Model(default_headers={"X-Api-Key": KEY, "X-Title": "Mine"}))
    again = Model(default_headers=arrived.default_headers)
    assert {"X-Title": "Mine"} == again.default_headers
    assert {"x-api-key"} == again.default_headers.left_behind


@pytest.mark.parametrize(
    ("name", "may_hold_one"),
    [
        ("Authorization", True), ("x-api-key", True), ("api-key", True), ("Cookie", True), ("X-Auth-Token", True),
        ("Proxy-Authorization", True), ("Ocp-Apim-Subscription-Key", True), ("Helicone-Auth", True),
        ("HTTP-Referer", False), ("X-Title", False), ("User-Agent", False), ("Accept", False),
    ],
)  # fmt: skip
def test_a_header_that_may_hold_a_key_is_known_by_its_name(name: str, may_hold_one: bool) -> None:
    assert may_hold_one == holds_a_key(name)


def test_headers_are_a_mapping_that_shows_names_alone() -> None:
    headers = PrivateHeaders.of({"X-Api-Key": KEY, "X-Title": "Mine"})
    assert headers is PrivateHeaders.of(headers) is copy.deepcopy(headers)
    assert {"X-Api-Key": KEY, "X-Title": "Mine"} == headers
    assert "PrivateHeaders('X-Api-Key', 'X-Title')" == repr(headers)
    assert [KEY] == [secret.get_secret_value() for secret in headers.secrets]


def test_the_headers_of_a_request_can_be_sent_and_are_not_shown() -> None:
    headers = Connection(api_key=KEY, default_headers={"X-Api-Key": KEY, "X-Title": "Mine"}).request_headers()
    assert KEY not in repr(headers) + "".join(map(str, headers))
    assert (f"Bearer {KEY}".encode(), KEY.encode(), b"Mine") == tuple(
        dict(headers)[name] for name in (b"authorization", b"x-api-key", b"x-title")
    )


def test_a_host_takes_its_settings_by_name_alone_and_says_which_it_has_not() -> None:
    with pytest.raises(TypeError, match="nothing"):
        Host(name="mine", base_url="http://a.test/v1", nothing=1)  # type: ignore[call-arg]
    with pytest.raises(ConfigurationError, match="http"):
        Host(name="mine", base_url="nowhere", api_key=KEY)


@pytest.mark.parametrize(
    "settings",
    [
        {"api_key": KEY},
        {"host": Host(name="mine", base_url="http://a.test/v1", api_key=KEY)},
        {"default_headers": {"Authorization": f"Bearer {KEY}"}},
        {"default_headers": {"X-Api-Key": KEY}},
        {"host": Host(name="mine", base_url="http://a.test/v1", default_headers={"X-Api-Key": KEY})},
    ],
)
def test_no_error_quotes_a_key_however_it_was_given(settings: dict[str, Any]) -> None:
    """Not in its message, whatever stands around it, nor in what the host calls itself or the call."""
    facts = {"error_type": KEY, "provider_name": KEY, "generation_id": f"gen-{KEY}"}
    error = AuthenticationFailed(f"Wrong: '{KEY}', x{KEY}y, {KEY[2:15]}", reason="authentication", **facts)
    told = withholding(error, {}, Connection(**settings).secrets)
    assert KEY[2:14] not in f"{told!r} {vars(told)}"
    assert {None} == {told.error_type, told.provider_name, told.generation_id}
