"""What each host of models needs: where it is, whose key it takes, how it is asked for a verdict, what it gets wrong.

A record says what is true of a host; `known_hosts` has one for each host that is known by name. What only an
application can know, such as its own key or how long it waits, can stand beside it, so that a list of hosts can
differ in them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import SplitResult, urlsplit

from pydantic import SecretStr

from llama_guard_core.errors import ConfigurationError
from llama_guard_core.provider.local_secret import LocalSecret, local_secret, stripped
from llama_guard_core.provider.pace import Pace
from llama_guard_core.provider.secret_settings import hidden, hides_secrets

if TYPE_CHECKING:
    from llama_guard_core.provider.circuit_breaker import CircuitBreaker
    from llama_guard_core.provider.connection import Timeouts
    from llama_guard_core.provider.embedded import Embedded

GuardEndpoint = Literal["chat", "completions", "ollama", "moderations"]
"""How a host is asked for a verdict.

`chat`: its chat endpoint, where its own template makes the guard's prompt. `completions`: its raw completion
endpoint, with the published prompt written by us. `ollama`: the same at Ollama's own endpoint. `moderations`: Meta's.
"""
LogProbs = Literal["openai", "count"]
"""How log-probabilities are asked for: `logprobs: true, top_logprobs: n` as at OpenAI, or `logprobs: n` (Together)."""

MADE_WHERE_USED = "make the guard where it is used"
_ENVIRONMENT_NAME = re.compile(r"\{([A-Z][A-Z0-9_]*)\}")


@hides_secrets
@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A host of models behind an OpenAI-compatible API.

    A pickle of it holds no key, nor a header that may be one: where it arrives, the key is read from `api_key_env`, and
    a call fails if there is none.

    Attributes:
        name: what to call it in messages and verdicts.
        base_url: the address that `/chat/completions` is appended to. `{NAME}` in it is read from the environment.
        api_key_env: the environment variable its key is read from, or None if it may do without one.
        default_headers: headers every request to it carries.
        guard_model: its id for the best Llama Guard it has; None where it has none, or serves what you loaded.
        chat_model: its id for Llama 4 Scout.
        guard_endpoint: how it is asked for a verdict.
        raw_endpoint: where it completes a prompt that we write ourselves; None if nowhere.
        raw_fields: what such a request needs besides.
        adds_bos: whether it puts the token that begins a text before such a prompt by itself.
        content: whether a guard is sent text as a string or as a list of parts; None: as the model's own template
            takes it, for hosts that do not convert.
        logprobs: how it is asked for log-probabilities; None where it gives none, or refuses.
        takes_template_arguments: whether `chat_template_kwargs` reach the model's template.
        rejects: fields of a request that it refuses; they are not sent.
        is_router: whether it may answer with another model than the one that was asked for.
        batches: where its Batch API may be, such as `/api/v1/batches`: the first that is there is used. Empty: it has
            none that this package speaks.
        remarks: what is wrong with it, for a person to read.
        api_key: your key for it, in the place of the one in the environment.
        timeout: seconds for one attempt, or `Timeouts`; None: as for all hosts.
        max_retries: further attempts at this host; None: as for all hosts.
        max_connections: requests to it at once; the others wait for their turn as long as they would for a connection.
            It holds for a guard or a chat model by itself, for its threads together and for each event loop. None: no
            limit.
        pace: requests a second, for all who use this record; None: no limit.
        circuit_breaker: what decides after failures that nothing is sent for a while, such as a `CircuitBreaker` of the
            library `circuitbreaker`; then there are no verdicts. None: every check is sent.
        rest: seconds for which it is not asked, in a list of several hosts, after it was down. What it asks for itself
            (`Retry-After`) is kept where it is longer.
        server: what serves it inside this process.
    """

    name: str
    base_url: str
    api_key_env: str | None = None
    default_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    guard_model: str | None = None
    chat_model: str | None = None
    guard_endpoint: GuardEndpoint = "chat"
    raw_endpoint: GuardEndpoint | None = None
    raw_fields: Mapping[str, Any] = field(default_factory=dict)
    adds_bos: bool = True
    content: Literal["string", "parts"] | None = None
    logprobs: LogProbs | None = None
    takes_template_arguments: bool = False
    rejects: frozenset[str] = frozenset()
    is_router: bool = False
    batches: tuple[str, ...] = ()
    remarks: str = field(default="", repr=False)
    api_key: SecretStr | str | None = field(default=None, repr=False)
    timeout: float | Timeouts | None = None
    max_retries: int | None = None
    max_connections: int | None = None
    pace: Pace | None = field(default=None, compare=False)
    circuit_breaker: CircuitBreaker | None = field(default=None, repr=False, compare=False)
    rest: float = 30.0
    server: Embedded | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.server is None:
            _parts_of(self.base_url)
        if self.max_connections is not None and self.max_connections < 1:
            msg = "max_connections must be 1 or more, or None for no limit"
            raise ConfigurationError(msg)

    @classmethod
    def named(cls, name: str, **changes: Any) -> Host:
        """A host that is known by name, with changes.

        Args:
            name: such as `"together"`; see `known_hosts.KNOWN_HOSTS`.
            **changes: attributes that differ, such as `base_url`, `api_key`, `timeout`, `guard_model`.

        Raises:
            ConfigurationError: if there is no host of that name, or no such attribute.
        """
        from llama_guard_core.provider.known_hosts import KNOWN_HOSTS  # noqa: PLC0415 (made of this class)

        changes = hidden(changes)
        known = KNOWN_HOSTS.get(name.strip().lower())
        if known is None:
            msg = f"no host is known as {name!r}: write an address, or one of {', '.join(sorted(KNOWN_HOSTS))}"
            raise ConfigurationError(msg)
        try:
            return replace(known, **changes)
        except TypeError as error:
            msg = f"a host has no such setting: {error}"
            raise ConfigurationError(msg) from None

    @property
    def chat_completions_url(self) -> str:
        """Where completions are asked for; a query of the base address is kept."""
        return self.url_of("chat/completions")

    def url_of(self, path: str) -> str:
        """The address of an endpoint.

        Args:
            path: what is appended to the base address; beginning with a slash, it is put in the place of its path.

        Raises:
            ConfigurationError: if the base address needs a variable that is not set.
        """
        address, question_mark, query = self._address().partition("?")
        if path.startswith("/"):
            parts = urlsplit(address)
            return f"{parts.scheme}://{parts.netloc}{path}{question_mark}{query}"
        return f"{address.rstrip('/')}/{path}{question_mark}{query}"

    def _address(self) -> str:
        if self.server is not None:
            return self.server.start().base_url

        def from_environment(variable: re.Match[str]) -> str:
            if value := os.environ.get(variable[1], "").strip():
                return value
            msg = f"{self.name} needs {variable[1]}: set it, or pass base_url."
            raise ConfigurationError(msg)

        return _ENVIRONMENT_NAME.sub(from_environment, self.base_url)


def host_for(base_url: str | None) -> Host:
    """The host at an address.

    Args:
        base_url: the address up to and including the version (`https://openrouter.ai/api/v1`), with or without a
            slash at its end; None means OpenRouter. An unknown address is a host that needs no key.

    Raises:
        ConfigurationError: if it is no http or https address.
    """
    if base_url is None:
        return OPENROUTER
    from llama_guard_core.provider.known_hosts import known_at  # noqa: PLC0415 (made of this class)

    address = base_url.strip()
    parts = _parts_of(address)
    if parts.path.rstrip("/").endswith("/chat/completions"):
        msg = "base_url is the address before /chat/completions: leave that part out"
        raise ConfigurationError(msg)
    known = known_at(parts)
    return replace(known, base_url=address) if known else Host(name=parts.hostname or address, base_url=address)


def _parts_of(address: str) -> SplitResult:
    try:
        parts = urlsplit(address)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return parts
    except ValueError:
        pass
    msg = "base_url must be an http:// or https:// address, such as https://openrouter.ai/api/v1"
    raise ConfigurationError(msg)


def api_key_for(host: Host, given: SecretStr | str | None) -> LocalSecret | None:
    """The key to use: the host's own, else the one given, else the one in the host's environment variable.

    Raises:
        ConfigurationError: if the host needs a key and there is none, or a pickle left it behind and none is in the
            environment, or it holds characters no header can carry.
    """
    own = local_secret(host.server.start().api_key if host.server is not None else host.api_key)
    chosen = local_secret(given) if own is None else own
    is_left_behind = chosen is not None and chosen.is_left_behind
    if host.api_key_env and (chosen is None or is_left_behind):
        chosen = local_secret(os.environ.get(host.api_key_env))
    key = None if chosen is None else stripped(chosen)
    if not key and is_left_behind:
        or_set = f"set {host.api_key_env}, or " if host.api_key_env else ""
        or_name = "" if host.api_key_env else ", or give its host an api_key_env"
        msg = f"a copy made by pickle holds no key for {host.name}: {or_set}{MADE_WHERE_USED}{or_name}"
        raise ConfigurationError(msg)
    if not key and host.api_key_env:
        msg = f"{host.name} needs an API key: set {host.api_key_env} or pass api_key."
        raise ConfigurationError(msg)
    if key and not _can_be_sent(key):
        msg = f"The API key for {host.name} holds characters that no key has: copy it again."
        raise ConfigurationError(msg)
    return key or None


def _can_be_sent(key: SecretStr) -> bool:
    text = key.get_secret_value()
    return text.isascii() and text.isprintable() and " " not in text


def require_one_key_each(hosts: Sequence[Host]) -> None:
    """Refuse one key for several hosts: it would be shown to those it does not belong to.

    Raises:
        ConfigurationError: if there are several hosts.
    """
    if len(hosts) > 1:
        msg = "api_key is one host's key: in a list of hosts, give each its own, as Host.named('together', api_key=...)"
        raise ConfigurationError(msg)


OPENROUTER = Host(
    name="OpenRouter",
    base_url="https://openrouter.ai/api/v1",
    api_key_env="OPENROUTER_API_KEY",
    guard_model="meta-llama/llama-guard-4-12b",
    chat_model="meta-llama/llama-4-scout",
    content="string",
    is_router=True,
    batches=("/api/beta/batches", "/api/v1/batches"),  # its guide says the one, its SDK and reference the other
    remarks="gives no log-probabilities for Llama Guard, and leaves parameters out in silence that a provider lacks",
)
