"""Fake hosts beside each other, which one http client reaches by the names of their machines."""

from __future__ import annotations

from typing import Any

import httpx
from fake_provider import FakeProvider

from llama_guard_core.provider.hosts import Host

KEYS = {"one": "key-of-one-0123456789", "two": "key-of-two-0123456789", "three": "key-of-three-0123456789"}


class SeveralHosts:
    """Hosts that are called one, two and three; one that is `None` refuses the connection.

    Attributes:
        asked: the names of the hosts in the order they were asked.
        keys: the keys that came with the requests, by host.
    """

    def __init__(self, *providers: FakeProvider | None) -> None:
        self.providers = dict(zip(KEYS, providers, strict=False))
        self.asked: list[str] = []
        self.keys: dict[str, set[str]] = {}

    def handle(self, request: httpx.Request) -> httpx.Response:
        name = request.url.host.removesuffix(".test")
        self.asked.append(name)
        self.keys.setdefault(name, set()).add(request.headers.get("authorization", ""))
        provider = self.providers[name]
        if provider is None:
            msg = "connection refused"
            raise httpx.ConnectError(msg, request=request)
        return provider.handle(request)

    def hosts(self, **settings: Any) -> list[Host]:
        """A record for each, with its key, asked once unless `settings` say more."""
        return [
            Host(name=name, base_url=f"http://{name}.test/api/v1", api_key=KEYS[name], **{"max_retries": 0, **settings})
            for name in self.providers
        ]

    def clients(self) -> dict[str, Any]:
        """The two clients that reach them without a socket, as a model takes them."""
        transport = httpx.MockTransport(self.handle)
        return {
            "http_client": httpx.Client(transport=transport),
            "http_async_client": httpx.AsyncClient(transport=transport),
        }
