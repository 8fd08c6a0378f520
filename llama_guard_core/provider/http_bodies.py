"""The body of a response, in the pieces that it comes in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import cast

import httpx


def body_of(response: httpx.Response) -> Iterator[bytes]:
    """The bytes of a body as they come, decoded. httpx takes twice as long where there is nothing to decode."""
    return response.iter_bytes() if _takes_httpx(response) else iter(cast("httpx.SyncByteStream", response.stream))


def abody_of(response: httpx.Response) -> AsyncIterator[bytes]:
    """The bytes of a body; see `body_of`."""
    return response.aiter_bytes() if _takes_httpx(response) else aiter(cast("httpx.AsyncByteStream", response.stream))


def _takes_httpx(response: httpx.Response) -> bool:
    """Whether a body is to be decoded, or was read by a hook of the user's client."""
    return response.is_stream_consumed or "content-encoding" in response.headers
