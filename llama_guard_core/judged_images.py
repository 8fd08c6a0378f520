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

Questions = Sequence[Sequence[Turn]]
Pictures = Mapping[Image, Image]
"""A picture as it was given, and as it is sent. Those that are not in it are not shown."""


def as_sent(questions: Questions, rules: ImageRules, stage: Stage, *, until: float | None = None) -> Questions:
    """The questions about one turn, with its pictures checked and as the guard is to have them.

    Args:
        questions: the first has all pictures.
        rules: which may be sent, how many, and which are fetched first.
        stage: what is judged.
        until: when all of them have to be there, by the monotonic clock.

    Raises:
        GuardUnavailable: if one of the judged turn may not be sent, or cannot be had.
    """
    if not any(turn.images for turn in questions[0]):
        return questions
    shown = pictures_to_show(questions, rules, stage)
    fetch_pictures(shown, questions, rules, stage, until=until)
    return with_pictures(questions, shown)


async def aas_sent(questions: Questions, rules: ImageRules, stage: Stage, *, until: float | None = None) -> Questions:
    """The questions about one turn, as the guard is to have them; see `as_sent`."""
    if not any(turn.images for turn in questions[0]):
        return questions
    shown = pictures_to_show(questions, rules, stage)
    await afetch_pictures(shown, questions, rules, stage, until=until)
    return with_pictures(questions, shown)


def pictures_to_show(questions: Questions, rules: ImageRules, stage: Stage) -> dict[Image, Image]:
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


def fetch_pictures(
    shown: dict[Image, Image], questions: Questions, rules: ImageRules, stage: Stage, *, until: float | None = None
) -> None:
    """Put what was fetched in the place of addresses that the rules want fetched; an earlier one may be gone by now.

    Args:
        shown: the pictures that are shown; changed in place.
        questions: the questions about one turn.
        rules: which pictures are fetched.
        stage: what is judged.
        until: when all of them have to be there, by the monotonic clock.

    Raises:
        GuardUnavailable: if one of the judged turn cannot be fetched.
    """
    from llama_guard_core.provider.image_fetch import fetch_image  # noqa: PLC0415 (few need it, and it takes its time)

    for picture in filter(rules.must_be_fetched, [*shown]):
        try:
            shown[picture] = fetch_image(picture, rules, stage, until=until)
        except GuardUnavailable:  # noqa: PERF203 (each by itself)
            if picture in questions[0][-1].images:
                raise
            del shown[picture]


async def afetch_pictures(
    shown: dict[Image, Image], questions: Questions, rules: ImageRules, stage: Stage, *, until: float | None = None
) -> None:
    """Put what was fetched in the place of addresses that the rules want fetched; see `fetch_pictures`."""
    from llama_guard_core.provider.image_fetch import afetch_image  # noqa: PLC0415 (as above)

    for picture in filter(rules.must_be_fetched, [*shown]):
        try:
            shown[picture] = await afetch_image(picture, rules, stage, until=until)
        except GuardUnavailable:  # noqa: PERF203 (each by itself)
            if picture in questions[0][-1].images:
                raise
            del shown[picture]


def with_pictures(questions: Questions, shown: Pictures) -> list[tuple[Turn, ...]]:
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
