"""The settings of a client: where to call, as whom, and how long to wait."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import SecretStr

from llama_guard_core.errors import ConfigurationError
from llama_guard_core.provider.hosts import OPENROUTER, Host, api_key_for

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where to call, as whom, and how patiently. Opens nothing.

    Attributes:
        host: the host. What it says itself of a key, timeouts and repetitions comes before what is said here.
        api_key: the key; None leaves it to the host's environment variable, which the first call reads.
        timeout: seconds, or finer (see `timeouts_from`).
        max_retries: repetitions of a failed call that is worth repeating; 0 means none. Never once text has been
            handed out.
        default_headers: sent with every request; they win over ours whatever their case.
    """

    host: Host = OPENROUTER
    api_key: SecretStr | None = None
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
    def api_key_known(self) -> SecretStr | None:
        """The key that requests carry, wherever it comes from: no error may quote it."""
        try:
            return api_key_for(self.host, self.api_key)
        except ConfigurationError:
            return None

    def request_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of every request: ours, the host's, the key, and the user's, which win whatever their case.

        Raises:
            ConfigurationError: if the host needs a key and none is to be found, or a header cannot be written.
        """
        host = self.host
        headers = {
            "accept": "application/json, text/event-stream",
            "accept-encoding": "gzip, deflate",
            "content-type": "application/json",
            "user-agent": _user_agent(),
            **_lower_case(host.default_headers),
        }
        users_own = _lower_case(self.default_headers)
        if "authorization" not in users_own and (key := api_key_for(host, self.api_key)) is not None:
            headers["authorization"] = f"Bearer {key.get_secret_value()}"
        return [(name.encode(), _checked(name, value)) for name, value in (headers | users_own).items()]


def _lower_case(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _checked(name: str, value: str) -> bytes:
    """The value in bytes. A wrong one is refused here: the HTTP library's own error would quote it."""
    if not _HEADER_NAME.fullmatch(name) or not value.isprintable():
        msg = f"The header {name!r} cannot be sent: its name or its value holds characters that headers must not hold."
        raise ConfigurationError(msg)
    return value.strip().encode()


def _user_agent() -> str:
    from llama_guard_core import __version__  # noqa: PLC0415 (the package imports this file)

    return f"llama-guardrails/{__version__}"
