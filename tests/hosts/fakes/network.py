"""Several hosts behind one client, each at its own address."""

from __future__ import annotations

import httpx

from .fake_host import FakeHost


class Network:
    """Brings each request to the host at its address; there is nobody anywhere else.

    Args:
        *hosts: who is reached.
    """

    def __init__(self, *hosts: FakeHost) -> None:
        self.hosts = hosts

    def handle(self, request: httpx.Request) -> httpx.Response:
        """Answer a request without a socket."""
        for host in self.hosts:
            at = httpx.URL(host.base_url)
            if (at.host, at.port) == (request.url.host, request.url.port):
                return host.handle(request)
        msg = f"a request to a host that nobody named: {request.url.host}"
        raise AssertionError(msg)

    def clients(self) -> dict[str, httpx.Client | httpx.AsyncClient]:
        """The two settings of a guard that lead here."""
        transport = httpx.MockTransport(self.handle)
        return {
            "http_client": httpx.Client(transport=transport),
            "http_async_client": httpx.AsyncClient(transport=transport),
        }

    def complaints(self) -> list[str]:
        """Every rule that a request broke, and every field that a host left out in silence."""
        return [problem for host in self.hosts for problem in (*host.violations, *host.left_out)]
