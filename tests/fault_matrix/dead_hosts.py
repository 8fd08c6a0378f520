"""Addresses where no host is, each dead in its own way."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

_NOTHING_TO_LINGER_FOR = struct.pack("ii", 1, 0)


@contextmanager
def dead_hosts() -> Iterator[dict[str, str]]:
    """The addresses, by how they are dead."""
    with ExitStack() as stack:
        yield {
            "connection refused": f"http://{_where(stack.enter_context(_bound()))}",
            "reset at once": f"http://{stack.enter_context(_slamming(None))}",
            "no answer ever": f"http://{_where(stack.enter_context(_bound(backlog=64)))}",
            "connection never made": f"http://{stack.enter_context(_full())}",
            "TLS where there is none": f"https://{stack.enter_context(_slamming(b'HTTP/1.1 400 Bad Request'))}",
        }


def _where(listener: socket.socket) -> str:
    return f"127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def _bound(backlog: int | None = None) -> Iterator[socket.socket]:
    """A port that is taken, on which nobody listens, or nobody accepts."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if backlog is not None:
            listener.listen(backlog)
        yield listener


@contextmanager
def _full() -> Iterator[str]:
    """A port with so many waiting that one more is not answered."""
    with _bound(backlog=0) as listener, ExitStack() as waiting:
        for _ in range(2):
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                one.connect(listener.getsockname())
        yield _where(listener)


@contextmanager
def _slamming(last_words: bytes | None) -> Iterator[str]:
    """A port where whoever comes is told these words, or nothing, and thrown out."""
    listener = socket.create_server(("127.0.0.1", 0))
    stopping = threading.Event()

    def slam() -> None:
        while True:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                if stopping.is_set():
                    return
                if last_words:
                    connection.recv(1)
                    connection.sendall(last_words + b"\r\n\r\n")
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NOTHING_TO_LINGER_FOR)

    slammer = threading.Thread(target=slam)
    slammer.start()
    try:
        yield _where(listener)
    finally:
        stopping.set()
        socket.create_connection(listener.getsockname()).close()
        slammer.join()
        listener.close()
