"""What the host says when it fails: its statuses, its words, and what stands beside them."""

from __future__ import annotations

import datetime as dt
from email.utils import format_datetime
from typing import Any, Literal

from .answers import Answer, json_answer
from .rendering import PROVIDER_NAME, Rendering

ACCOUNT_ID = "user_0FakeAccountOfNobody"
"""Stands beside every error, as on the real host; it belongs in no message and no log."""

RetryAfterForm = Literal["seconds", "date", "milliseconds"]

_MESSAGES = {
    400: "Provider returned error",
    401: "User not found.",
    402: "Insufficient credits",
    403: "The request was flagged by moderation",
    404: "No endpoints found for this model",
    408: "Operation timed out. Please try again later.",
    413: "Request entity too large",
    429: "Provider returned error",
    500: "Internal Server Error",
    502: "Provider returned error",
    503: "No available model provider meets your routing requirements",
    504: "Provider timed out",
    529: "Provider returned error",
}
_ERROR_TYPES = {
    400: "invalid_request",
    401: "authentication",
    402: "payment_required",
    403: "content_policy_violation",
    404: "not_found",
    408: "timeout",
    413: "payload_too_large",
    429: "rate_limit_exceeded",
    500: "server",
    502: "provider_unavailable",
    503: "provider_overloaded",
    504: "timeout",
    529: "provider_overloaded",
}


def refused(status: int, message: str) -> Answer:
    """Answer a request that the host will not serve; who sent it is known only once there is a key."""
    body = error_body(status, message, None)
    return json_answer({"error": body["error"]} if status == 401 else body, status=status)


def error_body(status: int, message: str | None, metadata: dict[str, Any] | None) -> dict[str, Any]:
    """Give the body of an error."""
    error = {"code": status, "message": message or _MESSAGES.get(status, "Error")}
    return {"error": {**error, "metadata": metadata} if metadata else error, "user_id": ACCOUNT_ID}


def metadata_of(status: int, rendering: Rendering) -> dict[str, Any]:
    """Give what stands under an error; a provider's own words, and moderation, quote what they were sent."""
    quoted = rendering.received.last_text[:100]
    metadata: dict[str, Any] = {"error_type": _ERROR_TYPES.get(status, "unmapped")}
    if status == 403:
        return {**metadata, "reasons": ["violence"], "flagged_input": quoted, "provider_name": PROVIDER_NAME}
    if _MESSAGES.get(status) == "Provider returned error":
        return {**metadata, "provider_name": PROVIDER_NAME, "raw": f"{rendering.received.model} failed on: {quoted}"}
    return metadata


def retry_header(seconds: float, form: RetryAfterForm) -> dict[str, str]:
    """Give the header that asks to wait, in one of the forms a client may meet."""
    if form == "milliseconds":
        return {"retry-after-ms": str(round(seconds * 1000))}
    if form == "date":
        when = dt.datetime.now(dt.timezone.utc) + dt.timedelta(seconds=seconds)
        return {"retry-after": format_datetime(when, usegmt=True)}
    return {"retry-after": f"{seconds:g}"}
