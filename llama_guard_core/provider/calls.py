"""What a call is made of and when it is repeated: all that the sync and the async client share."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping
from math import inf
from typing import Any

import httpx

from llama_guard_core.errors import ConfigurationError, ProviderError
from llama_guard_core.provider.circuit_breaker import check_closed, count_attempt
from llama_guard_core.provider.connection import DEFAULT_TIMEOUTS, Connection, timeouts_from
from llama_guard_core.provider.deadlines import Until
from llama_guard_core.provider.endpoints import Endpoint
from llama_guard_core.provider.failures import failure
from llama_guard_core.provider.private_texts import withholding
from llama_guard_core.provider.responses import StreamedReply, WholeReply
from llama_guard_core.provider.retry_policy import RetryPolicy
from llama_guard_core.provider.transport_failures import transport_failure

_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
AnyClient = httpx.Client | httpx.AsyncClient | httpx.BaseTransport | httpx.AsyncBaseTransport
"""A user's client, or a transport of ours: merging headers, cookies and redirects is a third of a small call's cost."""


class Calls:
    """The calls to one host; knows nothing of waiting.

    Args:
        connection: where to call, as whom, how patiently.
        http_client: the user's own client, if there is one.
        retry_policy: instead of the usual one with `connection.max_retries`.
    """

    def __init__(
        self,
        connection: Connection,
        http_client: httpx.Client | httpx.AsyncClient | None,
        retry_policy: RetryPolicy | None,
    ) -> None:
        self._connection = connection
        self._retry_policy = retry_policy or RetryPolicy(max_retries=connection.max_retries)
        self._timeouts = timeouts_from(connection.timeout)
        self._is_users_client = http_client is not None
        self._known: dict[Endpoint[Any], tuple[httpx.URL, _Headers]] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._connection.host.name!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy opens connections of its own; one made by pickle has no key but what its environment has."""
        if self._is_users_client:
            msg = "a client that was given an http client cannot be copied: that one belongs to where it was opened"
            raise TypeError(msg)
        return _made_again, (type(self), self._connection, self._retry_policy)

    def _built(
        self, client: AnyClient, endpoint: Endpoint[Any], body: bytes | None, until: float | None
    ) -> httpx.Request:
        url, headers = self._known.get(endpoint) or self._where(endpoint)
        method = endpoint.method or ("GET" if body is None else "POST")
        if isinstance(client, httpx.Client | httpx.AsyncClient):
            if client.is_closed:
                msg = "The http client that was passed in is closed: pass an open one, or none."
                raise ConfigurationError(msg)
            timeout = self._httpx_timeout(until)
            return client.build_request(method, url, content=body, headers=headers, timeout=timeout)
        sent = headers.copy()
        if body is not None:
            sent["content-length"] = str(len(body))
        stream, timeouts = httpx.ByteStream(body or b""), {"timeout": self._steps_that_end(until)}
        request = httpx.Request(method, url, stream=stream, headers=sent, extensions=timeouts)
        request.read()  # so that who mocks httpx's transports finds its content
        return request

    def _where(self, endpoint: Endpoint[Any]) -> tuple[httpx.URL, _Headers]:
        host = self._connection.host
        url, headers = httpx.URL(host.url_of(endpoint.path)), _Headers(self._connection.request_headers())
        headers.setdefault("host", url.netloc.decode("ascii"))
        found = url, headers
        if host.server is None:  # a server of this process has another port each time it is started
            self._known[endpoint] = found
        return found

    def _httpx_timeout(self, until: float | None) -> Any:
        """The connection's timeouts, unless they are the defaults beside a user's client, which has its own."""
        if not self._is_users_client:
            return httpx.Timeout(**self._steps_that_end(until))
        if self._connection.timeout is DEFAULT_TIMEOUTS:
            return httpx.USE_CLIENT_DEFAULT
        return httpx.Timeout(**self._steps(until))

    def _steps_that_end(self, until: float | None) -> dict[str, float | None]:
        """Seconds for each step of a call, and when the call as a whole has to be done."""
        deadline, steps = self._deadline(until), self._steps(until)
        ends = {seconds: Until(inf if seconds is None else seconds, deadline) for seconds in set(steps.values())}
        waits = {name: _until(steps[name], deadline) for name in ("connect", "pool")}
        return {"read": ends[steps["read"]], "write": ends[steps["write"]], **waits}

    def _steps(self, until: float | None) -> dict[str, float | None]:
        """Seconds for each step of a call, by httpx's names."""
        given = self._connection.timeout
        if isinstance(given, httpx.Timeout):
            return given.as_dict()
        known = [seconds for seconds in (self._timeouts.read, self._timeouts.total) if seconds is not None]
        left = inf if until is None else max(0.0, until - time.monotonic())
        step, connect = min([*known, left]), min(self._timeouts.connect or inf, left)
        read, wait = _finite(step), _finite(connect)
        return {"connect": wait, "read": read, "write": read, "pool": wait}

    def _deadline(self, until: float | None) -> float | None:
        """When one attempt has to be done, by the clock, where the whole has to be done by `until`."""
        ends = [] if self._timeouts.total is None else [time.monotonic() + self._timeouts.total]
        return min([*ends, *([] if until is None else [until])], default=None)

    def _wait_before(
        self,
        attempt: int,
        failed: ProviderError | None,
        *,
        until: float | None = None,
        begun: bool = False,
    ) -> float:
        """Seconds to wait before an attempt.

        Args:
            attempt: the first is 1.
            failed: what the one before it failed with.
            until: when all of it has to be done, by the clock.
            begun: whether something of the reply was handed out already.

        Raises:
            ProviderError: what it failed with, where it is not to be repeated or there is no time to.
        """
        if failed is None:
            return 0.0
        jitter = random.random()  # noqa: S311 (no secret)
        wait = None if begun else self._retry_policy.wait_before_retry(attempt - 1, failed, jitter)
        if wait is None or (until is not None and time.monotonic() + wait >= until):
            raise failed
        return wait

    def _told(self, error: ProviderError, request: Mapping[str, Any]) -> ProviderError:
        """What an attempt failed with, fit to be seen: it stands among our variables until it is raised."""
        told = withholding(error, request, self._connection.secrets)
        count_attempt(self._connection.host.circuit_breaker, told)
        return told

    def _succeeded(self) -> None:
        count_attempt(self._connection.host.circuit_breaker, None)

    def _turn(self, until: float | None) -> float:
        """Seconds until it is our turn, by the host's `pace`.

        Raises:
            ProviderUnavailable: if the host's circuit breaker is open.
            RateLimited: if that is longer than a host that asks for patience would be waited for.
        """
        host, patience = self._connection.host, self._retry_policy.longest_retry_after
        check_closed(host.circuit_breaker, host.name)
        if host.pace is None:
            return 0.0
        within = patience if until is None else min(patience, until - time.monotonic())
        if (wait := host.pace.turn(within)) is None:
            raise failure(reason="rate_limit", said=f"{host.name}: its pace, set here, is used up", retryable=False)
        return wait

    def _whole(self, response: httpx.Response, deadline: float | None) -> WholeReply:
        return WholeReply(response.status_code, response.headers, deadline)

    def _streamed(self, response: httpx.Response) -> StreamedReply:
        return StreamedReply(response.status_code, response.headers, self._timeouts.total)

    def _transport_failure(self, error: httpx.HTTPError) -> ProviderError:
        return transport_failure(error, self._connection.host.name)


class _Headers(httpx.Headers):
    """Headers that are kept for the next request; their values are in no `repr`."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self)})"


def _made_again(kind: type[Calls], connection: Connection, retry_policy: RetryPolicy) -> Calls:
    return kind(connection, http_client=None, retry_policy=retry_policy)


def serialised(request: Mapping[str, Any]) -> bytes:
    """The request as JSON.

    Raises:
        ConfigurationError: if it holds something that JSON cannot.
    """
    try:
        text = _JSON.encode(request)
    except (TypeError, ValueError) as error:
        msg = f"The request cannot be written as JSON: {error}."
        raise ConfigurationError(msg) from None
    return text.encode("utf-8", "replace")


def _until(seconds: float | None, deadline: float | None) -> float | None:
    """A wait as the end of the call leaves it."""
    left = inf if deadline is None else max(0.0, deadline - time.monotonic())
    wait = min(inf if seconds is None else seconds, left)
    return None if wait == inf else Until(wait, deadline)


def _finite(seconds: float) -> float | None:
    return None if seconds == inf else seconds
