"""Every exception of this package, and what its reader can do about it.

```
LlamaGuardError
├── ConfigurationError            fix your settings (no key, unknown hazard, empty policy)
├── ProviderError                 the host of the model failed
│   ├── AuthenticationFailed      fix the key
│   ├── RequestRejected           fix the request (too long, malformed, model withdrawn, no credit)
│   ├── RateLimited               wait: .retry_after
│   ├── ProviderUnavailable       try later, or elsewhere (5xx, timeout, broken stream)
│   └── UnexpectedResponse        report it: the reply was not what the API promises
├── GuardUnavailable              no verdict could be had: nothing was shown
│   └── UnreadableVerdict         the guard answered, but not in its language
└── UnsafeContent                 a verdict said unsafe and the policy says raise: .stage .verdict
```

No message here ever carries judged text, a key or an account identifier.
"""

from __future__ import annotations

import copyreg
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from llama_guard_core.guardrail.verdict import Stage, Verdict

FailureReason = Literal[
    "authentication",
    "payment",
    "permission",
    "not_found",
    "invalid_request",
    "context_length",
    "too_large",
    "rate_limit",
    "daily_limit",
    "server",
    "connection",
    "timeout",
    "cut",
    "empty",
    "malformed",
]
"""Why a host failed, in one word a program can branch on."""


class LlamaGuardError(Exception):
    """The root: catch this to catch everything this package raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception's own way to be copied calls the constructor with the message alone; ours need more,
        # and an error that cannot be unpickled kills the process pool it comes from.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class ConfigurationError(LlamaGuardError, ValueError):
    """A setting is missing or wrong; the message names it and says what to write instead."""


class ProviderError(LlamaGuardError):
    """The host of a model failed.

    Attributes:
        reason: why, as one of `FailureReason`.
        status: the HTTP status, or the code found inside a body that came with status 200.
        error_type: the host's own word for it (`error.metadata.error_type` on OpenRouter).
        provider_name: the provider behind the router, where it is named.
        generation_id: the id to look the call up by, where the host gave one.
        retry_after: seconds the host asked to wait, if it did.
        retryable: whether the same request may succeed later.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: FailureReason,
        status: int | None = None,
        error_type: str | None = None,
        provider_name: str | None = None,
        generation_id: str | None = None,
        retry_after: float | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(message)
        self.reason: FailureReason = reason
        self.status = status
        self.error_type = error_type
        self.provider_name = provider_name
        self.generation_id = generation_id
        self.retry_after = retry_after
        self.retryable = retryable


class AuthenticationFailed(ProviderError):
    """The key is missing, malformed or refused (401)."""


class RequestRejected(ProviderError):
    """The host will not serve this request however often it is sent (other 4xx)."""


class RateLimited(ProviderError):
    """Too many requests (429); `retryable` is false when a daily limit is used up."""


class ProviderUnavailable(ProviderError):
    """The host could not be reached, failed, stalled or broke off (408, 5xx, timeout, cut stream)."""


class UnexpectedResponse(ProviderError):
    """The host answered something that is not what the API promises."""


class GuardUnavailable(LlamaGuardError):
    """No verdict could be had. The `__cause__` says why; the text in question was not shown.

    Attributes:
        stage: what was to be judged.
        reason: a `FailureReason`, or `"unreadable"` or `"not_judgeable"`.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: FailureReason | Literal["unreadable", "not_judgeable"],
        stage: Stage | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.stage = stage


class UnreadableVerdict(GuardUnavailable):
    """The guard answered, but not `safe` and not `unsafe`: prose, nothing, or a cut answer."""

    def __init__(self, message: str, *, stage: Stage | None = None) -> None:
        super().__init__(message, reason="unreadable", stage=stage)


class UnsafeContent(LlamaGuardError):
    """A verdict said unsafe and the policy says raise. Carries the verdict, never the content.

    Attributes:
        stage: what was judged.
        verdict: what Llama Guard said of it.
        refusal: the text the policy would have shown instead.
    """

    def __init__(self, message: str, *, stage: Stage, verdict: Verdict, refusal: str) -> None:
        super().__init__(message)
        self.stage = stage
        self.verdict = verdict
        self.refusal = refusal
