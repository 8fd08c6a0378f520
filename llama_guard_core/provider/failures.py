"""Every way a host says no, as one typed error that says what happened and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from llama_guard_core.errors import (
    AuthenticationFailed,
    FailureReason,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    RequestRejected,
    UnexpectedResponse,
)
from llama_guard_core.provider.failure_reasons import failure_reason
from llama_guard_core.provider.host_messages import host_message, scrubbed
from llama_guard_core.provider.json_text import parse_json
from llama_guard_core.provider.private_texts import without_private_texts
from llama_guard_core.provider.retry_hints import retry_after

_CLASSES: dict[FailureReason, type[ProviderError]] = {
    "authentication": AuthenticationFailed,
    "payment": RequestRejected,
    "permission": RequestRejected,
    "not_found": RequestRejected,
    "invalid_request": RequestRejected,
    "context_length": RequestRejected,
    "too_large": RequestRejected,
    "rate_limit": RateLimited,
    "daily_limit": RateLimited,
    "malformed": UnexpectedResponse,
}
_RETRYABLE: set[FailureReason] = {"rate_limit", "server", "connection", "timeout", "cut", "empty"}

_LONGEST_CODE = 3  # digits of an HTTP status
_IDENTIFIER = re.compile(r"[\w.:/ -]{1,80}", re.ASCII)

_WHAT_HAPPENED: dict[FailureReason, str] = {
    "authentication": "The host refused the API key",
    "payment": "The account has too little credit for this request",
    "permission": "The host or its provider does not permit this request",
    "not_found": "The host does not serve this model or address",
    "invalid_request": "The host rejected the request",
    "context_length": "The request is longer than the model's context",
    "too_large": "The request is too large for the host",
    "rate_limit": "The host limits the rate of requests",
    "daily_limit": "A daily or monthly limit of the account is used up",
    "server": "The host failed",
    "connection": "The host could not be reached",
    "timeout": "The host took too long",
    "cut": "The reply broke off before its end",
    "empty": "The host sent an empty reply",
    "malformed": "The host's reply is not what a chat-completions API promises",
}
_WHAT_TO_DO: dict[FailureReason, str] = {
    "authentication": "Check the API key and that it belongs to this host.",
    "payment": "Add credit or lower max_tokens.",
    "permission": "Check the account's settings and privacy rules; no verdict of Llama Guard is meant by this.",
    "not_found": "Check the model id, base_url and the provider routing: models are withdrawn.",
    "invalid_request": "It will be rejected again as it stands: change it, or the model, or the provider routing.",
    "context_length": "Shorten the conversation or choose a model with a longer context.",
    "too_large": "Send less, or smaller images.",
    "rate_limit": "Wait, then try again.",
    "daily_limit": "Wait for its reset or raise the limit; trying again at once is useless.",
    "server": "Try again later, or allow other providers.",
    "connection": "Check base_url, the network and proxies.",
    "timeout": "Try again, or allow more time with timeout.",
    "cut": "Try again.",
    "empty": "Try again, or allow other providers.",
    "malformed": "Check that base_url names the API, version included; if it does, report this.",
}


def failure(
    *,
    reason: FailureReason,
    said: str = "",
    advice: str | None = None,
    status: int | None = None,
    retryable: bool | None = None,
    **facts: Any,
) -> ProviderError:
    """The typed error for a reason.

    Args:
        reason: why.
        said: what the host said, scrubbed already.
        advice: what to do, where more is known than the reason.
        status: the HTTP status or in-band code.
        retryable: overrules what follows from the reason.
        **facts: further attributes of `ProviderError`.
    """
    where = ", ".join(
        filter(None, (f"status {status}" if status else "", _named(_identifier(facts.get("provider_name")))))
    )
    happened = _WHAT_HAPPENED[reason] + (f" ({where})" if where else "")
    message = f"{happened}: {said}. " if said else f"{happened}. "
    return _CLASSES.get(reason, ProviderUnavailable)(
        message + (advice or _WHAT_TO_DO[reason]),
        reason=reason,
        status=status,
        retryable=reason in _RETRYABLE if retryable is None else retryable,
        **facts,
    )


def failure_from_response(
    status: int, headers: Mapping[str, str], body: bytes, *, now: float | None = None
) -> ProviderError:
    """Read a response whose status is not 2xx.

    Args:
        status: its HTTP status.
        headers: its headers.
        body: its body: any shape of JSON, a web page, text or nothing.
        now: seconds since the epoch, to read dates in retry hints by.
    """
    generation_id = next((value for key, value in headers.items() if key.lower() == "x-generation-id"), None)
    try:
        payload = parse_json(body)
    except ValueError:
        payload = _plain_text(body)
    error = error_in(payload) or payload
    return failure_from_error(error, status=status, headers=headers, generation_id=generation_id, now=now)


def failure_from_error(
    error: object,
    *,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
    generation_id: str | None = None,
    provider_name: str | None = None,
    private_texts: Iterable[str] = (),
    now: float | None = None,
) -> ProviderError:
    """Read an error object, wherever it was found.

    Args:
        error: the value of `error`, or a body of another host's shape.
        status: the HTTP status, if it says failure; otherwise the code inside the error is taken.
        headers: the response's headers, for retry hints.
        generation_id: the id of the call.
        provider_name: the provider named beside the error, if it names none itself.
        private_texts: texts that must not be quoted, such as the reply so far.
        now: seconds since the epoch, to read dates in retry hints by.
    """
    fields = _mapping(error)
    metadata = _mapping(fields.get("metadata"))
    status = status or _code(fields)
    said = host_message(error)
    reason = failure_reason(status, _words(fields, metadata), said)
    return failure(
        reason=reason,
        said=without_private_texts(said, private_texts),
        status=status,
        retryable=_asked_to_retry(fields, reason),
        error_type=_identifier(metadata.get("error_type") or fields.get("error_type") or _string_code(fields)),
        provider_name=_identifier(metadata.get("provider_name")) or _identifier(provider_name),
        generation_id=_identifier(generation_id),
        retry_after=retry_after(headers or {}, error, now),
    )


def error_in(payload: object) -> object | None:
    """The error a body carries at its top, in any host's shape, or None."""
    if not isinstance(payload, dict):
        return None
    for key in ("error", "errors"):
        if payload.get(key):
            found: object = payload[key]
            return found
    if payload.get("choices") or "choices" in payload:
        return None
    says_error = payload.get("detail") or isinstance(payload.get("message"), str) or payload.get("object") == "error"
    return payload if says_error else None


def _code(fields: Mapping[str, Any]) -> int | None:
    for key in ("code", "http_status", "status_code", "status"):
        code = fields.get(key)
        if isinstance(code, str) and len(code) <= _LONGEST_CODE and code.isdecimal() and code.isascii():
            code = int(code)
        if isinstance(code, int) and 400 <= code <= 599:  # noqa: PLR2004 (HTTP's own bounds)
            return code
    return None


def _string_code(fields: Mapping[str, Any]) -> object:
    code = fields.get("code")
    return code if isinstance(code, str) and not code.isdecimal() else fields.get("type")


def _words(fields: Mapping[str, Any], metadata: Mapping[str, Any]) -> list[str]:
    """What the host says in words meant for programs, the most reliable first."""
    candidates = (
        metadata.get("error_type"),
        fields.get("error_type"),
        fields.get("code"),
        fields.get("type"),
        metadata.get("limit_source"),
    )
    return [word for word in candidates if isinstance(word, str)]


def _asked_to_retry(fields: Mapping[str, Any], reason: FailureReason) -> bool | None:
    """`availability.retryable` is preferred to what the status suggests, but a spent limit or credit stays spent."""
    asked = _mapping(fields.get("availability")).get("retryable")
    return asked if isinstance(asked, bool) and reason not in ("daily_limit", "payment", "authentication") else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _identifier(value: object) -> str | None:
    return value if isinstance(value, str) and _IDENTIFIER.fullmatch(value) and scrubbed(value) == value else None


def _named(provider_name: object) -> str:
    return f"provider {provider_name}" if provider_name else ""


def _plain_text(body: bytes) -> str:
    """A short plain text is quoted; a web page is not."""
    text = body[:2000].decode("utf-8", "replace").strip()
    return "the answer was a web page" if text[:1] == "<" else text
