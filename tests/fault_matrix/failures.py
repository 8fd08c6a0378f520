"""A row of the matrix: one way for a host to fail, and what may come of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from fake_provider import Answer, Fault, Reply
from fake_provider.answers import to_json
from fake_provider.rendering import Rendering

SAFE = "\n\nsafe"
UNSAFE = "\n\nunsafe\nS9"
PACE = 0.06
"""Seconds between the pieces of what trickles: within the time a read may take."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One way to fail.

    Attributes:
        name: what goes wrong.
        family: what kind of thing that is.
        fault: what the host does; `None` where there is no host to do it.
        may_be_read: whether a tolerant client may still read the answer, which then says `unsafe`. Else it says `safe`,
            and a client that reads it shows what nobody judged.
        is_heavy: whether it takes so many bytes that one way to ask for each attach point is enough.
        dead_host: which dead host is asked instead.
    """

    name: str
    family: str
    fault: Fault | None = None
    may_be_read: bool = False
    is_heavy: bool = False
    dead_host: str | None = None

    def __str__(self) -> str:
        return self.name

    def of(self, reply: Reply) -> Fault:
        """The fault, as it becomes of a reply of the test's own."""
        fault = self.fault
        assert fault is not None
        return Fault(self.name, lambda rendering, _: fault.spoil(rendering, reply))

    @property
    def as_guard(self) -> Fault:
        """The fault of a guard's host."""
        return self.of(Reply(UNSAFE if self.may_be_read else SAFE))


def rows(family: str, faults: Iterable[Fault], *, may_be_read: bool = False, is_heavy: bool = False) -> list[Failure]:
    """Rows of one family, by the faults' own names."""
    return [Failure(fault.name, family, fault, may_be_read=may_be_read, is_heavy=is_heavy) for fault in faults]


def body(name: str, content: bytes | Callable[[bytes], bytes], **headers: str) -> Fault:
    """Answer with status 200 and another body: these bytes, or what a function makes of the right ones."""

    def spoil(rendering: Rendering, reply: Reply) -> Answer:
        right = to_json(rendering.completion(reply))
        sent = content if isinstance(content, bytes) else content(right)
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return Answer(200, {"content-type": "application/json", **named}, (sent,))

    return Fault(name, spoil)


def message(name: str, change: Callable[[dict[str, object], dict[str, object]], object]) -> Fault:
    """Answer with a completion in which something was changed, given its choice and that one's message."""

    def spoil(rendering: Rendering, reply: Reply) -> Answer:
        whole = rendering.completion(reply)
        change(whole["choices"][0], whole["choices"][0]["message"])
        return rendering.plain_answer(whole)

    return Fault(name, spoil)


_LONGEST_NAME = 40


def says(text: str | None, **settings: object) -> Fault:
    """Answer with this text as the verdict."""
    said = (
        repr(text)
        if text is None or len(text) <= _LONGEST_NAME
        else f"{text[:_LONGEST_NAME]!r} and on, {len(text)} characters"
    )
    return Fault.reply(f"says {said}", replace(Reply(text), **settings))
