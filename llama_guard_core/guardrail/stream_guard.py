"""StreamGuard: withholds a streamed reply until a verdict covers it.

```
              receive(chunk)                 the end of the reply
  collecting ───────────────► collecting ───────────────────────► judging
                                                                   │   │
             finished ◄── released, in order ◄── safe ─────────────┘   └─► halted
```

A state machine without I/O: whoever drives it asks `next_event`, does what it says and reports back.
It is generic in the chunk: it passes a framework's own chunk objects on untouched. Telling it what it did not
ask for, a chunk after a halt or a verdict too early, raises `RuntimeError`.

The reply is held whole and judged once, when it has ended. Where the policy judges nothing of a
reply, its chunks pass through as they come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from llama_guard_core.errors import GuardUnavailable
from llama_guard_core.guardrail.policy import Allow, Decision, Policy, Refuse
from llama_guard_core.guardrail.screening import Check, enforced, judges_replies, reply_check
from llama_guard_core.guardrail.verdict import Verdict
from llama_guard_core.messages import Conversation, Message

C = TypeVar("C")
E = TypeVar("E", "NeedChunk", "NeedVerdict")


@dataclass(frozen=True, slots=True)
class NeedChunk:
    """Read the next chunk of the reply and hand it to `receive`; at the end of the reply, call `end`."""


@dataclass(frozen=True, slots=True)
class NeedVerdict:
    """Put this question to the guard, then call `judge` or `cannot_judge`."""

    check: Check


@dataclass(frozen=True, slots=True)
class Release(Generic[C]):
    """Show these chunks; `decision` says why they may be shown."""

    chunks: tuple[C, ...] = field(repr=False)
    decision: Allow


@dataclass(frozen=True, slots=True)
class Halted:
    """Stop reading. What was withheld is gone; show the refusal."""

    decision: Refuse


@dataclass(frozen=True, slots=True)
class Finished:
    """The reply has ended and all of it was released."""


StreamEvent = NeedChunk | NeedVerdict | Release[C] | Halted | Finished


class StreamGuard(Generic[C]):
    """The machine that guards one streamed reply.

    Args:
        policy: what is judged and what follows.
        conversation: what the reply answers.
        read: turns the chunks received so far into the message they make up.
    """

    def __init__(self, policy: Policy, conversation: Conversation, read: Callable[[Sequence[C]], Message]) -> None:
        self._policy = policy
        self._conversation = conversation
        self._read = read
        self._withheld: list[C] = []
        self._holds = judges_replies(policy)
        self._event: StreamEvent[C] = NeedChunk()

    def next_event(self) -> StreamEvent[C]:
        """What must be done next."""
        event = self._event
        if isinstance(event, Release):
            self._event = Finished() if self._holds else NeedChunk()
        return event

    def receive(self, chunk: C) -> None:
        """Take the next chunk of the reply."""
        self._expect(NeedChunk)
        if self._holds:
            self._withheld.append(chunk)
        else:
            self._event = Release((chunk,), Allow())

    def end(self) -> None:
        """Learn that there are no more chunks."""
        self._expect(NeedChunk)
        if not self._withheld:
            self._event = Finished()
            return
        check = reply_check(self._policy, self._conversation, self._read(self._withheld))
        self._event = NeedVerdict(check) if check else Release(tuple(self._withheld), Allow())

    def judge(self, verdict: Verdict) -> None:
        """Take the verdict on what `NeedVerdict` asked about.

        Raises:
            UnsafeContent: it is unsafe, and the policy says raise.
        """
        check = self._expect(NeedVerdict).check
        self._follow(self._policy.decide(verdict, also=check.also))

    def cannot_judge(self, error: GuardUnavailable) -> None:
        """Learn that no verdict can be had.

        Raises:
            GuardUnavailable: the policy says raise.
        """
        check = self._expect(NeedVerdict).check
        self._follow(self._policy.without_verdict(check.stage, error, also=check.also))

    def _expect(self, asked: type[E]) -> E:
        if not isinstance(self._event, asked):
            msg = f"a stream guard was told what it had not asked for: its next event is {type(self._event).__name__}"
            raise RuntimeError(msg)  # noqa: TRY004 - what is wrong is the order of calls, not a type
        return self._event

    def _follow(self, decision: Decision) -> None:
        withheld, self._withheld = tuple(self._withheld), []
        self._event = Finished()
        followed = enforced(decision)
        self._event = Release(withheld, followed) if isinstance(followed, Allow) else Halted(followed)
