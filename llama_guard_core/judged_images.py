"""The pictures of a question: which of them the guard is shown, checked before they are sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from llama_guard_core.errors import GuardUnavailable
from llama_guard_core.guardrail.images import ImageRules
from llama_guard_core.guardrail.prompt import Turn
from llama_guard_core.guardrail.verdict import Stage
from llama_guard_core.messages import Image

_EARLIER = "an earlier image"

Pictures = Mapping[Image, Image]
"""A picture as it was given, and as it is sent. Those that are not in it are not shown."""


def pictures_to_show(questions: Sequence[Sequence[Turn]], rules: ImageRules, stage: Stage) -> dict[Image, Image]:
    """The pictures that the guard is shown: all of the judged turn, and as many of the latest before it as rules allow.

    Args:
        questions: the questions about one turn; the first has its pictures.
        rules: which pictures may be sent, and how many.
        stage: what is judged.

    Raises:
        GuardUnavailable: if one of the judged turn's may not be sent, or they are too many.
    """
    *context, judged = questions[0]
    rules.check_number(len(judged.images), stage)
    shown = {image: rules.checked(image, stage) for image in judged.images}
    for image in _latest_first(context):
        if len(shown) >= rules.max_images:
            break
        try:
            shown.setdefault(image, rules.checked(image, stage))
        except GuardUnavailable:
            continue  # it was not judged in its own turn either
    return shown


def with_pictures(questions: Sequence[Sequence[Turn]], shown: Pictures) -> list[tuple[Turn, ...]]:
    """The questions with the pictures as they are sent; where one is not shown, words say that it was there."""
    return [tuple(_with_pictures(turn, shown) for turn in question) for question in questions]


def _with_pictures(turn: Turn, shown: Pictures) -> Turn:
    if not turn.images:
        return turn
    hidden = tuple(_EARLIER for image in turn.images if image not in shown)
    images = tuple(shown[image] for image in turn.images if image in shown)
    return replace(turn, images=images, unjudgeable=(*turn.unjudgeable, *hidden))


def _latest_first(context: Sequence[Turn]) -> Iterator[Image]:
    for turn in reversed(context):
        yield from reversed(turn.images)
