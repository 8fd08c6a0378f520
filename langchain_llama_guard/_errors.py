"""Our errors in LangChain's own family, so that its retry and summarisation middleware understand them.

Every class here is both one of `llama_guard_core.errors` and one of `langchain_core.exceptions`: code that
catches either keeps working. LangChain has no class for "payment required" (402); it is a
`ModelPermissionDeniedError` here, because waiting does not cure it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from langchain_core import exceptions as lc

from llama_guard_core import errors

if hasattr(lc, "ModelRefusalError"):  # langchain-core 1.7.5
    ModelRefusalError: type[lc.ModelError] = lc.ModelRefusalError
else:

    class ModelRefusalError(lc.ModelError):  # type: ignore[no-redef]
        """The model or the guard refused to answer."""


class AuthenticationFailed(errors.AuthenticationFailed, lc.ModelAuthenticationError):
    """The key is missing, malformed or refused."""


class RequestRejected(errors.RequestRejected, lc.ModelInvalidRequestError):
    """The host will not serve this request however often it is sent."""


class PermissionDenied(errors.RequestRejected, lc.ModelPermissionDeniedError):
    """The key may not do this, or the credit is used up."""


class ModelNotFound(errors.RequestRejected, lc.ModelNotFoundError):
    """The host does not, or no longer, serve this model."""


class ContextOverflow(errors.RequestRejected, lc.ContextOverflowError):
    """The messages are longer than the model's context."""


class RateLimited(errors.RateLimited, lc.ModelRateLimitError):
    """Too many requests; see `retry_after`."""


class ConnectionFailed(errors.ProviderUnavailable, lc.ModelConnectionError):
    """The host could not be reached, or the connection broke."""


class TimedOut(errors.ProviderUnavailable, lc.ModelTimeoutError):
    """The host did not answer in time."""


class ProviderUnavailable(errors.ProviderUnavailable, lc.ModelAPIError):
    """The host failed."""


class UnexpectedResponse(errors.UnexpectedResponse, lc.ModelAPIError):
    """The host answered something that is not what the API promises."""


_BY_REASON: dict[errors.FailureReason, type[errors.ProviderError]] = {
    "authentication": AuthenticationFailed,
    "payment": PermissionDenied,
    "permission": PermissionDenied,
    "not_found": ModelNotFound,
    "context_length": ContextOverflow,
    "connection": ConnectionFailed,
    "cut": ConnectionFailed,
    "timeout": TimedOut,
}
_BY_CLASS: dict[type[errors.ProviderError], type[errors.ProviderError]] = {
    errors.AuthenticationFailed: AuthenticationFailed,
    errors.RequestRejected: RequestRejected,
    errors.RateLimited: RateLimited,
    errors.ProviderUnavailable: ProviderUnavailable,
    errors.UnexpectedResponse: UnexpectedResponse,
}


def langchain_error(error: errors.ProviderError) -> errors.ProviderError:
    """The same failure as a member of both families."""
    if isinstance(error, lc.ModelError):
        return error
    kind = _BY_REASON.get(error.reason, ProviderUnavailable)
    if not issubclass(kind, type(error)):
        kind = _BY_CLASS[type(error)]
    twin = kind(
        str(error),
        reason=error.reason,
        status=error.status,
        error_type=error.error_type,
        provider_name=error.provider_name,
        generation_id=error.generation_id,
        retry_after=error.retry_after,
        retryable=error.retryable,
    )
    twin.is_retryable = error.retryable  # type: ignore[attr-defined]  # LangChain's name for it
    return twin


@contextmanager
def langchain_errors() -> Iterator[None]:
    """Let provider errors out as LangChain's."""
    try:
        yield
    except errors.ProviderError as error:
        raise langchain_error(error) from error.__cause__
