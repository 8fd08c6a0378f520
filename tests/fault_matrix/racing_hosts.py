"""Hosts that close a kept connection at the very moment it is used again, each at another byte."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO

import httpx
from fake_provider import Answer
from fake_provider.server import LoopbackServer, _read_request

Reads = Callable[[socket.socket, BinaryIO], object]
"""What a host still does with a connection on which it has answered once, before it closes it."""
_ABORTS = struct.pack("ii", 1, 0)
_TIMED_OUT = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
"""What some balancers send, unasked, on a connection that they close because it was idle."""


def _head(reader: BinaryIO) -> None:
    while reader.readline().strip():
        pass


def _sees_it(connection: socket.socket, _: BinaryIO) -> None:
    connection.recv(1, socket.MSG_PEEK)


def _part_of_the_body(_: socket.socket, reader: BinaryIO) -> None:
    _head(reader)
    reader.read(10)


def _whole(_: socket.socket, reader: BinaryIO) -> None:
    _read_request(reader, "http://nowhere")


def _timed_out(connection: socket.socket, reader: BinaryIO) -> None:
    _sees_it(connection, reader)
    connection.sendall(_TIMED_OUT)


READS: dict[str, Reads] = {
    "as soon as it has answered": lambda *_: None,
    "with the next request unread": _sees_it,
    "behind the next request's first byte": lambda _, reader: reader.read(1),
    "in the next request's head": lambda _, reader: reader.read(40),
    "behind the next request's head": lambda _, reader: _head(reader),
    "in the next request's body": _part_of_the_body,
    "behind the next request": _whole,
    "with a 408, as the next request comes": _timed_out,
    "with a 408, as soon as it has answered": lambda connection, _: connection.sendall(_TIMED_OUT),
}
NAMES = tuple(f"{closes} {when}" for when in READS for closes in ("closed", "reset"))


class RacingServer(LoopbackServer):
    """Answers once on each connection, reads on as it is told, and closes or resets it."""

    def __init__(self, answer: Callable[[httpx.Request], Answer], reads: Reads, *, resets: bool) -> None:
        super().__init__(answer)
        self._reads = reads
        self._resets = resets

    def _serve(self, connection: socket.socket, reader: BinaryIO) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = _read_request(reader, self.origin)
        if request is None or not self._deliver(self._answer(request), connection):
            return
        self._reads(connection, reader)
        if self._resets:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORTS)


@contextmanager
def racing_hosts(answer: Callable[[httpx.Request], Answer]) -> Iterator[dict[str, RacingServer]]:
    """Serve them all, by `NAMES`."""
    with ExitStack() as stack:
        servers: dict[str, RacingServer] = {}
        for name in NAMES:
            closes, _, when = name.partition(" ")
            server = servers[name] = RacingServer(answer, READS[when], resets=closes == "reset")
            server.start()
            stack.callback(server.stop)
        yield servers
