"""The same host behind a real socket of this machine, for everything that only a connection can get wrong."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterable
from typing import BinaryIO

import httpx

from .answers import ENDLESS_PAUSE, LAST_CHUNK, Answer, chunk_of, head_of

_REQUEST_END = (b"\r\n", b"\n", b"")


class LoopbackServer:
    """Serves answers over HTTP/1.1 on a free port: keep-alive, chunked bodies, a thread for each connection.

    It stops at once, whatever its connections are in the middle of.
    """

    def __init__(self, answer: Callable[[httpx.Request], Answer]) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._changed = threading.Condition()
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._stopping = threading.Event()
        self._acceptor = threading.Thread(target=self._accept)
        self.connections_made = 0
        self.origin = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def start(self) -> None:
        """Begin to accept connections."""
        self._acceptor.start()

    def stop(self) -> None:
        """Break every connection and wait until all threads have ended."""
        self._stopping.set()
        # Only a caller wakes a thread that accepts, on every system.
        socket.create_connection(self._listener.getsockname()).close()
        self._acceptor.join()
        self._listener.close()
        with self._changed:
            threads = list(self._connections.values())
            for connection in self._connections:
                _hang_up(connection)
        for thread in threads:
            thread.join()

    def hang_up(self) -> None:
        """Break every connection, and go on accepting new ones."""
        with self._changed:
            for connection in self._connections:
                _hang_up(connection)

    @property
    def connections_open(self) -> int:
        """How many connections are open on this side."""
        with self._changed:
            return len(self._connections)

    def wait_for_connections(self, count: int, *, within: float) -> bool:
        """Wait at most `within` seconds until that many connections are open; tells whether they are."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._connections) == count, within)

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self._stopping.is_set():
                connection.close()
                return
            thread = threading.Thread(target=self._attend, args=(connection,))
            with self._changed:
                self._connections[connection] = thread
                self.connections_made += 1
                self._changed.notify_all()
                thread.start()

    def _attend(self, connection: socket.socket) -> None:
        try:
            # A client that goes away in the middle is an everyday event for a host.
            with contextlib.suppress(OSError), connection, connection.makefile("rb") as reader:
                self._serve(connection, reader)
        finally:
            with self._changed:
                del self._connections[connection]
                self._changed.notify_all()

    def _serve(self, connection: socket.socket, reader: BinaryIO) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while (request := _read_request(reader, self.origin)) is not None:
            if not self._deliver(self._answer(request), connection):
                return

    def _deliver(self, answer: Answer, connection: socket.socket) -> bool:
        """Write an answer; tells whether the connection can be used again."""
        head = head_of(answer)
        if answer.wire:
            self._write(answer, answer.wire, answer.filler, connection)
        elif answer.reach != "body":
            connection.sendall(head[: len(head) // 2] if answer.reach == "half_head" else b"")
        else:
            connection.sendall(head)
            pieces = map(chunk_of, filter(None, answer.pieces))
            self._write(answer, pieces, chunk_of(answer.filler), connection)
            connection.sendall(LAST_CHUNK if answer.then == "complete" else b"")
        if answer.then == "stall":
            connection.recv(1)
        if answer.then == "reset":
            # With nothing to linger for, closing a socket sends a reset and no proper end.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return answer.then == "complete"

    def _write(self, answer: Answer, pieces: Iterable[bytes], filler: bytes, connection: socket.socket) -> None:
        for piece in pieces:
            self._stopping.wait(answer.pause)
            connection.sendall(piece)
        while answer.then == "endless" and not self._stopping.wait(answer.pause or ENDLESS_PAUSE):
            connection.sendall(filler)


def _hang_up(connection: socket.socket) -> None:
    """Wake the thread that waits on a connection; closing it alone would not."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _read_request(reader: BinaryIO, origin: str) -> httpx.Request | None:
    """Read one request, or `None` when the client has hung up."""
    request_line = reader.readline().decode("latin-1").split()
    if not request_line:
        return None
    method, target, _ = request_line
    headers = httpx.Headers(_header_lines(iter(reader.readline, None)))
    content = reader.read(int(headers.get("content-length", "0")))
    return httpx.Request(method, origin + target, headers=headers, content=content)


def _header_lines(lines: Iterable[bytes]) -> list[tuple[str, str]]:
    found = []
    for line in lines:
        if line in _REQUEST_END:
            break
        name, _, value = line.decode("latin-1").partition(":")
        found.append((name, value.strip()))
    return found
