"""How a streamed reply is held back: whole, by windows, or not at first; and when the guard is asked about it.

A question about a reply is about all of it so far, so asking every so many characters reads a long reply over and
over. Here windows are of one size for a while and then grow with the reply:

```
characters   16  32  48  64  80  96  112  128        256                 512 ...        the end
             └─────── eight steady windows ─┘ └ then each time the reply has doubled ─┘  └ always
```

With these, the default, a reply of n characters costs at most 2 + log₂(n) questions, which read less than 3 n + 576
characters of it. While windows are steady, unsafe text is found within 16 characters; later, when the reply has grown
to twice its judged length at the latest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Hold = Literal["whole", "window", "optimistic"]
Unit = Literal["characters", "sentences"]

_FIRST_WINDOW: Mapping[Unit, int] = {"characters": 16, "sentences": 1}
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s|[\u3002\uff01\uff1f\u0964]|\n")


class Streaming(BaseModel):
    """How a streamed reply is held until verdicts cover it.

    Attributes:
        hold: `window` shows what a verdict on the reply so far covers; `whole` shows nothing before the one verdict
            on all of it; `optimistic` shows text before its verdict and breaks off on a bad one. **What an optimistic
            stream has shown cannot be taken back**: at any moment up to `ahead` characters of it may be unjudged.
        unit: what windows are measured in.
        window: the size of the first window, and of those that follow at a steady pace. Left out, 16 characters or
            1 sentence. Bigger windows cost fewer checks and show text later.
        steady: how many windows are of that size before they grow.
        growth: by what the judged length is multiplied from one check to the next, once windows grow. 1 keeps
            all windows steady.
        most_checks: checks a reply may cost, the one at its end included. Once only that one is left, the rest of the
            reply is held to the end.
        ahead: characters that `optimistic` may show beyond what a verdict covers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    hold: Hold = "window"
    unit: Unit = "characters"
    window: int | None = Field(default=None, ge=1)
    steady: int = Field(default=8, ge=1)
    growth: float = Field(default=2.0, ge=1, allow_inf_nan=False)
    most_checks: int = Field(default=24, ge=1)
    ahead: int = Field(default=200, ge=1)


def _named(value: Any) -> Any:
    return {"hold": value} if isinstance(value, str) else value


StreamingLike = Annotated[Streaming, BeforeValidator(_named)]
"""A `Streaming`, its fields as a mapping, or just the word for `hold`."""


class Windows:
    """Says, of a reply that comes piece by piece, when it is time to ask about it."""

    def __init__(self, rules: Streaming) -> None:
        self._rules = rules
        self._window = rules.window or _FIRST_WINDOW[rules.unit]
        self._left = 0 if rules.hold == "whole" else rules.most_checks - 1
        self._passed = 0
        self._until = float(self._window)
        self._size = 0
        self._last = ""

    def filled_by(self, text: str) -> bool:
        """Whether the next piece of the reply fills a window. A piece that fills several counts once."""
        self._size += self._measured(text)
        if not self._left or self._size < self._until:
            return False
        while self._until <= self._size:
            self._passed += 1
            grown = self._until * self._rules.growth if self._passed >= self._rules.steady else 0
            self._until = max(self._until + self._window, grown)
        self._left -= 1
        return True

    def _measured(self, text: str) -> int:
        if self._rules.unit == "characters":
            return len(text)
        seen = self._last + text
        ends = sum(1 for _ in _SENTENCE_END.finditer(seen, len(self._last)))
        self._last = seen[-1:]
        return ends
