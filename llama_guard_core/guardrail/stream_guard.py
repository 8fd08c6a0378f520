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
from llama_guard_core.guardrail.policy import Allow, Decision, Policy, Raise, Refuse
from llama_guard_core.guardrail.screening import Check, reply_under_judgement
from llama_guard_core.guardrail.verdict import Stage, Verdict
from llama_guard_core.messages import Conversation, Message

C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class NeedChunk:
    """Read the next chunk of the reply and hand it to `receive`; hand it `None` at the end."""


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
    """Stop reading. What was withheld is gone; show the refusal, or raise."""

    decision: Refuse | Raise


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
        self._holds = policy.judges(Stage.REPLY) or policy.judges(Stage.TOOL_CALL)
        self._stage = Stage.REPLY
        self._event: StreamEvent[C] = NeedChunk()

    def next_event(self) -> StreamEvent[C]:
        """What must be done next."""
        event = self._event
        if isinstance(event, Release):
            self._event = Finished() if self._holds else NeedChunk()
        return event

    def receive(self, chunk: C | None) -> None:
        """Take the next chunk of the reply, or `None` when there is no more."""
        self._expect(NeedChunk)
        if chunk is None:
            self._event = self._at_the_end() if self._withheld else Finished()
        elif self._holds:
            self._withheld.append(chunk)
        else:
            self._event = Release((chunk,), Allow(self._stage))

    def judge(self, verdict: Verdict) -> None:
        """Take the verdict on what `NeedVerdict` asked about."""
        self._expect(NeedVerdict)
        self._follow(self._policy.decide(verdict))

    def cannot_judge(self, error: GuardUnavailable) -> None:
        """Learn that no verdict can be had."""
        self._expect(NeedVerdict)
        self._follow(self._policy.without_verdict(self._stage, error))

    def _expect(self, asked: type[NeedChunk | NeedVerdict]) -> None:
        if not isinstance(self._event, asked):
            msg = f"a stream guard was told what it had not asked for: its next event is {type(self._event).__name__}"
            raise RuntimeError(msg)  # noqa: TRY004 - what is wrong is the order of calls, not a type

    def _at_the_end(self) -> StreamEvent[C]:
        self._stage, judged = reply_under_judgement(self._policy, self._read(self._withheld))
        if judged is None:
            return Release(tuple(self._withheld), Allow(self._stage))
        return NeedVerdict(Check(self._stage, (*self._conversation, judged)))

    def _follow(self, decision: Decision) -> None:
        withheld, self._withheld = tuple(self._withheld), []
        self._event = Release(withheld, decision) if isinstance(decision, Allow) else Halted(decision)
