"""What httpx raises, in this package's words."""

from __future__ import annotations

import httpx

from llama_guard_core.errors import FailureReason, ProviderError
from llama_guard_core.provider.failures import failure
from llama_guard_core.provider.host_messages import scrubbed

# The first that fits holds.
_FAILURES: tuple[tuple[type[httpx.HTTPError], FailureReason, str], ...] = (
    (httpx.ConnectTimeout, "timeout", "no connection was made in time"),
    (httpx.PoolTimeout, "timeout", "no connection became free in time"),
    (httpx.TimeoutException, "timeout", "nothing came for too long"),
    (httpx.LocalProtocolError, "invalid_request", "a header cannot be written as HTTP"),
    (httpx.DecodingError, "malformed", "its compression is broken"),
    (httpx.HTTPError, "cut", "the connection was closed"),
)


def transport_failure(error: httpx.HTTPError, host_name: str) -> ProviderError:
    """The typed error for a call that did not get through.

    It is returned, not raised, so that it can be raised outside the `except` clause: httpx's errors hold the request,
    and with it the key and the text.
    """
    if isinstance(error, (httpx.ConnectError, httpx.ProxyError, httpx.UnsupportedProtocol)):
        return failure(reason="connection", said=f"{host_name}: {scrubbed(str(error))}")
    reason, said = next((reason, said) for kind, reason, said in _FAILURES if isinstance(error, kind))
    return failure(reason=reason, said=f"{host_name}: {said}")
