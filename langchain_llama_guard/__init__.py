"""Llama Guard and Llama 4 Scout for LangChain."""

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
    Stage,
    StageRules,
    Streaming,
    Timeouts,
    UnexpectedResponse,
    UnreadableVerdict,
    UnsafeContent,
    Usage,
    Verdict,
    __version__,
)

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
    "Stage",
    "StageRules",
    "Streaming",
    "Timeouts",
    "UnexpectedResponse",
    "UnreadableVerdict",
    "UnsafeContent",
    "Usage",
    "Verdict",
    "__version__",
    "guarded",
]
