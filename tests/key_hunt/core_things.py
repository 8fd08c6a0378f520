"""What the core makes: guards, hosts, clients, caches. Each has been used before it is looked at."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from key_hunt.keys import KEY
from llama_guard_core import Host, LlamaGuard, Policy, VerdictCache
from llama_guard_core.provider.chat_clients import AsyncChatClients, ChatClients
from llama_guard_core.provider.connection import Connection
from llama_guard_core.provider.known_hosts import chosen_hosts
from llama_guard_core.self_test.chat_probes import achat_self_test, chat_self_test
from llama_guard_core.verdict_stores.redis_store import RedisStore
from llama_guard_core.verdict_stores.sqlite_store import SQLiteStore

Settings = dict[str, Any]
REQUEST = {"model": "meta-llama/llama-4-scout", "messages": [{"role": "user", "content": "Hello"}]}
RAISING = Policy(on_no_verdict="raise")
PATIENCE = 0.1
"""Seconds."""


def quick(settings: Settings, **more: Any) -> Settings:
    """The settings, without repetitions and for hosts that do not answer."""
    return {**settings, "max_retries": 0, "timeout": PATIENCE, **more}


def connections(settings: Settings) -> list[Connection]:
    """What a guard with these settings makes of them."""
    hosts = chosen_hosts(settings.get("host"), settings.get("base_url"))
    key, headers = settings.get("api_key"), settings.get("default_headers") or {}
    key = SecretStr(key) if isinstance(key, str) else key
    return [Connection(host=each, api_key=key, default_headers=headers, timeout=1.0, max_retries=0) for each in hosts]


def used_things(settings: Settings) -> dict[str, Any]:
    """Everything that has the key, after calls that went well."""
    guard = LlamaGuard(**settings, max_retries=0)
    guard.check("Hello")
    asyncio.run(guard.acheck("Hello again"))
    several = connections(settings)
    clients, aclients = ChatClients(several), AsyncChatClients(several)
    clients.complete(REQUEST)
    asyncio.run(_used(aclients))
    return {
        "LlamaGuard": guard,
        "Host": several[0].host,
        "Connection": several[0],
        "GuardClients": guard._clients,
        "ChatClient": clients._clients[0],
        "AsyncChatClient": aclients._clients[0],
        "ChatClients": clients,
        "AsyncChatClients": aclients,
        "a guard under another policy": guard.with_policy(Policy(hazards={"S6": "flag"})),
    }


async def _used(clients: AsyncChatClients) -> None:
    await clients.complete(REQUEST)
    await clients.aclose()


def close(things: dict[str, Any]) -> None:
    """Close what sync calls have opened."""
    for thing in things.values():
        with suppress(AttributeError):
            thing.close()


@contextmanager
def stored_verdicts(url: str, name: str = "mine") -> Iterator[tuple[dict[str, Any], Callable[[], bytes]]]:
    """Verdict caches, used, with the key as their secret or as a password; and what is stored on disk.

    Args:
        url: where the guard is.
        name: of the host, which entries have in them.
    """
    with tempfile.TemporaryDirectory() as folder:
        signed = VerdictCache(store=SQLiteStore(Path(folder) / "verdicts.db"), secret=KEY)
        redis = RedisStore(f"redis://someone:{KEY}@127.0.0.1:9/0", timeout=0.05)
        on_redis = VerdictCache(store=redis, secret=SecretStr(KEY))
        for cache in (signed, on_redis):
            host = Host(name=name, base_url=url, api_key=KEY, guard_model="meta-llama/llama-guard-4-12b")
            with LlamaGuard(host=host, max_retries=0, cache=cache) as guard:
                guard.check("Hello")
                asyncio.run(guard.acheck("Hello again"))
        yield (
            {"VerdictCache(secret=)": signed, "RedisStore(url)": redis, "VerdictCache on RedisStore": on_redis},
            lambda: b"".join(path.read_bytes() for path in Path(folder).iterdir()),
        )
        signed.store.close()  # type: ignore[union-attr]


def failing_calls(settings: Settings) -> dict[str, Callable[[], Any]]:
    """Calls of the core, each of which fails while its host does."""
    guard = LlamaGuard(**quick(settings), cache=False)
    several = connections(quick(settings))
    clients, aclients = ChatClients(several), AsyncChatClients(several)

    async def streamed() -> None:
        async for _ in aclients.stream(REQUEST):
            pass

    return {
        "LlamaGuard.check": lambda: guard.check("Hello"),
        "LlamaGuard.acheck": lambda: guard.acheck("Hello"),
        "ChatClients.stream": lambda: list(clients.stream(REQUEST)),
        "AsyncChatClients.stream": streamed,
    }


def through_a_client_of_ones_own(settings: Settings) -> dict[str, Callable[[], Any]]:
    """The same through HTTP clients of the user's, which log each request."""
    for_one_call = httpx.Limits(max_keepalive_connections=0)  # each has an event loop of its own
    clients = {"http_client": httpx.Client(), "http_async_client": httpx.AsyncClient(limits=for_one_call)}
    guard = LlamaGuard(**quick(settings), cache=False, **clients)
    return {
        "LlamaGuard.check, client of one's own": lambda: guard.check("Hello"),
        "LlamaGuard.acheck, client of one's own": lambda: guard.acheck("Hello"),
    }


def waiting_calls(settings: Settings) -> dict[str, Callable[[], Any]]:
    """Async calls that are repeated after a while."""
    guard = LlamaGuard(**settings, max_retries=1, cache=False)
    clients = AsyncChatClients([replace(each, max_retries=1) for each in connections(settings)])

    async def streamed() -> None:
        async for _ in clients.stream(REQUEST):
            pass

    return {"LlamaGuard.acheck": lambda: guard.acheck("Hello"), "AsyncChatClients.stream": streamed}


WRONG: dict[str, Callable[[], Any]] = {
    "LlamaGuard, unknown host": lambda: LlamaGuard(api_key=KEY, host="nowhere"),
    "LlamaGuard, unknown host, headers": lambda: LlamaGuard(default_headers={"X-Api-Key": KEY}, host="nowhere"),
    "LlamaGuard, one key for two hosts": lambda: LlamaGuard(api_key=KEY, host=["openrouter", "together"]),
    "LlamaGuard, max_retries": lambda: LlamaGuard(api_key=SecretStr(KEY), max_retries=-1),
    "LlamaGuard, max_retries, headers": lambda: LlamaGuard(default_headers={"Cookie": KEY}, max_retries=-1),
    "Host, address": lambda: Host(name="mine", base_url="nowhere", api_key=KEY),
    "Host, headers": lambda: Host(name="mine", base_url="nowhere", default_headers={"X-Api-Key": KEY}),
    "Host.named, address": lambda: Host.named("together", base_url="nowhere", api_key=KEY),
    "Host.named, setting": lambda: Host.named("together", api_key=KEY, nothing=1),
    "Host.named, headers": lambda: Host.named("nobody", default_headers={"X-Api-Key": KEY}),
    "Connection, headers": lambda: Connection(default_headers={"X-Api-Key": KEY}, max_retries=-1),
    "a key that cannot be sent": lambda: LlamaGuard(api_key=f"{KEY} {KEY}").check("Hello"),
    "a key that cannot be sent, of a host": lambda: LlamaGuard(
        host=Host(name="mine", base_url="http://127.0.0.1:9/v1", api_key=f"{KEY}\u20ac"),
        model="meta-llama/llama-guard-4-12b",
    ).check("Hello"),
    "a header that cannot be sent": lambda: LlamaGuard(
        default_headers={"Authorization": f"Bearer {KEY}\n"},
        base_url="http://127.0.0.1:9/v1",
        model="meta-llama/llama-guard-4-12b",
    ).check("Hello"),
    "a header beside the key that cannot be sent": lambda: LlamaGuard(
        api_key=KEY, default_headers={"X-Title": "\n"}
    ).check("Hello"),
    "chat_self_test, two hosts": lambda: chat_self_test(host=["openrouter", "together"], api_key=KEY),
    "achat_self_test, two hosts": lambda: achat_self_test(host=["openrouter", "together"], api_key=KEY),
    "RedisStore, timeout": lambda: RedisStore(f"redis://:{KEY}@localhost", timeout=0),
    "RedisStore, address": lambda: RedisStore(f"redis://:{KEY}/#@localhost"),
    "RedisStore, no server": lambda: RedisStore(f"redis://:{KEY}@127.0.0.1:9/0", timeout=0.05).get("key"),
    "RedisStore, no server, async": lambda: RedisStore(f"redis://:{KEY}@127.0.0.1:9/0", timeout=0.05).aget("key"),
}
"""Settings that are refused, at once or by the first call, while the key stands beside what is wrong."""
