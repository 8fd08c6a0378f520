"""Llama Guard and Llama 4 Scout for LangChain."""

import typing

try:
    import langchain_core  # noqa: F401
except ImportError as error:
    msg = 'langchain_llama_guard needs LangChain: pip install "llama-guardrails[langchain]"'
    raise ImportError(msg) from error

from langchain_llama_guard.chat_models import ChatLlamaScout
from langchain_llama_guard.guard_nodes import InputGuard, OutputGuard
from langchain_llama_guard.guarded_chat_models import GuardedChatModel
from langchain_llama_guard.llama_guard import LlamaGuard
from langchain_llama_guard.runnables import GuardedRunnable, guarded
from langchain_llama_guard.tools import aguard_tools, guard_tools
from llama_guard_core import (
    Attribution,
    AuthenticationFailed,
    ConfigurationError,
    GuardUnavailable,
    HazardCategory,
    LlamaGuardError,
    Policy,
    ProviderError,
    ProviderRouting,
    ProviderUnavailable,
    RateLimited,
    RequestRejected,
    Splitting,
    Stage,
    StageRules,
    Streaming,
    Timeouts,
    UnexpectedResponse,
    UnreadableVerdict,
    UnsafeContent,
    Usage,
    Verdict,
    VerdictCache,
    __version__,
)

if typing.TYPE_CHECKING:
    from langchain_llama_guard.middleware import LlamaGuardMiddleware as LlamaGuardMiddleware

__all__ = [
    "Attribution",
    "AuthenticationFailed",
    "ChatLlamaScout",
    "ConfigurationError",
    "GuardUnavailable",
    "GuardedChatModel",
    "GuardedRunnable",
    "HazardCategory",
    "InputGuard",
    "LlamaGuard",
    "LlamaGuardError",
    "OutputGuard",
    "Policy",
    "ProviderError",
    "ProviderRouting",
    "ProviderUnavailable",
    "RateLimited",
    "RequestRejected",
    "Splitting",
    "Stage",
    "StageRules",
    "Streaming",
    "Timeouts",
    "UnexpectedResponse",
    "UnreadableVerdict",
    "UnsafeContent",
    "Usage",
    "Verdict",
    "VerdictCache",
    "__version__",
    "aguard_tools",
    "guard_tools",
    "guarded",
]


def __getattr__(name: str) -> typing.Any:
    """The middleware, which needs langchain and LangGraph; nothing else here does, so it is not in `__all__` either."""
    if name == "LlamaGuardMiddleware":
        from langchain_llama_guard.middleware import LlamaGuardMiddleware  # noqa: PLC0415 - as said above

        return LlamaGuardMiddleware
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
