"""Pieces of bytes in, server-sent events out.

Ours instead of `httpx-sse`: it takes bytes as they come, bounds what it holds, strips a byte-order mark, lets no
keep-alive through as an empty event, and reads the recorded streams a tenth faster.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from llama_guard_core.errors import UnexpectedResponse

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_DEFAULT_MAX_EVENT_BYTES = 16 * 1024 * 1024


@dataclass(slots=True)
class ServerSentEvent:
    """One event that carries data.

    Attributes:
        data: its data lines, joined by a line feed.
        event: its name, or `""` where it has none.
    """

    data: str = field(repr=False)
    event: str = ""


class EventStreamDecoder:
    """Reads an event stream from pieces of any size, as the HTML standard describes it.

    Lines end in CR LF, LF or CR, in any mixture, and in nothing else (a U+2028 inside JSON splits no line). Comments
    and events without data are dropped, and so is a comment that a proxy has turned into data (`data: : OPENROUTER
    PROCESSING`). Bytes that are not UTF-8 become U+FFFD.

    Args:
        max_event_bytes: the most one event may hold before it is given up.
    """

    def __init__(self, max_event_bytes: int = _DEFAULT_MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._unended: list[bytes] = []
        self._unended_size = 0
        self._data: list[bytes] = []
        self._data_size = 0
        self._event = b""
        self._after_cr = False
        self._at_start = True

    def feed(self, piece: bytes) -> list[ServerSentEvent]:
        """Take the next piece of the body and return the events it completes.

        Raises:
            UnexpectedResponse: if an event is longer than the bound.
        """
        if self._after_cr and piece:
            self._after_cr = False
            piece = piece.removeprefix(b"\n")
        if b"\n" not in piece and b"\r" not in piece:
            self._hold(piece)
            return []
        if self._unended:
            self._unended.append(piece)
            piece = b"".join(self._unended)
            self._unended.clear()
        if b"\r" in piece:
            self._after_cr = piece.endswith(b"\r")
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = piece.split(b"\n")
        rest = lines.pop()
        events = self._read_lines(lines)
        self._unended_size = 0
        self._hold(rest)
        return events

    def end(self) -> list[ServerSentEvent]:
        """Say that the body has ended: a last event that lacks its blank line still counts."""
        last_line = b"".join(self._unended)
        self._unended.clear()
        self._unended_size = 0
        return self._read_lines([last_line, b""])

    def _hold(self, rest: bytes) -> None:
        if rest:
            self._unended.append(rest)
            self._unended_size += len(rest)
        self._check_size(self._unended_size)

    def _check_size(self, of_line: int) -> None:
        if self._data_size + of_line > self._max_event_bytes:
            msg = f"The host sent an event longer than {self._max_event_bytes} bytes. Nothing of it was used."
            raise UnexpectedResponse(msg, reason="malformed")

    def _read_lines(self, lines: list[bytes]) -> list[ServerSentEvent]:
        events = []
        for line in lines:
            if self._at_start:
                self._at_start = False
                line = line.removeprefix(_BYTE_ORDER_MARK)  # noqa: PLW2901 (only the first line can bear one)
            self._check_size(len(line))
            if line:
                self._read_field(line)
            elif self._data:
                events.append(self._complete_event())
            else:
                self._event = b""
        return events

    def _read_field(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data" and not value.startswith(b":"):
            self._data.append(value)
            self._data_size += len(line)  # all of it: lines without a value take room, too
        elif name == b"event":
            self._event = value

    def _complete_event(self) -> ServerSentEvent:
        data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        event = ServerSentEvent(
            data.decode("utf-8", "replace"), self._event.decode("utf-8", "replace") if self._event else ""
        )
        self._data.clear()
        self._data_size = 0
        self._event = b""
        return event
