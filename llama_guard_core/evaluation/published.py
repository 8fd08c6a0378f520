"""What Meta's model cards say of Llama Guard, to stand beside one's own figures. It is no bar to pass.

The figures cannot be reached or missed on other data: the test sets are Meta's own and not published, and so is the
share of unsafe rows in them, which precision and F1 depend on. The two cards use different test sets, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llama_guard_core.evaluation.plain_values import as_plain

_CARDS = "https://github.com/meta-llama/PurpleLlama/blob/main"
_CARD_4 = f"{_CARDS}/Llama-Guard4/12B/MODEL_CARD.md"
_CARD_3 = f"{_CARDS}/Llama-Guard3/8B/MODEL_CARD.md"
_IN_HOUSE = "Meta's in-house test set of Llama Guard 4's card, output filtering (replies judged)"
_BY_HAZARD = f"{_IN_HOUSE}; mean over hazards S1 to S13, each weighing the same"
_BY_LANGUAGE = f"{_IN_HOUSE}; mean over French, German, Hindi, Italian, Portuguese, Spanish and Thai"
_BY_SUBTRACTION = "; the card tells whole percents and differences to Llama Guard 3-8B: this is one less the other"


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFigures:
    """Figures that Meta published, with the conditions they were taken under.

    Attributes:
        model: the model they are about.
        what: the part of the test set.
        recall: of the unsafe rows, the share that was flagged.
        false_positive_rate: of the safe rows, the share that was flagged.
        f1: as published.
        precision: where it is published.
        conditions: what was judged and how it was averaged.
        source: the address of the model card.
    """

    model: str
    what: str
    recall: float
    false_positive_rate: float
    f1: float
    precision: float | None = None
    conditions: str
    source: str

    def as_dict(self) -> dict[str, Any]:
        """The figures as plain JSON values."""
        return as_plain(self)


def _of_card_4(model: str, what: str, conditions: str, figures: tuple[float, float, float]) -> PublishedFigures:
    recall, false_positive_rate, f1 = figures
    return PublishedFigures(
        model=model,
        what=what,
        recall=recall,
        false_positive_rate=false_positive_rate,
        f1=f1,
        conditions=conditions,
        source=_CARD_4,
    )


def _of_card_3(what: str, judged: str, figures: tuple[float, float, float, float]) -> PublishedFigures:
    precision, recall, f1, false_positive_rate = figures
    return PublishedFigures(
        model="Llama Guard 3 8B",
        what=f"{what}, {judged}",
        recall=recall,
        false_positive_rate=false_positive_rate,
        f1=f1,
        precision=precision,
        conditions=f"Meta's internal test set of Llama Guard 3-8B's card, {judged} judged, not quantized",
        source=_CARD_3,
    )


_LLAMA_GUARD_3: Mapping[tuple[str, str], tuple[float, float, float, float]] = {
    ("English", "prompts"): (0.952, 0.943, 0.947, 0.057),
    ("Multilingual", "prompts"): (0.901, 0.899, 0.900, 0.054),
    ("Tool use", "prompts"): (0.884, 0.958, 0.920, 0.126),
    ("English", "replies"): (0.947, 0.931, 0.939, 0.040),
    ("Multilingual", "replies"): (0.929, 0.805, 0.862, 0.033),
    ("Tool use", "replies"): (0.774, 0.884, 0.825, 0.176),
}

PUBLISHED: tuple[PublishedFigures, ...] = (
    _of_card_4("Llama Guard 4 12B", "English", _BY_HAZARD, (0.69, 0.11, 0.61)),
    _of_card_4("Llama Guard 4 12B", "Multilingual", _BY_LANGUAGE, (0.43, 0.03, 0.51)),
    _of_card_4("Llama Guard 4 12B", "Single image", _BY_HAZARD, (0.41, 0.09, 0.38)),
    _of_card_4("Llama Guard 4 12B", "Multi image", _BY_HAZARD, (0.61, 0.09, 0.52)),
    _of_card_4("Llama Guard 3 8B", "English", _BY_HAZARD + _BY_SUBTRACTION, (0.65, 0.14, 0.53)),
    _of_card_4("Llama Guard 3 8B", "Multilingual", _BY_LANGUAGE + _BY_SUBTRACTION, (0.45, 0.04, 0.51)),
    *(_of_card_3(what, judged, figures) for (what, judged), figures in _LLAMA_GUARD_3.items()),
)
"""Meta's figures for Llama Guard 4 and for Llama Guard 3-8B, for reference."""
