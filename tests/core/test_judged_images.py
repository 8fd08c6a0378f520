"""Which pictures of a conversation the guard is shown, and which stop a verdict."""

from __future__ import annotations

import pytest
from fake_provider import FakeProvider

from llama_guard_core import GuardUnavailable, LlamaGuard
from llama_guard_core.messages import Image, Message, Text, assistant

PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="
GONE = "https://127.0.0.1:1/gone.png"
FETCHED = {"urls": "fetch", "allowed_hosts": ["127.0.0.1:1"], "private_addresses": True, "timeout": 5}


def picture(url: str, text: str = "look") -> Message:
    return Message("user", (Text(text), Image(url)))


def guard(provider: FakeProvider, **settings: object) -> LlamaGuard:
    clients = {"http_client": provider.client(), "http_async_client": provider.async_client()}
    return LlamaGuard(api_key="k", cache=False, **clients, **settings)  # type: ignore[arg-type]


async def test_a_picture_alone_is_judged_and_earlier_ones_are_shown_the_latest_first(provider: FakeProvider) -> None:
    """Beyond `max_images`, words stand where an earlier picture was."""
    alone = Message("user", (Image(PIXEL),))
    said = (picture("https://example.com/a.png"), assistant("Nice."), picture("https://example.com/b.png"))
    asked = (*said, assistant("Nice."), alone)
    it = guard(provider, images={"max_images": 2})
    assert it.check(asked).safe
    assert (await it.acheck(asked)).safe
    assert 2 == len(provider.requests)
    for request, question in zip(provider.requests, provider.guard_questions, strict=True):
        parts = [part for turn in request.messages for part in turn["content"] if isinstance(part, dict)]
        shown = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
        assert ["https://example.com/b.png", PIXEL] == shown
        assert "(an earlier image)" in question.turns[0][1]


async def test_a_picture_that_cannot_be_fetched_is_no_verdict_but_in_earlier_turns(provider: FakeProvider) -> None:
    """A link that has died since does not silence the rest of a conversation."""
    it = guard(provider, images=FETCHED)
    with pytest.raises(GuardUnavailable, match="cannot be reached"):
        it.check(picture(GONE))
    with pytest.raises(GuardUnavailable, match="cannot be reached"):
        await it.acheck(picture(GONE))
    later = (picture(GONE), assistant("Nice."), Message("user", (Text("And now?"),)))
    assert it.check(later).safe
    assert (await it.acheck(later)).safe
    assert {()} == {question.images for question in provider.guard_questions}


@pytest.mark.parametrize(
    ("images", "url", "why"),
    [
        ({"urls": "refuse"}, "https://example.com/a.png", "refuse"),
        ({}, "https://169.254.169.254/latest", "private network"),
        ({}, "https://localhost/a.png", "private network"),
        ({"allowed_hosts": ["example.org"]}, "https://example.com/a.png", "not allowed"),
        ({"max_bytes": 10}, PIXEL, "max_bytes"),
        ({"max_images": 0}, PIXEL, "max_images"),
        ({}, "data:image/svg+xml;base64,PHN2Zy8+", "other bytes"),
    ],
)
def test_a_picture_against_the_rules_is_no_verdict(provider: FakeProvider, images: dict, url: str, why: str) -> None:
    """And the guard is not asked about the text without it."""
    with pytest.raises(GuardUnavailable, match=why) as caught:
        guard(provider, images=images).check(picture(url))
    assert url not in str(caught.value)
    assert [] == provider.requests
