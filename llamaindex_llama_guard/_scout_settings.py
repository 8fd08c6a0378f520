"""The settings of `LlamaScout`, and the clients and requests that are made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from threading import Lock
from typing import Any, TypeVar

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms.function_calling import FunctionCallingLLM
from pydantic import AliasChoices, ConfigDict, Field, PrivateAttr, SecretStr, SkipValidation, model_validator
from typing_extensions import Self

from llama_guard_core.provider.chat_clients import SCOUT, AsyncChatClients, ChatClients, ChosenModel
from llama_guard_core.provider.connection import DEFAULT_TIMEOUTS, Connection, Timeouts
from llama_guard_core.provider.host_field import HostField
from llama_guard_core.provider.hosts import Host, require_one_key_each
from llama_guard_core.provider.known_hosts import chosen_hosts
from llama_guard_core.provider.private_headers import PrivateHeaders
from llama_guard_core.provider.routing import Attribution, ModelVariant, ProviderRouting
from llama_guard_core.provider.secret_settings import HeadersField, SecretSettings
from llamaindex_llama_guard._guard_field import GuardField, require_picklable
from llamaindex_llama_guard._wire_messages import wire_messages

S = TypeVar("S", bound="ScoutSettings")

_opening = Lock()  # first calls from two threads make one set of clients, or each would have its own limit


class ScoutSettings(SecretSettings, FunctionCallingLLM):
    """What can be set about Scout. `LlamaScout` adds what LlamaIndex asks of an LLM."""

    # An error must not quote the key beside what is wrong.
    model_config = ConfigDict(
        extra="forbid", arbitrary_types_allowed=True, populate_by_name=True, hide_input_in_errors=True, defer_build=True
    )

    model: str = SCOUT
    """The model's id at the host. This one is OpenRouter's: a known host is asked by its own id for Llama 4 Scout."""
    variant: ModelVariant | None = None
    """OpenRouter's suffix: `nitro` for throughput, `floor` for price, `exacto` for tool calls."""
    api_key: SecretStr | None = Field(default=None, exclude=True, repr=False)
    """The host's key. Left out, the first call reads the environment variable of that host, such as
    `OPENROUTER_API_KEY`, as that of a copy made by pickle does: pickles hold no key."""
    host: HostField = None
    """Where the model is: a known name (`"together"`, `"vllm"`, ...), an address, a `Host`, an `Embedded`; or a list of
    these, the next of which is asked where one is down, at a limit or has withdrawn the model. OpenRouter if left
    out."""
    base_url: str | None = Field(default=None, validation_alias=AliasChoices("base_url", "api_base"))
    """The address of any OpenAI-compatible host, up to and including its `/v1`; with `host`, where that one is.
    `api_base` is another name for it."""
    guard: GuardField = None
    """What judges prompts and replies. Nothing is judged without it."""
    timeout: float | Timeouts | None = 120.0
    """Seconds for a whole answer; in a stream, for the next piece of it. Or `Timeouts`."""
    max_retries: int = Field(default=2, ge=0)
    """Further attempts after a failure that may pass; 0 for none. None after a stream has begun."""
    temperature: float | None = None
    max_tokens: int | None = Field(default=4096, ge=1)
    """The most tokens to write. OpenRouter reserves credit for the model's maximum where it is `None`."""
    context_window: int = Field(default=327_680, ge=1)
    """Tokens of prompt and reply together: the smallest window of OpenRouter's endpoints for Scout."""
    should_use_structured_outputs: bool = False
    """Whether structured answers are asked for as a JSON schema, which the host enforces, and not as a tool call."""
    routing: ProviderRouting | None = None
    """Which of OpenRouter's providers may answer."""
    attribution: Attribution | None = None
    """What to name your application to OpenRouter."""
    additional_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Further fields of each request, such as `top_p`, `seed`, `stop`; `None` leaves out one that we would send."""
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
    def _check_hosts(self) -> Self:
        hosts = self._hosts
        if self.api_key is not None:
            require_one_key_each(hosts)
        return self

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

    def __copy__(self) -> Self:
        """A copy with clients of its own: `model_copy(update=...)` may give it another host or another key."""
        return _without_clients(super().__copy__())

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """A copy with clients of its own, that shares the guard and the clients that you passed."""
        shared = (self.guard, self.http_client, self.http_async_client, self._client, self._async_client)
        return _without_clients(super().__deepcopy__({**(memo or {}), **{id(kept): kept for kept in shared}}))

    def __getstate__(self) -> dict[str, Any]:
        """All settings but the key and headers that may be one; connections and clients of yours stay behind.

        Raises:
            ConfigurationError: if the guard cannot be pickled.
        """
        require_picklable(guard=self.guard)
        return super().__getstate__()

    @property
    def _settings(self) -> dict[str, Any]:
        """The settings as fields of a request."""
        return {
            "model": self._chosen_model.requested,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "provider": self.routing.as_request() if self.routing else None,
            **self.additional_kwargs,
        }

    def _request(self, messages: Iterable[ChatMessage], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        request = {"messages": wire_messages(messages), **self._settings, **kwargs}
        request.pop("stream", None)
        if request.get("n") not in (None, 1):
            msg = "Scout's hosts give one reply to a request: call it several times for several"
            raise ValueError(msg)
        # What is not set is not sent: some hosts refuse `null` and empty lists, such as `"tools": []`.
        return {name: value for name, value in request.items() if value is not None and value != []}

    def _stream_request(self, messages: Iterable[ChatMessage], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        if all(host.is_router for host in self._hosts) or "stream_options" in self.additional_kwargs:
            return self._request(messages, kwargs)
        return self._request(messages, {"stream_options": {"include_usage": True}, **kwargs})

    @property
    def _hosts(self) -> tuple[Host, ...]:
        return chosen_hosts(self.host, self.base_url)

    @property
    def _chosen_model(self) -> ChosenModel:
        return ChosenModel(self.model, self.variant)

    def _connections(self, users_client: Any) -> list[Connection]:
        hosts = self._hosts
        if self.api_key is not None:
            require_one_key_each(hosts)  # a copy may have got hosts that its original had not
        return [self._connection(host, users_client) for host in hosts]

    def _connection(self, host: Host, users_client: Any) -> Connection:
        headers = PrivateHeaders.of(self.default_headers).over(self.attribution.headers() if self.attribution else {})
        # A client of the user's has timeouts of its own, which our default must not undo.
        is_left_to_client = users_client is not None and "timeout" not in self.model_fields_set
        return Connection(
            host=host,
            api_key=self.api_key,
            timeout=DEFAULT_TIMEOUTS if is_left_to_client else self.timeout,
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


def _without_clients(copied: S) -> S:
    copied._client = copied._async_client = None  # noqa: SLF001 - one of us
    return copied
