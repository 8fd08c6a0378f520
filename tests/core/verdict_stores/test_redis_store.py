"""Verdicts on a server: what is true of every store, and what servers and connections add."""

from __future__ import annotations

import asyncio
import pickle
import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from core.verdict_stores.contract import ENTRY, KEY, NEWER, SECRETS, StoreContract, pickled
from core.verdict_stores.redis_server import PASSWORD, RedisServer
from pydantic import SecretStr

from llama_guard_core.errors import ConfigurationError
from llama_guard_core.verdict_stores import RedisStore

redis = pytest.importorskip("redis", reason="the package redis is not installed: pip install redis")

PATIENT = 20.0  # seconds; for tests in which nothing has to be given up


@pytest.fixture
def admin(redis_server: RedisServer) -> Iterator[Any]:
    """A plain client; what was on the server is gone."""
    with closing(redis.Redis.from_url(redis_server.url)) as client:
        client.flushall()
        yield client


class OnAServer:
    expires = True
    copies_share = True
    pickles = False  # the address has a password in it

    def __init__(self, url: str, admin: Any) -> None:
        self._url = url
        self._admin = admin

    def open(self) -> RedisStore:
        return RedisStore(self._url, timeout=PATIENT)

    def unreachable(self) -> RedisStore:
        return RedisStore(f"redis://:{PASSWORD}@127.0.0.1:9/0")

    def corrupt(self, key: str) -> None:
        self._admin.rpush(f"llama-guard:verdict:{key}", "a", "list")


class TestOverTcp(StoreContract):
    @pytest.fixture
    def kind(self, redis_server: RedisServer, admin: Any) -> OnAServer:
        return OnAServer(redis_server.url, admin)


class TestOverASocketFile(StoreContract):
    @pytest.fixture
    def kind(self, redis_server: RedisServer, admin: Any, socket_enabled: None) -> OnAServer:
        return OnAServer(redis_server.socket_url, admin)


class TestWithClientsThatDecode(StoreContract):
    @pytest.fixture
    def kind(self, redis_server: RedisServer, admin: Any) -> OnAServer:
        return OnAServer(f"{redis_server.url}?decode_responses=true", admin)


@pytest.fixture
def store(redis_server: RedisServer, admin: Any) -> Iterator[RedisStore]:
    with closing(RedisStore(redis_server.url, timeout=PATIENT)) as store:
        yield store


def test_names_begin_with_the_prefix_and_the_server_drops_what_is_too_old(store: RedisStore, admin: Any) -> None:
    store.put(KEY, ENTRY, max_age=60)
    name = f"llama-guard:verdict:{KEY}".encode()
    assert [name] == admin.keys()
    assert 59_000 < admin.pttl(name) <= 60_000


async def test_what_is_kept_for_ever_has_no_expiry(store: RedisStore, admin: Any) -> None:
    await store.aput(KEY, ENTRY, max_age=60)
    await store.aput(KEY, ENTRY, max_age=None)
    assert -1 == admin.pttl(f"llama-guard:verdict:{KEY}")
    await store.aclose()


def test_an_age_of_no_milliseconds_is_one(store: RedisStore) -> None:
    store.put(KEY, ENTRY, max_age=0.0)


def test_prefixes_keep_verdicts_apart(redis_server: RedisServer, store: RedisStore) -> None:
    with closing(RedisStore(redis_server.url, prefix="other:", timeout=PATIENT)) as other:
        store.put(KEY, ENTRY)
        assert other.get(KEY) is None


async def test_many_calls_share_a_bounded_number_of_connections(store: RedisStore, admin: Any) -> None:
    await asyncio.gather(*(store.aput(KEY, ENTRY) for _ in range(300)))
    assert len(admin.client_list()) - 1 <= 32
    await store.aclose()


async def test_a_call_that_is_cancelled_gives_nobody_its_answer(store: RedisStore) -> None:
    keys = [f"{number:064x}" for number in range(40)]
    for number, key in enumerate(keys):
        await store.aput(key, b"-\n%d" % number)
    for turns in range(12):
        cancelled = [asyncio.create_task(store.aget(key)) for key in keys]
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in cancelled:
            task.cancel()
        await asyncio.gather(*cancelled, return_exceptions=True)
        got = await asyncio.gather(*map(store.aget, keys))
        assert [b"-\n%d" % number for number in range(40)] == got
    await store.aclose()


async def test_a_server_that_comes_back_is_used_again(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    server.start()
    store = RedisStore(server.url, timeout=PATIENT)
    try:
        store.put(KEY, ENTRY)
        assert ENTRY == await store.aget(KEY)
        server.stop()
        with pytest.raises(ConnectionError):
            store.get(KEY)
        with pytest.raises(ConnectionError):
            await store.aget(KEY)
        server.start()
        store.put(KEY, NEWER)
        assert (NEWER, NEWER) == (store.get(KEY), await store.aget(KEY))
    finally:
        store.close()
        await store.aclose()
        server.stop()


async def test_a_server_that_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = RedisStore(f"redis://127.0.0.1:{silent.getsockname()[1]}", timeout=0.05)
        with pytest.raises(ConnectionError, match="TimeoutError"):
            store.get(KEY)
        with pytest.raises(ConnectionError, match="TimeoutError"):
            await asyncio.wait_for(store.aput(KEY, ENTRY), 30)
        store.close()
        await store.aclose()


async def test_a_server_that_quotes_the_password_is_not_quoted() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            writer.write(b"-ERR unknown command 'AUTH', with args beginning with: 'swordfish'\r\n" * 4)
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        store = RedisStore(f"redis://:{PASSWORD}@127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(ConnectionError) as failure:
            await store.aget(KEY)
        assert PASSWORD not in f"{failure.value!r}"
        assert failure.value.__context__ is None
        await store.aclose()


def test_a_wrong_password_is_told_by_its_kind_alone(redis_server: RedisServer) -> None:
    with closing(RedisStore(redis_server.url.replace(PASSWORD, "sesame"), timeout=PATIENT)) as store:
        with pytest.raises(ConnectionError, match="AuthenticationError") as failure:
            store.get(KEY)
        assert "sesame" not in f"{failure.value!r} {store!r}"


async def test_clients_of_ones_own_are_used_and_left_open(redis_server: RedisServer, admin: Any) -> None:
    async with redis.asyncio.Redis.from_url(redis_server.url) as own:
        store = RedisStore(client=admin, async_client=own, prefix="mine:")
        store.put(KEY, ENTRY)
        assert ENTRY == await store.aget(KEY)
        store.close()
        await store.aclose()
        assert [b"mine:" + KEY.encode()] == admin.keys() == await own.keys()


async def test_one_client_of_ones_own_serves_its_colour_only(admin: Any) -> None:
    store = RedisStore(client=admin)
    store.put(KEY, ENTRY)
    with pytest.raises(ConfigurationError, match="client= and async_client="):
        await store.aget(KEY)


def test_an_address_may_be_secret_already(redis_server: RedisServer, admin: Any) -> None:
    with closing(RedisStore(SecretStr(redis_server.url), timeout=PATIENT)) as store:
        store.put(KEY, ENTRY)
        assert ENTRY == store.get(KEY)


def test_without_an_address_or_a_client_it_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="address of a server"):
        RedisStore()


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_wrong_settings_are_refused(timeout: float) -> None:
    with pytest.raises(ConfigurationError, match="timeout"):
        RedisStore("redis://localhost", timeout=timeout)


@pytest.mark.parametrize(
    "url",
    [
        "swordfish",
        "http://:swordfish@localhost",
        "redis://:swordfish/@localhost",
        "redis://:1/swordfish@localhost",
        "redis://:12#swordfish@localhost",
        "redis://:12?swordfish@localhost",
        "redis://swordfish#@localhost",
        "redis://:[swordfish@localhost",
        "redis://localhost:swordfish",
        "redis://localhost?socket_timeout=swordfish",
    ],
)
def test_an_address_that_cannot_be_read_is_refused_and_not_quoted(url: str) -> None:
    with pytest.raises(ConfigurationError, match="percent-encode") as failure:
        RedisStore(url)
    assert "swordfish" not in f"{failure.value!r}"
    assert failure.value.__context__ is None


@pytest.mark.parametrize("secret", ["a%2Fb", "%3F%23%40%3A"])
def test_an_encoded_password_is_read(secret: str) -> None:
    RedisStore(f"redis://user:{secret}@localhost:6379/0?socket_timeout=1&client_name=a@b")


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name == "redis" or name.startswith("redis.")]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigurationError, match=r'pip install "llama-guardrails\[redis\]"'):
        RedisStore("redis://localhost")


def test_only_an_address_without_a_password_travels_in_a_pickle() -> None:
    assert b"somewhere" in pickle.dumps(RedisStore("redis://somewhere:6379/0"))
    for url in ("redis://:swordfish@somewhere", "redis://somewhere?password=swordfish"):
        sent = pickle.dumps(RedisStore(url))
        assert b"swordfish" not in sent
        with pytest.raises(ConfigurationError, match="holds no url with a password"):
            pickle.loads(sent).get(KEY)  # noqa: S301 (our own)


def test_a_constructor_connects_to_nothing() -> None:
    store = RedisStore("redis://:swordfish@127.0.0.1:9")
    pickled(store).close()
    assert not any(secret in repr(store) for secret in SECRETS)
