"""A picture given by address, fetched: with one request, from an IP address that was checked, and from nowhere else.

httpcore, httpx's own wire layer, is used by itself: it knows nothing of redirects, cookies, proxies, `.netrc` or
compression, and lets a connection go to an address that was looked up before. Each fetch has a connection of its own:
one that is kept would outlive the check of its address.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Sequence
from math import inf
from time import monotonic
from typing import Any

import httpcore
from typing_extensions import Self

from llama_guard_core.errors import FailureReason, GuardUnavailable
from llama_guard_core.guardrail.images import ImageRules
from llama_guard_core.guardrail.picture_addresses import PictureAddress
from llama_guard_core.guardrail.verdict import Stage
from llama_guard_core.messages import Image
from llama_guard_core.provider.deadlines import DeadlineStream, Until, moving_on_at
from llama_guard_core.provider.http_pools import shared_ssl_context

_OK, _REDIRECTS, _SERVER_FAILS = 200, range(300, 400), 500
_BY_STATUS: dict[int, FailureReason] = {404: "not_found", 410: "not_found"}
# The first that fits holds.
_FAILURES: tuple[tuple[type[Exception], FailureReason, str], ...] = (
    (TimeoutError, "timeout", "was not there in time: allow more with timeout"),
    (httpcore.TimeoutException, "timeout", "was not there in time: allow more with timeout"),
    (socket.gaierror, "connection", "has an address whose host is unknown"),
    (httpcore.ConnectError, "connection", "has an address whose host cannot be reached, or has no certificate for it"),
    (httpcore.NetworkError, "cut", "broke off"),
    (httpcore.ProtocolError, "cut", "broke off, or came as no HTTP"),
    (OSError, "connection", "cannot be fetched from here"),
)
_CAUGHT = tuple(kind for kind, _, _ in _FAILURES)
_NOT_CONNECTED = (httpcore.ConnectError, httpcore.ConnectTimeout)


def fetch_image(image: Image, rules: ImageRules, stage: Stage | None = None, *, until: float | None = None) -> Image:
    """Fetch a picture that is given by address.

    Looking up the host takes the time that the system's resolver takes, and is counted but not cut short.

    Args:
        image: the picture, by address.
        rules: what may be fetched, from where and for how long.
        stage: what is judged, for the error.
        until: when it has to be there, by the monotonic clock, if that is before the rules' `timeout` ends.

    Returns:
        The picture as a `data:` URL.

    Raises:
        GuardUnavailable: if it may not be fetched, cannot be, or is not a picture by the rules.
    """
    address, deadline = rules.address_of(image, stage), _deadline(rules, until)
    # Each step may take as long as is left of the whole, so that a trickle ends too.
    steps = {"timeout": dict.fromkeys(("connect", "read", "write"), Until(inf, deadline))}
    try:
        ips = _reachable(socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM), rules, stage)
        with (
            _Pinned(ips, deadline) as network,
            httpcore.ConnectionPool(shared_ssl_context(), network_backend=network) as pool,
            pool.stream("GET", _url(address), headers=_headers(address, rules), extensions=steps) as response,
        ):
            picture = _ArrivingPicture(response, rules, stage)
            for piece in response.iter_stream():
                picture.receive(piece)
        return picture.image()
    except _CAUGHT as error:
        failed = _failure(error, stage)
    raise failed  # here, where no context holds an error that names the host


async def afetch_image(
    image: Image, rules: ImageRules, stage: Stage | None = None, *, until: float | None = None
) -> Image:
    """Fetch a picture that is given by address; see `fetch_image`. Here looking up the host is cut short too."""
    import anyio  # noqa: PLC0415 (sync users need not pay for it)

    address, deadline = rules.address_of(image, stage), _deadline(rules, until)
    failed = _failure(TimeoutError(), stage)
    with moving_on_at(deadline):
        try:
            ips = _reachable(await anyio.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM), rules, stage)
            async with (
                _AsyncPinned(ips, deadline) as network,
                httpcore.AsyncConnectionPool(shared_ssl_context(), network_backend=network) as pool,
                pool.stream("GET", _url(address), headers=_headers(address, rules)) as response,
            ):
                picture = _ArrivingPicture(response, rules, stage)
                async for piece in response.aiter_stream():
                    picture.receive(piece)
            return picture.image()
        except _CAUGHT as error:
            failed = _failure(error, stage)
    raise failed


def _deadline(rules: ImageRules, until: float | None) -> float:
    in_time = monotonic() + rules.timeout
    return in_time if until is None else min(in_time, until)


def _reachable(found: Iterable[tuple[Any, ...]], rules: ImageRules, stage: Stage | None) -> list[str]:
    """The IP addresses of a host, each of which may be reached: a name that stands for others too is not trusted."""
    ips = list(dict.fromkeys(str(socket_address[0]) for *_, socket_address in found))
    if not all(map(rules.may_reach, ips)):
        msg = "a picture's address is in a private network: set private_addresses=True if that is meant"
        raise GuardUnavailable(msg, reason="not_judgeable", stage=stage)
    return ips


def _url(address: PictureAddress) -> httpcore.URL:
    return httpcore.URL(
        scheme=address.scheme.encode(), host=address.host.encode(), port=address.port, target=address.target.encode()
    )


def _headers(address: PictureAddress, rules: ImageRules) -> list[tuple[bytes | str, bytes | str]]:
    from llama_guard_core import __version__  # noqa: PLC0415 (the package imports this file)

    return [
        ("host", address.authority),
        ("accept", ", ".join(rules.media_types)),
        ("accept-encoding", "identity"),
        ("user-agent", f"llama-guardrails/{__version__}"),
        ("connection", "close"),
    ]


def _failure(error: Exception, stage: Stage | None) -> GuardUnavailable:
    reason, said = next((reason, said) for kind, reason, said in _FAILURES if isinstance(error, kind))
    return GuardUnavailable(f"a picture {said}", reason=reason, stage=stage)


class _ArrivingPicture:
    """What has come of a picture, and whether any more of it is wanted."""

    def __init__(self, response: httpcore.Response, rules: ImageRules, stage: Stage | None) -> None:
        self._rules, self._stage = rules, stage
        self._headers = {name.lower(): value.decode("latin-1") for name, value in response.headers}
        self._content = bytearray()
        self._check_status(response.status)
        if self._headers.get(b"content-encoding", "identity").lower() != "identity":
            msg = "a picture came compressed, though that was not asked for: give it as data"
            raise GuardUnavailable(msg, reason="not_judgeable", stage=stage)

    def receive(self, piece: bytes) -> None:
        """Take the next bytes.

        Raises:
            GuardUnavailable: `too_large`.
        """
        self._content += piece
        if len(self._content) > self._rules.max_bytes:
            msg = f"a picture is larger than max_bytes, {self._rules.max_bytes}, and is not judged"
            raise GuardUnavailable(msg, reason="too_large", stage=self._stage)

    def image(self) -> Image:
        """The whole of it, checked by the rules for all pictures."""
        return self._rules.as_data(bytes(self._content), self._headers.get(b"content-type"), self._stage)

    def _check_status(self, status: int) -> None:
        if status in _REDIRECTS:
            msg = "a picture is elsewhere by now, and redirects are not followed: give its own address"
            raise GuardUnavailable(msg, reason="not_judgeable", stage=self._stage)
        if status != _OK:
            msg = f"a picture was not given by its host (status {status}): check its address, or give it as data"
            reason = _BY_STATUS.get(status) or ("server" if status >= _SERVER_FAILS else "not_judgeable")
            raise GuardUnavailable(msg, reason=reason, stage=self._stage)


class _Pinned(httpcore.NetworkBackend):
    """Connects to IP addresses that were checked, whatever the name stands for by now, and until a deadline only.

    It closes the connection by itself: httpcore leaves one open whose handshake was broken off.
    """

    def __init__(self, ips: Sequence[str], deadline: float) -> None:
        self._ips, self._deadline = ips, deadline
        self._backend = httpcore.SyncBackend()
        self._opened: httpcore.NetworkStream | None = None

    def connect_tcp(self, host: str, port: int, *_: Any, **__: Any) -> httpcore.NetworkStream:  # noqa: ARG002
        """Connect to the first of the addresses that answers."""
        failed: Exception | None = None
        for ip, seconds in _attempts(self._ips, self._deadline):
            try:
                self._opened = self._backend.connect_tcp(ip, port, seconds)
            except _NOT_CONNECTED as error:  # noqa: PERF203 (one address after another)
                failed = error
            else:
                return DeadlineStream(self._opened)
        raise failed or httpcore.ConnectError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._opened is not None:
            self._opened.close()


class _AsyncPinned(httpcore.AsyncNetworkBackend):
    """The same for async code, where a deadline cancels whatever goes on."""

    def __init__(self, ips: Sequence[str], deadline: float) -> None:
        self._ips, self._deadline = ips, deadline
        self._backend = httpcore.AnyIOBackend()
        self._opened: httpcore.AsyncNetworkStream | None = None

    async def connect_tcp(self, host: str, port: int, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:  # noqa: ARG002
        """Connect to the first of the addresses that answers."""
        failed: Exception | None = None
        for ip, seconds in _attempts(self._ips, self._deadline):
            try:
                self._opened = await self._backend.connect_tcp(ip, port, seconds)
            except _NOT_CONNECTED as error:  # noqa: PERF203 (one address after another)
                failed = error
            else:
                return self._opened
        raise failed or httpcore.ConnectError

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        import anyio  # noqa: PLC0415 (as above)

        if self._opened is not None:
            with anyio.CancelScope(shield=True):
                await self._opened.aclose()


def _attempts(ips: Sequence[str], deadline: float) -> Iterator[tuple[str, float]]:
    """The addresses, each with its share of the seconds that are left: the first may be one that never answers."""
    for number, ip in enumerate(ips):
        yield ip, _left(deadline) / (len(ips) - number)


def _left(deadline: float) -> float:
    """The seconds that are left."""
    seconds = deadline - monotonic()
    if seconds <= 0:
        raise httpcore.ReadTimeout
    return seconds
