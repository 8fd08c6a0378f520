"""Verdicts on a Redis server, for all processes that reach it."""

from __future__ import annotations

import sys
from functools import partial
from importlib import import_module
from threading import Lock
from typing import Any, Protocol
from urllib.parse import urlsplit

from pydantic import SecretStr

from llama_guard_core.errors import ConfigurationError
from llama_guard_core.provider.forgotten_locals import LocalsForgotten
from llama_guard_core.provider.local_secret import LocalSecret, local_secret
from llama_guard_core.provider.loop_pools import LoopPools

_CONNECTIONS = 32


class RedisClient(Protocol):
    """What is asked of a client of one's own: `redis.Redis`, `redis.asyncio.Redis` or one of a cluster."""

    def get(self, name: str, /) -> Any:
        """The value under a name; awaited where the client is async."""

    def set(self, name: str, value: bytes, /, *, px: int | None = None) -> Any:
        """Keep a value for so many milliseconds; awaited where the client is async."""


class RedisStore:
    """Keeps the entries of a `VerdictCache` on a Redis server, or on one that speaks its protocol.

    The first call connects, and at most 32 connections are open at once, for sync calls and for each event loop.
    Nothing is tried twice. Each step of a call (a free connection, connecting, an answer) has `timeout` to itself, so
    a server that cannot be reached costs a question about twice that, once to look and once to keep. It needs
    `pip install "llama-guardrails[redis]"`.

    How many entries are kept is the server's business: give it `maxmemory` and an eviction policy such as
    `allkeys-lru`. Where others may write to the server, give the cache a `secret`: they decide verdicts without one.

    Args:
        url: `redis://[user]:password@host:port/0`, `rediss://` for TLS, or `unix:///path?db=0`. What its query says of
            timeouts comes before `timeout`. A pickle holds no url with a password: the copy's calls fail.
        client: a client of your own for sync calls. It is not closed here.
        async_client: a client of your own for async calls, of one event loop. It is not closed here.
        prefix: what names on the server begin with.
        timeout: seconds for each step of a call, of the clients that are opened here.

    Raises:
        ConfigurationError: a setting is wrong, or the package `redis` is not installed.

    Example:
        ```python
        guard = LlamaGuard(cache=VerdictCache(store=RedisStore("redis://localhost:6379/0")))
        ```
    """

    def __init__(
        self,
        url: str | SecretStr | None = None,
        *,
        client: RedisClient | None = None,
        async_client: RedisClient | None = None,
        prefix: str = "llama-guard:verdict:",
        timeout: float = 0.25,
    ) -> None:
        url = _kept(url)
        if not timeout > 0:
            msg = "timeout is seconds: above 0"
            raise ConfigurationError(msg)
        self._url = url
        if url is not None:
            _check(url)
        elif client is None and async_client is None:
            msg = 'RedisStore needs the address of a server, such as RedisStore("redis://localhost:6379/0")'
            raise ConfigurationError(msg)
        self._client, self._async_client = client, async_client
        self.prefix = prefix
        self.timeout = timeout
        self._opened: Any = None
        self._lock = Lock()
        self._pools: LoopPools[Any] = LoopPools(partial(self._open, "redis.asyncio"))

    def get(self, key: str) -> bytes | None:
        """The entry kept under a key; None if there is none.

        Raises:
            ConnectionError: the server could not be reached or did not do it. It quotes nothing.
        """
        with LocalsForgotten():
            try:
                return _entry(self._sync().get(self.prefix + key))
            except _failures() as error:
                failed = _told(error)
        raise failed

    async def aget(self, key: str) -> bytes | None:
        """The entry kept under a key; None if there is none. Raises what `get` raises."""
        with LocalsForgotten():
            try:
                return _entry(await (await self._async()).get(self.prefix + key))
            except _failures() as error:
                failed = _told(error)
        raise failed

    def put(self, key: str, entry: bytes, *, max_age: float | None = None) -> None:
        """Keep an entry, in place of an older one, for `max_age` seconds at most. Raises what `get` raises."""
        failed: Exception | None = None
        with LocalsForgotten():
            try:
                self._sync().set(self.prefix + key, entry, px=_milliseconds(max_age))
            except _failures() as error:
                failed = _told(error)
        if failed is not None:
            raise failed

    async def aput(self, key: str, entry: bytes, *, max_age: float | None = None) -> None:
        """Keep an entry, in place of an older one, for `max_age` seconds at most. Raises what `get` raises."""
        failed: Exception | None = None
        with LocalsForgotten():
            try:
                await (await self._async()).set(self.prefix + key, entry, px=_milliseconds(max_age))
            except _failures() as error:
                failed = _told(error)
        if failed is not None:
            raise failed

    def close(self) -> None:
        """Close the connections for sync calls. The next call opens new ones."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    async def aclose(self) -> None:
        """Close the running loop's connections. The next call opens new ones; those of other loops are theirs."""
        await self._pools.aclose()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(prefix={self.prefix!r}, timeout={self.timeout})"

    def __reduce__(self) -> tuple[Any, ...]:
        settings: dict[str, Any] = {"prefix": self.prefix, "timeout": self.timeout}
        settings |= {"client": self._client, "async_client": self._async_client}
        return partial(type(self), **settings), (self._url,)

    def _sync(self) -> RedisClient:
        if self._client is not None:
            return self._client
        with self._lock:
            if self._opened is None:
                self._opened = self._open("redis")
            client: RedisClient = self._opened
            return client

    async def _async(self) -> RedisClient:
        if self._async_client is not None:
            return self._async_client
        client: RedisClient = await self._pools.client()
        return client

    def _open(self, module: str) -> Any:
        """A client that has connected to nothing yet."""
        if self._url is None:
            msg = "RedisStore was given one client only: give it an url, or client= and async_client="
            raise ConfigurationError(msg)
        if isinstance(self._url, LocalSecret) and self._url.is_left_behind:
            msg = "a copy of a RedisStore made by pickle holds no url with a password: make the store where it is used"
            raise ConfigurationError(msg)
        redis, retry = import_module(module), import_module(f"{module}.retry")
        waits = {"timeout": self.timeout, "socket_timeout": self.timeout}
        if not self._url.get_secret_value().startswith("unix:"):  # redis-py 5 has no such wait for socket files
            waits["socket_connect_timeout"] = self.timeout
        never_again = retry.Retry(import_module("redis.backoff").NoBackoff(), 0)
        return redis.Redis.from_pool(
            redis.BlockingConnectionPool.from_url(
                self._url.get_secret_value(), max_connections=_CONNECTIONS, retry=never_again, **waits
            )
        )


def _kept(url: str | SecretStr | None) -> SecretStr | None:
    """The address. One with a password stays in this process; any other may travel in a pickle."""
    secret = local_secret(url)
    if secret is None or secret.is_left_behind or _holds_password(secret):
        return secret
    return SecretStr(secret.get_secret_value())


def _holds_password(url: SecretStr) -> bool:
    text = url.get_secret_value()
    return "@" in text or "password" in text.lower()


def _check(url: SecretStr) -> None:
    if isinstance(url, LocalSecret) and url.is_left_behind:
        return
    try:
        connection = import_module("redis.connection")
    except ImportError as error:
        msg = 'RedisStore needs the package redis: pip install "llama-guardrails[redis]"'
        raise ConfigurationError(msg) from error
    if not _is_readable(url, connection.parse_url):
        # Not quoted and not chained: what is wrong may be the password.
        msg = (
            "RedisStore's url cannot be read: write redis://, rediss:// or unix://, "
            "and percent-encode / ? # @ and : in the password (%2F %3F %23 %40 %3A)"
        )
        raise ConfigurationError(msg)


def _is_readable(url: SecretStr, parse: Any) -> bool:
    """Whether all of it stands where it belongs: a bare # or / in a password makes a host's name of its beginning."""
    try:
        parse(url.get_secret_value())
        parts = urlsplit(url.get_secret_value())
    except ValueError:
        return False
    return parts.scheme == "unix" or "@" not in parts.path + parts.fragment + parts.query.partition("=")[0]


def _failures() -> tuple[type[Exception], ...]:
    """What the library raises. This is looked up when something was raised: the library is loaded, or it was not it."""
    library = sys.modules.get("redis.exceptions")
    return (OSError,) if library is None else (library.RedisError, OSError)


def _told(error: Exception) -> ConnectionError:
    """The same without its text: a server that does not know AUTH quotes the password in its answer."""
    return ConnectionError(f"Redis did not do it ({type(error).__name__}): see its address, password and log")


def _entry(value: Any) -> bytes | None:
    if isinstance(value, str):  # a client that decodes answers
        return value.encode()
    return value if isinstance(value, bytes) else None


def _milliseconds(max_age: float | None) -> int | None:
    return None if max_age is None else max(1, round(max_age * 1000))
