"""Pictures are fetched from where their address was checked to lead, whole or not at all."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import itertools
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from certified_server import NAME, certified_server

from llama_guard_core.errors import GuardUnavailable
from llama_guard_core.guardrail.images import ImageRules
from llama_guard_core.guardrail.verdict import Stage
from llama_guard_core.messages import Image
from llama_guard_core.provider.http_pools import shared_ssl_context
from llama_guard_core.provider.image_fetch import afetch_image, fetch_image

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(64))
JPEG, GIF, WEBP = b"\xff\xd8\xff\xe0" + bytes(9), b"GIF89a" + bytes(9), b"RIFF\x11\x00\x00\x00WEBPVP8L"
Fetches = Callable[..., Awaitable[Image]]


class PictureServer:
    """Writes what it is told on each connection of this machine, at the pace it is told."""

    def __init__(self) -> None:
        self.pieces: Iterable[bytes] = ()
        self.pause = 0.0
        self.hangs = False
        self.tls: ssl.SSLContext | None = None
        self.requests: list[bytes] = []
        self.connections = 0
        self.was_left = threading.Event()
        self._connection: socket.socket | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def stop(self) -> None:
        if self._stopping.is_set():
            return
        self._stopping.set()
        with contextlib.suppress(OSError):
            if self._connection is not None:
                self._connection.shutdown(socket.SHUT_RDWR)
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                if self._stopping.is_set():
                    return
                self.connections += 1
                self._connection = connection
                connection.settimeout(10)  # a client that waits for ever fails its test, and does not stop them all
                with contextlib.suppress(OSError):
                    self._attend(connection)
            self.was_left.set()

    def _attend(self, connection: socket.socket) -> None:
        if self.tls is not None:
            with self.tls.wrap_socket(connection, server_side=True) as secured:
                self._serve(secured)
        else:
            self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            if not (received := connection.recv(65536)):
                return
            request += received
        self.requests.append(request)
        for piece in self.pieces:
            connection.sendall(piece)
            if self._stopping.wait(self.pause):
                return
        if self.hangs:
            connection.recv(1)


class Resolver:
    """Stands in for the system's name lookup: some names have answers, the last of which stays."""

    def __init__(self, real: Callable[..., Any]) -> None:
        self._real = real
        self.answers: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []

    def __call__(self, host: str | bytes, port: int, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name not in self.answers:
            return self._real(host, port, *args, **kwargs)
        self.asked.append(name)
        answers = self.answers[name]
        ips = answers.pop(0) if len(answers) > 1 else answers[0]
        if not ips:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        kinds = [socket.AF_INET6 if ":" in ip else socket.AF_INET for ip in ips]
        return [(kind, socket.SOCK_STREAM, 6, "", (ip, port)) for kind, ip in zip(kinds, ips, strict=True)]


@pytest.fixture
def server() -> Iterator[PictureServer]:
    server = PictureServer()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    resolver = Resolver(socket.getaddrinfo)
    resolver.answers[NAME] = [["127.0.0.1"]]
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    return resolver


@pytest.fixture(params=["sync", "async"])
def fetch(request: pytest.FixtureRequest, server: PictureServer) -> Fetches:
    """Fetches a picture from the server, by a name that is listed and may be private."""

    async def fetched(target: str = "/a.png", *, host: str = NAME, scheme: str = "http", **settings: Any) -> Image:
        allowed = {"allowed_hosts": (f"{host}:{server.port}",), "private_addresses": True, "http": True}
        rules = ImageRules(**{"urls": "fetch", "timeout": 5.0, **allowed, **settings})
        image = Image(f"{scheme}://{host}:{server.port}{target}")
        if request.param == "sync":
            return fetch_image(image, rules, Stage.TOOL_RESULT)
        return await afetch_image(image, rules, Stage.TOOL_RESULT)

    return fetched


async def failing(fetching: Awaitable[Image]) -> str:
    """Why nothing was fetched; never with a word of the address or of what came."""
    with pytest.raises(GuardUnavailable) as caught:
        await fetching
    error = caught.value
    assert Stage.TOOL_RESULT is error.stage
    said = f"{error} {error!r} {vars(error)} {error.__cause__!r} {error.__context__!r}"
    assert [] == [word for word in ("walnut", ".test", "127.0.0.1", "a.png", "PNG") if word in said]
    return error.reason


def answer(body: bytes = PNG, *lines: str, status: int = 200, length: int | None = None) -> bytes:
    said = [f"HTTP/1.1 {status} ", f"content-length: {len(body) if length is None else length}", *lines, "", ""]
    return "\r\n".join(said).encode() + body


@pytest.mark.parametrize(
    ("kind", "content"), [("image/png", PNG), ("image/jpeg", JPEG), ("image/gif", GIF), ("image/webp", WEBP)]
)
@pytest.mark.parametrize(
    "said", ["{}", "{}; charset=utf-8", "IMAGE/PNG", "application/octet-stream", "binary/octet-stream", ""]
)
async def test_a_picture_becomes_data_of_the_type_it_has(
    fetch: Fetches, server: PictureServer, kind: str, content: bytes, said: str
) -> None:
    server.pieces = [answer(content, f"content-type: {said.format(kind)}")]
    assert f"data:{kind};base64,{base64.b64encode(content).decode()}" == (await fetch()).url


async def test_it_is_asked_for_by_name_and_without_anything_of_ours(
    fetch: Fetches, server: PictureServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """No proxy, no login and no cookie of the environment has a part in it."""
    (tmp_path / ".netrc").write_text(f"machine {NAME} login me password walnut")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    server.pieces = [answer(PNG, "set-cookie: a=b")]
    await fetch("/a/../b%20c.png?size=1&b=@#part")
    await fetch("?b")
    first, *headers = server.requests[0].decode().strip().split("\r\n")
    assert ("GET /a/../b%20c.png?size=1&b=@ HTTP/1.1", b"GET /?b HTTP/1.1") == (
        first,
        server.requests[1].partition(b"\r")[0],
    )
    sent = dict(line.lower().split(": ", 1) for line in headers)
    assert {"host", "accept", "accept-encoding", "user-agent", "connection"} == sent.keys()
    assert (f"{NAME}:{server.port}", "identity", True) == (
        sent["host"], sent["accept-encoding"], sent["user-agent"].startswith("llama-guardrails/"),
    )  # fmt: skip


@pytest.mark.parametrize(
    "line", ["content-type: text/html", "content-type: image/svg+xml", "content-encoding: gzip", "content-encoding: br"]
)
async def test_what_is_declared_as_something_else_is_not_judged(
    fetch: Fetches, server: PictureServer, line: str
) -> None:
    server.pieces = [answer(PNG, line)]
    assert "not_judgeable" == await failing(fetch())


@pytest.mark.parametrize("content", [b"", b"<svg/>", b"<html>walnut", b"%PDF-1.7", gzip.compress(PNG), PNG[:7]])
async def test_what_is_something_else_is_not_judged(fetch: Fetches, server: PictureServer, content: bytes) -> None:
    server.pieces = [answer(content, "content-type: image/png")]
    assert "not_judgeable" == await failing(fetch())


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (204, "not_judgeable"), (206, "not_judgeable"), (300, "not_judgeable"), (401, "not_judgeable"), (403, "not_judgeable"),
        (404, "not_found"), (410, "not_found"), (429, "not_judgeable"), (500, "server"), (503, "server"),
    ],
)  # fmt: skip
async def test_a_picture_comes_with_status_200_alone(
    fetch: Fetches, server: PictureServer, status: int, reason: str
) -> None:
    server.pieces = [answer(PNG, status=status)]
    assert reason == await failing(fetch())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(fetch: Fetches, server: PictureServer, status: int) -> None:
    server.pieces = [answer(PNG, f"location: http://127.0.0.1:{server.port}/b.png", status=status)]
    with pytest.raises(GuardUnavailable, match="redirects are not followed") as caught:
        await fetch(allowed_hosts=(f"{NAME}:{server.port}", f"127.0.0.1:{server.port}"))
    assert ("not_judgeable", 1) == (caught.value.reason, server.connections)


CHUNKED = b"HTTP/1.1 200 \r\ntransfer-encoding: chunked\r\n\r\n"
TO_THE_END = b"HTTP/1.1 200 \r\ncontent-type: image/png\r\n\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        [answer(PNG * 2)],
        [TO_THE_END, PNG * 2],
        [CHUNKED, *[b"%x\r\n%s\r\n" % (len(PNG), PNG)] * 2, b"0\r\n\r\n"],
    ],
    ids=["by its length", "to the end", "in chunks"],
)
async def test_a_picture_of_more_than_max_bytes_is_not_judged(
    fetch: Fetches, server: PictureServer, pieces: Any
) -> None:
    server.pieces = pieces
    assert "too_large" == await failing(fetch(max_bytes=len(PNG)))
    server.pieces = [TO_THE_END, PNG]
    assert (await fetch(max_bytes=len(PNG))).url.endswith(base64.b64encode(PNG).decode())


async def test_reading_stops_where_a_picture_is_too_large(fetch: Fetches, server: PictureServer) -> None:
    server.pieces = itertools.chain([TO_THE_END, PNG], itertools.repeat(bytes(100_000)))
    assert "too_large" == await failing(fetch(max_bytes=1_000_000))
    assert server.was_left.wait(5)


@pytest.mark.parametrize(
    "pieces",
    [[], [b"walnut\r\n\r\n"], [b"HTTP/1.1 200 \r\n"], [answer(PNG, length=999)], [CHUNKED, b"5\r\nabc"], [b"a" * 200_000], [answer(PNG, "a b")]],
    ids=["nothing", "no HTTP", "half a head", "half a body", "half a chunk", "endless head", "broken header"],
)  # fmt: skip
async def test_a_picture_that_breaks_off_is_not_judged(fetch: Fetches, server: PictureServer, pieces: Any) -> None:
    server.pieces = pieces
    assert "cut" == await failing(fetch())


@pytest.mark.parametrize(
    "pieces",
    [
        [],
        [bytes([letter]) for letter in b"HTTP/1.1 200 \r\nx-padding: " + b"x" * 500],
        [TO_THE_END, PNG, *[b"x"] * 500],
        [b"HTTP/1.1 100 \r\n\r\n"] * 500,
    ],
    ids=["silence", "a trickle of headers", "a trickle of bytes", "nothing but promises"],
)
async def test_the_time_limit_holds_for_the_whole(fetch: Fetches, server: PictureServer, pieces: Any) -> None:
    server.pieces, server.pause, server.hangs = pieces, 0.02, True
    assert "timeout" == await failing(fetch(timeout=0.3))
    assert server.was_left.wait(5)


async def test_a_silent_handshake_ends_in_time_too(fetch: Fetches, server: PictureServer) -> None:
    """The server waits for the end of a request in plain HTTP, and the client for its certificate."""
    assert "timeout" == await failing(fetch(scheme="https", timeout=0.3))
    assert server.was_left.wait(5)


async def test_a_host_that_is_unknown_is_no_connection(fetch: Fetches, resolver: Resolver) -> None:
    resolver.answers[NAME] = [[]]
    assert "connection" == await failing(fetch())


async def test_a_host_that_is_away_is_no_connection(fetch: Fetches, server: PictureServer) -> None:
    server.stop()
    assert "connection" == await failing(fetch())


@pytest.mark.parametrize(
    "ips", [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["127.0.0.1", "8.8.8.8"], ["::1"], ["::ffff:127.0.0.1"], ["64:ff9b::7f00:1"], ["fe80::1%1"]]
)  # fmt: skip
async def test_a_name_that_stands_for_a_private_address_is_never_connected_to(
    fetch: Fetches, server: PictureServer, resolver: Resolver, ips: list[str]
) -> None:
    resolver.answers[NAME] = [ips]
    server.pieces = [answer()]
    assert "not_judgeable" == await failing(fetch(private_addresses=False))
    assert (0, [NAME]) == (server.connections, resolver.asked)


@pytest.mark.parametrize(
    "settings",
    [
        {"http": False},
        {"urls": "refuse"},
        {"allowed_hosts": None},
        {"allowed_hosts": ("other.test",)},
        {"host": "127.0.0.1", "private_addresses": False},
    ],
    ids=str,
)
async def test_what_the_rules_refuse_is_not_even_looked_up(
    fetch: Fetches, server: PictureServer, resolver: Resolver, settings: dict[str, Any]
) -> None:
    assert "not_judgeable" == await failing(fetch(**settings))
    assert (0, []) == (server.connections, resolver.asked)


async def test_a_name_is_looked_up_once_and_connected_to_as_it_was_then(
    fetch: Fetches, server: PictureServer, resolver: Resolver
) -> None:
    """Whoever answers a second lookup otherwise is not asked one."""
    resolver.answers[NAME] = [["127.0.0.1"], ["8.8.8.8"]]
    server.pieces = [answer()]
    await fetch()
    assert (1, [NAME]) == (server.connections, resolver.asked)


async def test_a_name_that_is_private_only_after_the_check_is_not_followed_there(
    fetch: Fetches, resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialled: list[str] = []

    def connect(_: socket.socket, address: tuple[Any, ...]) -> None:
        dialled.append(address[0])
        raise ConnectionRefusedError

    resolver.answers[NAME] = [["8.8.8.8", "1.1.1.1"], ["127.0.0.1"]]
    with monkeypatch.context() as patched:
        patched.setattr(socket.socket, "connect", connect)
        assert "connection" == await failing(fetch(private_addresses=False))
    assert (["8.8.8.8", "1.1.1.1"], [NAME]) == (dialled, resolver.asked)


@pytest.mark.allow_hosts(["127.0.0.1", "127.0.0.2"])
async def test_the_next_address_is_tried_where_one_does_not_answer(
    fetch: Fetches, server: PictureServer, resolver: Resolver
) -> None:
    resolver.answers[NAME] = [["127.0.0.2", "127.0.0.1"]]
    server.pieces = [answer()]
    assert (await fetch()).url.startswith("data:image/png")


@pytest.fixture
def certified(server: PictureServer, tmp_path: Path) -> Iterator[Path]:
    """The server has a certificate for its name; its file is given."""
    server.tls, certificate = certified_server(tmp_path)
    server.pieces = [answer()]
    yield certificate
    shared_ssl_context.cache_clear()


@pytest.fixture
def trusted(certified: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certified))
    shared_ssl_context.cache_clear()


@pytest.mark.usefixtures("trusted")
async def test_a_certificate_is_one_for_the_name_and_not_for_the_ip_address(
    fetch: Fetches, server: PictureServer
) -> None:
    assert (await fetch(scheme="https", http=False)).url.startswith("data:image/png")
    assert (await fetch(scheme="https", host=f"{NAME}.")).url.startswith("data:image/png")
    assert [f"host: {NAME}:{server.port}".encode()] * 2 == [it.lower().split(b"\r\n")[1] for it in server.requests]


@pytest.mark.usefixtures("trusted")
@pytest.mark.parametrize("host", ["other.test", "127.0.0.1"])
async def test_a_certificate_for_another_name_is_no_connection(
    fetch: Fetches, server: PictureServer, resolver: Resolver, host: str
) -> None:
    resolver.answers["other.test"] = [["127.0.0.1"]]
    assert "connection" == await failing(fetch(scheme="https", host=host))
    assert (1, []) == (server.connections, server.requests)


@pytest.mark.usefixtures("certified")
async def test_a_certificate_that_nobody_vouches_for_is_no_connection(fetch: Fetches, server: PictureServer) -> None:
    shared_ssl_context.cache_clear()
    assert "connection" == await failing(fetch(scheme="https"))
    assert (1, []) == (server.connections, server.requests)


async def test_a_fetch_can_be_cancelled(server: PictureServer) -> None:
    server.hangs = True
    rules = ImageRules(urls="fetch", private_addresses=True, http=True, allowed_hosts=(f"{NAME}:{server.port}",))
    fetching = asyncio.create_task(afetch_image(Image(f"http://{NAME}:{server.port}/"), rules))
    while not server.requests:  # noqa: ASYNC110 (it is another thread that is waited for)
        await asyncio.sleep(0.001)
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching
    assert server.was_left.wait(5)
