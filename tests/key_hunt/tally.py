"""What was looked at, where, and what was found there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from key_hunt.keys import shows


class Tally:
    """Counts, by place.

    Attributes:
        looked: how many things were looked at.
        kinds: what they were.
        found: what showed the key: the place and the thing.
        missed: calls that were to fail and did not.
    """

    def __init__(self) -> None:
        self.looked: Counter[str] = Counter()
        self.kinds: dict[str, set[str]] = {}
        self.found: list[tuple[str, str]] = []
        self.missed: list[str] = []

    def look(self, place: str, kind: str, text: str | bytes, how: str = "") -> None:
        """Look for the key in a text.

        Args:
            place: where the text was found.
            kind: what it is about.
            text: the text.
            how: what else tells this case from others.
        """
        self.looked[place] += 1
        self.kinds.setdefault(place, set()).add(kind)
        if shows(text):
            self.found.append((place, f"{kind}, {how}" if how else kind))

    def merge(self, other: Tally) -> None:
        """Add what another one has."""
        self.looked += other.looked
        self.found += other.found
        self.missed += other.missed
        for place, kinds in other.kinds.items():
            self.kinds.setdefault(place, set()).update(kinds)

    def found_in(self, place: str) -> int:
        """In how many of its things the key was found."""
        return sum(place == found for found, _ in self.found)


def table(tally: Tally, control: Mapping[str, bool]) -> str:
    """All of it, as Markdown.

    Args:
        tally: what was counted.
        control: whether a key that was planted is found, by place.
    """
    heads = ("where it was looked for", "things", "cases", "found", "a planted one is found")
    rows = [
        (place, str(len(tally.kinds[place])), str(cases), str(tally.found_in(place)), _said(control.get(place)))
        for place, cases in tally.looked.items()
    ]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in (heads, *rows)]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def _said(found: bool | None) -> str:
    return {True: "yes", False: "NO", None: "-"}[found]
