"""The settings of a client: where to call, as whom, and how long to wait."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import SecretStr

from llama_guard_core.errors import ConfigurationError
from llama_guard_core.provider.forgotten_locals import LocalsForgotten
from llama_guard_core.provider.hosts import MADE_WHERE_USED, OPENROUTER, Host, api_key_for
from llama_guard_core.provider.local_secret import left_behind
from llama_guard_core.provider.private_headers import PrivateHeaders, PrivateValue, holds_a_key
from llama_guard_core.provider.secret_settings import hides_secrets

if TYPE_CHECKING:
    import httpx


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait, in seconds; None means for ever. Each attempt has these to itself.

    Attributes:
        connect: until a connection stands, and until one of the pool is free.
        read: until the next bytes come, and until our own are taken. Keep-alive padding counts as bytes.
        total: until a whole reply is there, which padding cannot prolong. A stream may last longer: there it is the
            longest time between two pieces of the reply; comments and events that say nothing are no pieces.
    """

    connect: float | None = 10.0
    read: float | None = 60.0
    total: float | None = 120.0

    def __post_init__(self) -> None:
        if any(seconds is not None and not seconds > 0 for seconds in (self.connect, self.read, self.total)):
            msg = "timeouts are seconds above 0, or None for no limit"
            raise ConfigurationError(msg)


DEFAULT_TIMEOUTS = Timeouts()
_NO_TIMEOUTS = Timeouts(None, None, None)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def timeouts_from(timeout: float | Timeouts | httpx.Timeout | None) -> Timeouts:
    """Read a `timeout` setting.

    Args:
        timeout: seconds for a whole reply (connecting and each read at most as long), `Timeouts`, httpx's own
            timeouts (which know no total), or None for no limit at all.
    """
    if timeout is None:
        return _NO_TIMEOUTS
    if isinstance(timeout, Timeouts):
        return timeout
    if isinstance(timeout, (int, float)):
        seconds = float(timeout)
        return Timeouts(min(seconds, DEFAULT_TIMEOUTS.connect or seconds), seconds, seconds)
    return Timeouts(timeout.connect, timeout.read, None)


def checked_deadline(seconds: float | None) -> float | None:
    """Seconds for all attempts together, or None for no end.

    Raises:
        ConfigurationError: if they are not above 0.
    """
    if seconds is not None and not seconds > 0:
        msg = "deadline is seconds above 0, or None for no end"
        raise ConfigurationError(msg)
    return seconds


@hides_secrets
@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where to call, as whom, and how patiently. Opens nothing; a pickle of it holds no key.

    Attributes:
        host: the host. What it says itself of a key, timeouts and repetitions comes before what is said here.
        api_key: the key; None leaves it to the host's environment variable, which the first call reads.
        timeout: seconds, or finer (see `timeouts_from`).
        max_retries: repetitions of a failed call that is worth repeating; 0 means none. Never once text has been
            handed out.
        default_headers: sent with every request; they win over ours whatever their case.
    """

    host: Host = OPENROUTER
    api_key: SecretStr | str | None = None
    timeout: float | Timeouts | httpx.Timeout | None = DEFAULT_TIMEOUTS
    max_retries: int = 2
    default_headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.max_retries < 0:
            msg = "max_retries must be 0 (none) or more"
            raise ConfigurationError(msg)
        for name in ("timeout", "max_retries"):
            if (own := getattr(self.host, name)) is not None:
                object.__setattr__(self, name, own)

    @property
    def secrets(self) -> list[SecretStr]:
        """The keys that requests carry, wherever they come from: no error may quote them."""
        found: list[SecretStr] = [*self._headers_of_host.secrets, *self._headers.secrets]
        try:
            key = self.key()
        except ConfigurationError:
            key = None
        return found if key is None else [*found, key]

    def key(self) -> SecretStr | None:
        """The key to send; None where there is none, or a header of the user's stands in its place.

        Raises:
            ConfigurationError: if the host needs a key and there is none.
        """
        if "authorization" in map(str.lower, self._headers):
            return None
        stayed = "authorization" in self._headers.left_behind | self._headers_of_host.left_behind
        return api_key_for(self.host, left_behind() if stayed and self.api_key is None else self.api_key)

    def request_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of every request: ours, the host's, the key, and the user's, which win whatever their case.

        Raises:
            ConfigurationError: if the host needs a key and none is to be found, or a header cannot be written.
        """
        with LocalsForgotten():
            return self._request_headers()

    def _request_headers(self) -> list[tuple[bytes, bytes]]:
        headers = {
            "accept": "application/json, text/event-stream",
            "accept-encoding": "gzip, deflate",
            "content-type": "application/json",
            "user-agent": _user_agent(),
            **_lower_case(self._headers_of_host),
        }
        if (key := self.key()) is not None:
            headers["authorization"] = f"Bearer {key.get_secret_value()}"
        headers |= _lower_case(self._headers)
        self._check_that_none_was_left_behind(headers)
        return [(name.encode(), _checked(name, value)) for name, value in headers.items()]

    @property
    def _headers(self) -> PrivateHeaders:
        return PrivateHeaders.of(self.default_headers)

    @property
    def _headers_of_host(self) -> PrivateHeaders:
        return PrivateHeaders.of(self.host.default_headers)

    def _check_that_none_was_left_behind(self, headers: Mapping[str, str]) -> None:
        stayed = sorted((self._headers.left_behind | self._headers_of_host.left_behind).difference(headers))
        if stayed:
            msg = f"a copy made by pickle holds no header {stayed[0]!r}, which may hold a key: {MADE_WHERE_USED}"
            raise ConfigurationError(msg)


def _lower_case(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _checked(name: str, value: str) -> bytes:
    """The value in bytes. A wrong one is refused here: the HTTP library's own error would quote it."""
    if not _HEADER_NAME.fullmatch(name) or not value.isprintable():
        msg = f"The header {name!r} cannot be sent: its name or its value holds characters that headers must not hold."
        raise ConfigurationError(msg)
    written = value.strip().encode()
    return PrivateValue(written) if holds_a_key(name) else written


def _user_agent() -> str:
    from llama_guard_core import __version__  # noqa: PLC0415 (the package imports this file)

    return f"llama-guardrails/{__version__}"
