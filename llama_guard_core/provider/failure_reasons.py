"""From a host's status, words and sentences to one `FailureReason`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from llama_guard_core.errors import FailureReason

_BY_STATUS: dict[int, FailureReason] = {
    401: "authentication",
    402: "payment",
    403: "permission",
    404: "not_found",
    405: "not_found",
    407: "permission",
    408: "timeout",
    410: "not_found",
    413: "too_large",
    425: "rate_limit",
    429: "rate_limit",
    504: "timeout",
    524: "timeout",
}
_BY_HUNDRED: dict[int, FailureReason] = {3: "not_found", 4: "invalid_request", 5: "server"}

# These statuses say only "no", and a word says which. Beside other statuses hosts choose their words carelessly.
_STATUSES_A_WORD_REFINES = {400, 409, 412, 422}
_REASONS_A_WORD_MAY_GIVE = {"authentication", "payment", "permission", "not_found", "context_length", "too_large"}

_BY_WORD: dict[str, FailureReason] = {
    "authentication": "authentication",
    "authentication_error": "authentication",
    "invalid_api_key": "authentication",
    "payment_required": "payment",
    "insufficient_quota": "payment",
    "permission_denied": "permission",
    "content_policy_violation": "permission",
    "refusal": "permission",
    "not_found": "not_found",
    "not_found_error": "not_found",
    "notfounderror": "not_found",
    "model_not_found": "not_found",
    "model_not_available": "not_found",
    "model_decommissioned": "not_found",
    "free_variant_ended": "not_found",
    "context_length_exceeded": "context_length",
    "exceed_context_size_error": "context_length",
    "token_limit_exceeded": "context_length",
    "string_too_long": "too_large",
    "payload_too_large": "too_large",
    "image_too_large": "too_large",
    "max_tokens_exceeded": "invalid_request",
    "invalid_request": "invalid_request",
    "invalid_request_error": "invalid_request",
    "invalid_prompt": "invalid_request",
    "unprocessable": "invalid_request",
    "precondition_failed": "invalid_request",
    "invalid_image": "invalid_request",
    "image_too_small": "invalid_request",
    "image_not_found": "invalid_request",
    "image_download_failed": "invalid_request",
    "unsupported_image_format": "invalid_request",
    "tool_use_failed": "invalid_request",
    "rate_limit_exceeded": "rate_limit",
    "rate_limit_error": "rate_limit",
    "timeout": "timeout",
}

_TOO_LONG = re.compile(
    r"(maximum|available|model'?s) context|context (length|window|size)|prompt is too long|reduce the length of",
    re.IGNORECASE,
)
_WITHDRAWN = re.compile(
    r"is not a valid model|decommissioned|no longer (supported|available)|model .*does not exist", re.IGNORECASE
)
_NOT_MULTIMODAL = re.compile(r"image input is not supported|not a multimodal model", re.IGNORECASE)
_LONG_LIMIT = re.compile(r"per[- _](day|month)|(?<![a-z])(daily|monthly)(?![a-z])|insufficient_quota", re.IGNORECASE)


def failure_reason(status: int | None, words: Iterable[str], said: str) -> FailureReason:
    """Why a host failed.

    Args:
        status: the HTTP status, or the code inside a body that came with status 200, if either says failure.
        words: the host's machine-readable words (`error_type`, `code`, `type`, `limit_source`), the most reliable
            first.
        said: its sentence.
    """
    words = [word.lower() for word in words]
    by_word = next((_BY_WORD[word] for word in words if word in _BY_WORD), None)
    return _refined_by_sentence(_by_status(status, by_word), " ".join((said, *words)))


def _by_status(status: int | None, by_word: FailureReason | None) -> FailureReason:
    if status is None:
        return by_word or "server"
    if status in _STATUSES_A_WORD_REFINES:
        return by_word if by_word in _REASONS_A_WORD_MAY_GIVE else "invalid_request"
    return _BY_STATUS.get(status) or _BY_HUNDRED.get(status // 100, "malformed")


def _refined_by_sentence(reason: FailureReason, said: str) -> FailureReason:
    if reason == "rate_limit" and _LONG_LIMIT.search(said):
        return "daily_limit"
    if reason not in ("invalid_request", "server"):
        return reason
    if _TOO_LONG.search(said):
        return "context_length"
    if _NOT_MULTIMODAL.search(said):
        return "invalid_request"
    return "not_found" if reason == "invalid_request" and _WITHDRAWN.search(said) else reason
