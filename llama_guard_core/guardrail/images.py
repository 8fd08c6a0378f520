"""Which pictures the guard is asked about, and what becomes of those that are given by address.

A picture that breaks a rule is not judged, and what follows is the policy's `on_no_verdict`. No message here names an
address or quotes data.
"""

from __future__ import annotations

import base64
import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from llama_guard_core.errors import GuardUnavailable
from llama_guard_core.guardrail.picture_addresses import PictureAddress, address_in, is_public, listed_host
from llama_guard_core.guardrail.verdict import Stage
from llama_guard_core.messages import Image

MediaType = Literal["image/png", "image/jpeg", "image/webp", "image/gif"]
"""The types of picture that OpenRouter documents."""

_SIGNATURES: tuple[tuple[re.Pattern[bytes], MediaType], ...] = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
)
# What stores say of a file they know nothing of.
_SAYS_NOTHING = ("", "application/octet-stream", "binary/octet-stream")
_LINE_ENDS = {ord(blank): None for blank in " \t\r\n"}


class ImageRules(BaseModel):
    """Which pictures are judged, and whether their addresses are passed on, fetched or refused.

    An address shows each caller what its server likes to show: the guard's host, this machine and the model's host may
    see different pictures, and neither `"pass"` nor `"fetch"` cures that, since the model's host fetches by itself.
    Where it matters, give the model pictures as `data:` URLs and set `urls="refuse"`.

    An address is judged only if every parser reads the same host in it: no user (`https://user@host`), no backslash,
    blank or control character, nothing beyond ASCII (write other names as `xn--…`), IPv4 addresses in four decimal
    numbers alone. A port other than the scheme's own must stand in `allowed_hosts`.

    Not protected against: pictures that deceive the guard's model by their content; and of an animated one, the guard's
    host decides which frame is looked at, most often the first.

    Attributes:
        urls: `"pass"`: the guard's host is given the address, and fetches the picture. `"fetch"`: it is fetched here,
            redirects not followed, and sent as data. `"refuse"`: a picture by address is not judged.
        allowed_hosts: whose addresses may be passed or fetched. `"images.example.com"` is that name alone,
            `"*.example.com"` every name below `example.com` and not itself; with `:8443` after it that port alone. An
            IP address may stand there too. None: any public host.
        private_addresses: whether addresses of this machine and its networks may be passed or fetched: loopback,
            private, link-local (where clouds keep credentials), shared, multicast and reserved ones, and names such as
            `localhost`, `*.internal` or one without a dot. Set it only together with `allowed_hosts`: an allowed host
            must pass both. What a name stands for is looked up only with `"fetch"`; with `"pass"` the guard's host
            looks it up, in its own network.
        http: whether `http://` addresses may be passed or fetched, where anybody on the way may change the picture.
        max_bytes: of one picture, decoded. Photographs from a telephone have 2 to 8 million, and Llama Guard sees tiles
            of 336 x 336 pixels of them. Hosts have limits of their own (Groq: 4 MB for a request), and what they reject
            is not judged either. With `"pass"` only they know the size.
        max_images: in one question, those in earlier turns included. Llama 4 was tested with up to 5.
        media_types: the types that are judged: both what a picture is declared to be and what its bytes are.
        timeout: seconds for fetching one picture, looking up its host included.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    urls: Literal["pass", "fetch", "refuse"] = "pass"
    allowed_hosts: tuple[str, ...] | None = None
    private_addresses: bool = False
    http: bool = False
    max_bytes: int = Field(default=10_000_000, ge=1)
    max_images: int = Field(default=5, ge=0)
    media_types: tuple[MediaType, ...] = ("image/png", "image/jpeg", "image/webp", "image/gif")
    timeout: float = Field(default=10.0, gt=0, allow_inf_nan=False)

    @field_validator("allowed_hosts")
    @classmethod
    def _in_one_spelling(cls, hosts: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if hosts is None else tuple(map(listed_host, hosts))

    @classmethod
    def of(cls, given: ImageRules | dict[str, Any] | None) -> ImageRules:
        """The rules a user gave, in either form, or the default."""
        return given if isinstance(given, ImageRules) else cls.model_validate(given or {})

    def check_number(self, count: int, stage: Stage | None = None) -> None:
        """Refuse a question with too many pictures.

        Raises:
            GuardUnavailable: `too_large`.
        """
        if count > self.max_images:
            msg = f"{count} pictures in one question are not judged: the most is max_images, {self.max_images}"
            raise GuardUnavailable(msg, reason="too_large", stage=stage)

    def checked(self, image: Image, stage: Stage | None = None) -> Image:
        """The picture as it may be sent: an address as it is, data with the type that its bytes have.

        Args:
            image: a picture by address or as a `data:` URL.
            stage: what is judged, for the error.

        Raises:
            GuardUnavailable: if it is not judged: `too_large`, or `not_judgeable` for any other reason.
        """
        if not _is_data(image):
            self.address_of(image, stage)
            return image
        head, _, encoded = image.url.partition(",")
        declared, *parameters = head[len("data:") :].split(";")
        content = _decoded(encoded) if parameters and parameters[-1].lower() == "base64" else None
        if content is None:
            msg = "a picture's data: URL cannot be read: write data:image/png;base64, and then the bytes in base64"
            raise GuardUnavailable(msg, reason="not_judgeable", stage=stage)
        return self.as_data(content, declared, stage)

    def must_be_fetched(self, image: Image) -> bool:
        """Whether this picture is to be fetched before the guard is asked."""
        return self.urls == "fetch" and not _is_data(image)

    def address_of(self, image: Image, stage: Stage | None = None) -> PictureAddress:
        """The address of a picture, which may be passed on or fetched as far as can be told without a lookup.

        Raises:
            GuardUnavailable: `not_judgeable`, if it may not.
        """
        address = address_in(image.url)
        if self.urls == "refuse":
            msg = 'a picture by address is not judged with urls="refuse": give it as a data: URL'
        elif address is None:
            msg = "a picture is judged by a plain https:// address (ASCII, no user, no backslash) or as a data: URL"
        elif address.scheme == "http" and not self.http:
            msg = "a picture by http:// address is not judged: use https://, or set http=True"
        elif not (address.has_usual_port if self.allowed_hosts is None else address.is_listed(self.allowed_hosts)):
            msg = "the host of a picture's address, or its port, is not allowed: add it to allowed_hosts if it is meant"
        elif not (self.private_addresses or address.seems_public):
            msg = "a picture's address is in a private network: set private_addresses=True if that is meant"
        else:
            return address
        raise GuardUnavailable(msg, reason="not_judgeable", stage=stage)

    def may_reach(self, ip_address: str) -> bool:
        """Whether a picture may be fetched from an IP address that a name stands for."""
        return self.private_addresses or is_public(ip_address)

    def as_data(self, content: bytes, declared: str | None, stage: Stage | None = None) -> Image:
        """The `data:` URL of a picture's bytes, with the type that they have.

        Args:
            content: the bytes.
            declared: the media type they came with; None, or one that says nothing, leaves it to the bytes.
            stage: what is judged, for the error.

        Raises:
            GuardUnavailable: `too_large`, or `not_judgeable` if they are empty or not of an allowed type.
        """
        if len(content) > self.max_bytes:
            msg = f"a picture of {len(content)} bytes is not judged: the most is max_bytes, {self.max_bytes}"
            raise GuardUnavailable(msg, reason="too_large", stage=stage)
        found = next((kind for signature, kind in _SIGNATURES if signature.match(content)), None)
        said = (declared or "").partition(";")[0].strip().lower().replace("image/jpg", "image/jpeg")
        if found not in self.media_types or said not in (*self.media_types, *_SAYS_NOTHING):
            what = "has other bytes or is declared as something else" if content else "is empty"
            msg = f"a picture is judged if it is {', '.join(self.media_types)}: this one {what}"
            raise GuardUnavailable(msg, reason="not_judgeable", stage=stage)
        return Image(f"data:{found};base64,{base64.b64encode(content).decode()}")


def _is_data(image: Image) -> bool:
    return image.url[:5].lower() == "data:"


def _decoded(encoded: str) -> bytes | None:
    """The bytes, or None for whatever a lenient and a strict decoder would read differently."""
    try:
        return base64.b64decode(encoded.translate(_LINE_ENDS), validate=True)
    except ValueError:
        return None
