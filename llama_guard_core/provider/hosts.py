"""What each host needs: where it is, and which environment variable holds its key."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from urllib.parse import urlsplit

from pydantic import SecretStr

from llama_guard_core.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Host:
    """A host of models behind a chat-completions API.

    Attributes:
        name: what to call it in messages.
        base_url: the address that `/chat/completions` is appended to.
        api_key_env: the environment variable its key is read from, or None if it may do without one.
        default_headers: headers every request to it carries.
    """

    name: str
    base_url: str
    api_key_env: str | None = None
    default_headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def chat_completions_url(self) -> str:
        """Where completions are asked for; a query of the base address is kept."""
        address, question_mark, query = self.base_url.partition("?")
        return f"{address.rstrip('/')}/chat/completions{question_mark}{query}"


OPENROUTER = Host("OpenRouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY")


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
    address = base_url.strip()
    try:
        parts = urlsplit(address)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        msg = "base_url must be an http:// or https:// address, such as https://openrouter.ai/api/v1"
        raise ConfigurationError(msg)
    if parts.path.rstrip("/").endswith("/chat/completions"):
        msg = "base_url is the address before /chat/completions: leave that part out"
        raise ConfigurationError(msg)
    if parts.hostname == urlsplit(OPENROUTER.base_url).hostname:
        return Host(OPENROUTER.name, address, OPENROUTER.api_key_env)
    return Host(parts.hostname or address, address)


def api_key_for(host: Host, given: SecretStr | str | None) -> SecretStr | None:
    """The key to use: the one given, else the one in the host's environment variable.

    Raises:
        ConfigurationError: if the host needs a key and there is none, or it holds characters no header can carry.
    """
    key = given.get_secret_value() if isinstance(given, SecretStr) else given
    if key is None and host.api_key_env:
        key = os.environ.get(host.api_key_env)
    key = (key or "").strip()
    if not key and host.api_key_env:
        msg = f"{host.name} needs an API key: set {host.api_key_env} or pass api_key."
        raise ConfigurationError(msg)
    if not key.isascii() or not key.isprintable() or " " in key:
        msg = f"The API key for {host.name} holds characters that no key has: copy it again."
        raise ConfigurationError(msg)
    return SecretStr(key) if key else None
