"""StreamGuard: withholds a streamed reply until a verdict covers it.

```
              receive(chunk)            a window is full, or the reply has ended
  collecting ───────────────► collecting ─────────────► judging
      ▲                                                  │   │
      │        release the withheld chunks, in order     │   │ unsafe, or could not judge
      └───────────────────── safe ◄──────────────────────┘   └────────────► halted
                              │ and the reply has ended
                              ▼
                           finished
```

A state machine without I/O: whoever drives it asks `next_event`, does what it says and reports back. Questions
are decided by the chunks alone, never by how long a verdict takes, so that every driver asks and shows the same. A
driver that can wait for a verdict and read on at once may do so: `receive` is welcome while questions are open.
Verdicts are told in the order of the questions.

It is generic in the chunk: it passes a framework's own chunk objects on untouched. Telling it what it did not
ask for, a chunk after a halt or a verdict too early, raises `RuntimeError`.

Chunks that cannot be shown bit by bit, those of a tool call above all, are withheld to the end with all that follows
them: half a tool call that was shown could be run. Where the policy judges nothing of a reply, its chunks pass
through as they come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from llama_guard_core.errors import GuardUnavailable
from llama_guard_core.guardrail.decisions import Allow, Decision, Refuse
from llama_guard_core.guardrail.policy import Policy
from llama_guard_core.guardrail.screening import Check, enforced, judges_replies, prompt_check, reply_check
from llama_guard_core.guardrail.stream_events import (
    AwaitVerdict,
    Finished,
    Halted,
    NeedChunk,
    NeedVerdict,
    Release,
    StreamEvent,
)
from llama_guard_core.guardrail.stream_windows import Windows
from llama_guard_core.guardrail.verdict import Verdict
from llama_guard_core.messages import Conversation, Message

C = TypeVar("C")
_MOST_ASKED_AT_ONCE = 4
_NEED_CHUNK = NeedChunk()


@dataclass(slots=True)
class _Question:
    """What is asked of the first so many chunks; nothing, where there is nothing new to judge in them."""

    check: Check | None
    covers: int
    size: int


class StreamGuard(Generic[C]):
    """The machine that guards one streamed reply.

    Args:
        policy: what is judged and what follows, and how the reply is held.
        conversation: what the reply answers.
        read: turns the chunks received so far into the message they make up.
        said: the text that a chunk adds to the reply, to measure windows by; `None` for a chunk that must be
            withheld to the end. Left out, everything is.
        with_prompt: whether the prompt is judged here too, before any chunk is read or, where the policy says
            `prompt_check="parallel"`, beside the reading.
    """

    def __init__(
        self,
        policy: Policy,
        conversation: Conversation,
        read: Callable[[Sequence[C]], Message],
        said: Callable[[C], str | None] | None = None,
        *,
        with_prompt: bool = False,
    ) -> None:
        self._policy = policy
        self._conversation = conversation
        self._read = read
        self._said = said if policy.streaming.hold != "whole" else None
        self._windows = Windows(policy.streaming)
        self._holds = judges_replies(policy)
        self._ahead = policy.streaming.ahead if policy.streaming.hold == "optimistic" else 0
        self._chunks: list[C] = []
        self._sizes: list[int] = []  # of the reply up to each chunk that may be shown before the end
        self._released = 0
        self._judged_size = 0
        self._questions: deque[_Question] = deque()
        self._asked = 0
        self._newest: Check | None = None
        self._releases: deque[Release[C]] = deque()
        self._has_ended = False
        self._outcome: Halted | Finished | None = None
        prompt = prompt_check(policy, conversation) if with_prompt else None
        self._prompt = _Question(prompt, covers=0, size=0) if prompt else None
        if self._prompt:
            self._questions.append(self._prompt)

    def next_event(self) -> StreamEvent[C]:
        """What must be done next. A question is handed out once."""
        if self._releases:
            return self._releases.popleft()
        if self._outcome:
            return self._outcome
        if self._asked < min(len(self._questions), _MOST_ASKED_AT_ONCE):
            check = self._questions[self._asked].check
            if check:
                self._asked += 1
                return NeedVerdict(check)
        return _NEED_CHUNK if self._may_read else AwaitVerdict()

    def receive(self, chunk: C) -> None:
        """Take the next chunk of the reply."""
        self._expect(may=self._may_read, what="a chunk")
        if not self._holds and self._prompt is None:
            self._releases.append(Release((chunk,), Allow()))
            return
        self._chunks.append(chunk)
        if not self._holds:
            return
        text = self._said(chunk) if self._said else None
        if text is None:
            self._said = None
            return
        self._sizes.append((self._sizes[-1] if self._sizes else 0) + len(text))
        if self._windows.filled_by(text):
            self._ask()
        if self._ahead:
            self._show_ahead()

    def end(self) -> None:
        """Learn that there are no more chunks."""
        self._expect(may=self._may_read, what="the end")
        self._has_ended = True
        self._ask()

    def judge(self, verdict: Verdict) -> None:
        """Take the verdict on the first of the open questions.

        Raises:
            UnsafeContent: it is unsafe, and the policy says raise.
        """
        check = self._answered()
        self._follow(self._policy.decide(verdict, also=check.also))

    def cannot_judge(self, error: GuardUnavailable) -> None:
        """Learn that the first of the open questions will get no verdict.

        Raises:
            GuardUnavailable: the policy says raise.
        """
        check = self._answered()
        self._follow(self._policy.without_verdict(check.stage, error, also=check.also))

    @property
    def withholds(self) -> bool:
        """Whether chunks wait for verdicts on the reply they belong to."""
        return self._holds

    @property
    def _may_read(self) -> bool:
        waits = self._prompt is not None and self._policy.prompt_check == "before"
        return not (self._has_ended or self._outcome or waits)

    def _ask(self) -> None:
        """Ask about all there is, unless the newest question was about the same."""
        check = self._question()
        covers, size = len(self._chunks), self._sizes[-1] if self._sizes else 0
        open_question = self._questions[-1] if self._questions else None
        if open_question and open_question is not self._prompt and check == self._newest:
            open_question.covers, open_question.size = covers, size
        else:
            is_new = check is not None and check != self._newest
            self._questions.append(_Question(check if is_new else None, covers, size))
            self._newest = check
        self._pass_unasked()

    def _question(self) -> Check | None:
        if not (self._holds and self._chunks):
            return None
        return reply_check(self._policy, self._conversation, self._read(self._chunks))

    def _answered(self) -> Check:
        question = self._questions[0] if self._asked else None
        self._expect(may=question is not None and self._outcome is None, what="a verdict")
        assert question is not None  # noqa: S101 - as expected
        assert question.check is not None  # noqa: S101 - only questions are asked
        return question.check

    def _follow(self, decision: Decision) -> None:
        self._outcome = Finished()  # nothing more, if the decision is to raise
        followed = enforced(decision)
        self._outcome = None
        self._asked -= 1
        if isinstance(followed, Refuse):
            read, shown = len(self._chunks), self._released
            self._outcome = Halted(followed, read, shown, model_cut=read > 0 and not self._has_ended)
            self._questions.clear()
            self._chunks.clear()
            return
        self._settle(followed)
        self._pass_unasked()

    def _pass_unasked(self) -> None:
        while self._questions and self._questions[0].check is None:
            self._settle(Allow())

    def _settle(self, decision: Allow) -> None:
        """Take the first question for answered: what it covers may be shown."""
        question = self._questions.popleft()
        if question is self._prompt:
            self._prompt = None
        self._judged_size = max(self._judged_size, question.size)
        self._show(question.covers if self._holds else len(self._chunks), decision)
        if self._ahead:
            self._show_ahead()

    def _show(self, covers: int, decision: Allow) -> None:
        if self._prompt is not None:
            return
        is_last = self._has_ended and not self._questions
        chunks = tuple(self._chunks[self._released : covers])
        self._released = max(self._released, covers)
        if chunks or decision.stage or is_last:
            self._releases.append(Release(chunks, decision, is_last))
        if is_last:
            self._outcome = Finished()

    def _show_ahead(self) -> None:
        """Show, unjudged, what is not too far beyond the last verdict; never the end: it may be a refusal."""
        until = self._released
        while until < len(self._sizes) and self._sizes[until] - self._judged_size <= self._ahead:
            until += 1
        if until > self._released and not self._outcome:
            self._show(until, Allow())

    def _expect(self, *, may: bool, what: str) -> None:
        if not may:
            state = "halted or finished" if self._outcome else "reading" if self._may_read else "waiting for a verdict"
            msg = f"a stream guard was told {what}, which it had not asked for: it is {state}"
            raise RuntimeError(msg)
