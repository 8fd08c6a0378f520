"""The settings of `ChatLlamaScout`, and the clients and requests that are made of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Lock
from typing import Any

from langchain_core.messages import BaseMessage
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr, SkipValidation, model_validator
from typing_extensions import Self

import llama_guard_core
from langchain_llama_guard._judged_cache import JudgedCacheModel
from langchain_llama_guard._wire_messages import wire_messages
from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.provider.chat_clients import SCOUT, AsyncChatClients, ChatClients, ChosenModel
from llama_guard_core.provider.connection import DEFAULT_TIMEOUTS, Connection, Timeouts
from llama_guard_core.provider.host_field import HostField
from llama_guard_core.provider.hosts import Host, require_one_key_each
from llama_guard_core.provider.known_hosts import chosen_hosts
from llama_guard_core.provider.local_secret import LocalSecret
from llama_guard_core.provider.private_headers import PrivateHeaders
from llama_guard_core.provider.routing import Attribution, ModelVariant, ProviderRouting, with_variant
from llama_guard_core.provider.secret_settings import HeadersField, SecretSettings

_opening = Lock()  # first calls from two threads make one set of clients, or each would have its own limit


class _KeyFromEnvironment(LocalSecret):
    """A host's key: a model made from the settings of another must not take it to another host, nor a pickle along."""

    def __init__(self, value: str, variable: str) -> None:
        super().__init__(value)
        self.variable = variable

    @classmethod
    def read(cls, variable: str | None) -> Self | None:
        """What stands in that variable, if anything does."""
        return cls(os.environ[variable], variable) if variable and os.environ.get(variable) else None

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return type(self).read, (self.variable,)


class ScoutSettings(SecretSettings, JudgedCacheModel):
    """What can be set about Scout. `ChatLlamaScout` adds what LangChain asks of a chat model."""

    # A misspelt `guard` must not make an unguarded model, and an error must not quote the key beside it.
    model_config = ConfigDict(
        populate_by_name=True, arbitrary_types_allowed=True, extra="forbid", hide_input_in_errors=True, defer_build=True
    )

    model_name: str = Field(default=SCOUT, alias="model")
    """The model's id at the host. This one is OpenRouter's: a known host is asked by its own id for Llama 4 Scout."""
    variant: ModelVariant | None = None
    """OpenRouter's suffix: `nitro` for throughput, `floor` for price, `exacto` for tool calls."""
    api_key: SecretStr | None = None
    """The host's key. Left out, it is read from the environment variable of that host, such as `OPENROUTER_API_KEY`, as
    by a copy that was made by pickle: pickles hold no key."""
    host: HostField = None
    """Where the model is: a known name (`"together"`, `"vllm"`, ...), an address, a `Host`, an `Embedded`; or a list of
    these, the next of which is asked where one is down, at a limit or has withdrawn the model. OpenRouter if left
    out."""
    base_url: str | None = None
    """The address of any OpenAI-compatible host, up to and including its `/v1`; with `host`, where that one is."""
    guard: SkipValidation[LlamaGuard | None] = None
    """What judges prompts and replies. Nothing is judged without it."""
    request_timeout: SkipValidation[float | Timeouts | None] = Field(default=120.0, alias="timeout")
    """Seconds for a whole answer; in a stream, for the next piece of it. Or `Timeouts`."""
    max_retries: int = Field(default=2, ge=0)
    """Further attempts after a failure that may pass; 0 for none. None after a stream has begun."""
    temperature: float | None = None
    max_tokens: int | None = 4096
    """The most tokens to write. OpenRouter reserves credit for the model's maximum where it is `None`."""
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    stop: list[str] | None = Field(default=None, alias="stop_sequences")
    streaming: bool = False
    """Whether `invoke` streams, too."""
    stream_usage: bool = True
    """Whether to ask for token counts in streams. OpenRouter gives them unasked."""
    routing: ProviderRouting | None = None
    """Which of OpenRouter's providers may answer."""
    attribution: Attribution | None = None
    """What to name your application to OpenRouter."""
    model_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Further fields of the request."""
    default_headers: HeadersField = Field(default=None, exclude=True, repr=False)
    """Sent with every request, in place of ours where they have the same name. A pickle leaves those behind whose names
    say that they may hold a key, and the copy's calls say so."""
    http_client: SkipValidation[Any] = Field(default=None, exclude=True, repr=False)
    """An `httpx.Client` of yours for sync calls. You close it."""
    http_async_client: SkipValidation[Any] = Field(default=None, exclude=True, repr=False)
    """An `httpx.AsyncClient` of yours for async calls. You close it."""

    _client: ChatClients | None = PrivateAttr(default=None)
    _async_client: AsyncChatClients | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _check_and_read_key(self) -> Self:
        with_variant(self.model_name, self.variant)
        hosts = self._hosts
        if self.api_key is None or isinstance(self.api_key, _KeyFromEnvironment):
            found = _KeyFromEnvironment.read(hosts[0].api_key_env if len(hosts) == 1 else None)
            # Written past the setter: an assignment would count as a field the user has set.
            object.__setattr__(self, "api_key", found)
        else:
            require_one_key_each(hosts)
        self._add_version("llama-guardrails", llama_guard_core.__version__)
        return self

    def __copy__(self) -> Self:
        """A copy with clients of its own: `model_copy(update=...)` may give it another host or another key."""
        copied = super().__copy__()
        copied._client = copied._async_client = None  # noqa: SLF001 - one of us
        return copied

    def without_guard(self) -> Self:
        """The same model on the same connections, unguarded: for somebody who guards it from outside."""
        unguarded = super().__copy__()
        object.__setattr__(unguarded, "guard", None)
        unguarded._client, unguarded._async_client = self._sync(), self._async()  # noqa: SLF001 - one of us
        return unguarded

    @property
    def _identifying_params(self) -> dict[str, Any]:
        guard = {"guard": repr(self.guard)} if self.guard else {}
        hosts = self._hosts
        ids = dict.fromkeys(self._chosen_model.at(host, is_one_of_several=len(hosts) > 1) for host in hosts)
        where = {"base_url": ", ".join(host.base_url for host in hosts)}
        return {**where, **self._settings, "model": ", ".join(ids), **guard}

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        """The key of the answer cache. LangChain's own leaves out the guard, and all else of a guarded model."""
        for_this_call = given({"output_version": self.output_version, "stop": stop, **kwargs})
        return f"{self._llm_type} {sorted({**self._identifying_params, **for_this_call}.items())}"

    @property
    def _hosts(self) -> tuple[Host, ...]:
        return chosen_hosts(self.host, self.base_url)

    @property
    def _settings(self) -> dict[str, Any]:
        """The settings as fields of a request; what is not set is not sent."""
        names = (
            "temperature", "max_tokens", "top_p", "top_k", "min_p", "frequency_penalty",
            "presence_penalty", "repetition_penalty", "seed", "stop",
        )  # fmt: skip
        settings = {
            "model": self._chosen_model.requested,
            **{name: getattr(self, name) for name in names},
        }
        if self.routing:
            settings["provider"] = self.routing.as_request()
        return given({**settings, **self.model_kwargs})

    def close(self) -> None:
        """Close the connections for sync calls. The next call opens new ones."""
        if self._client:
            self._client.close()

    async def aclose(self) -> None:
        """Close the connections for async calls. The next call opens new ones."""
        if self._async_client:
            await self._async_client.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _request(self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]) -> dict[str, Any]:
        for_this_call = {key: value for key, value in kwargs.items() if key != "stream"}
        if stop:
            for_this_call["stop"] = stop
        request = {"messages": wire_messages(messages), **self._settings, **given(for_this_call)}
        if request.get("n", 1) != 1:
            msg = "Scout's hosts give one reply to a request: call batch() with the same input for several"
            raise ValueError(msg)
        return request

    def _stream_request(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        request = self._request(messages, stop, kwargs)
        if self.stream_usage and not all(host.is_router for host in self._hosts):
            request.setdefault("stream_options", {"include_usage": True})
        return request

    @property
    def _chosen_model(self) -> ChosenModel:
        return ChosenModel(self.model_name, self.variant)

    def _connections(self, users_client: Any) -> list[Connection]:
        hosts = self._hosts
        if self.api_key is not None and not isinstance(self.api_key, _KeyFromEnvironment):
            require_one_key_each(hosts)  # a copy may have got hosts that its original had not
        return [self._connection(host, users_client) for host in hosts]

    def _connection(self, host: Host, users_client: Any) -> Connection:
        headers = PrivateHeaders.of(self.default_headers).over(self.attribution.headers() if self.attribution else {})
        is_set = "request_timeout" in self.model_fields_set
        is_foreign = isinstance(self.api_key, _KeyFromEnvironment) and self.api_key.variable != host.api_key_env
        return Connection(
            host=host,
            api_key=None if is_foreign else self.api_key,
            # A client of the user's has timeouts of its own, which our default must not undo.
            timeout=DEFAULT_TIMEOUTS if users_client and not is_set else self.request_timeout,
            max_retries=self.max_retries,
            default_headers=headers,
        )

    def _sync(self) -> ChatClients:
        users_client = self.http_client
        with _opening:
            self._client = self._client or ChatClients(
                self._connections(users_client), http_client=users_client, model=self._chosen_model
            )
            return self._client

    def _async(self) -> AsyncChatClients:
        users_client = self.http_async_client
        with _opening:
            self._async_client = self._async_client or AsyncChatClients(
                self._connections(users_client), http_client=users_client, model=self._chosen_model
            )
            return self._async_client


def given(settings: dict[str, Any]) -> dict[str, Any]:
    """What is set. Some hosts refuse `null` and empty lists, such as `"tools": []`."""
    return {name: value for name, value in settings.items() if value is not None and value != []}
