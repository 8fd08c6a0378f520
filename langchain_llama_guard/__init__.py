"""Llama Guard and Llama 4 Scout for LangChain."""

import importlib
import typing

try:
    import langchain_core  # noqa: F401
except ImportError as error:
    msg = 'langchain_llama_guard needs LangChain: pip install "llama-guardrails[langchain]"'
    raise ImportError(msg) from error

from langchain_llama_guard.chat_models import ChatLlamaScout
from langchain_llama_guard.document_compressors import LlamaGuardDocumentCompressor
from langchain_llama_guard.graph_nodes import GuardNode
from langchain_llama_guard.guard_nodes import InputGuard, OutputGuard
from langchain_llama_guard.guarded_chat_models import GuardedChatModel
from langchain_llama_guard.llama_guard import LlamaGuard
from langchain_llama_guard.retrievers import GuardedRetriever
from langchain_llama_guard.runnables import GuardedRunnable, guarded
from langchain_llama_guard.stores import ByteStoreVerdicts, GraphStoreVerdicts
from langchain_llama_guard.tools import aguard_tools, guard_tools
from llama_guard_core import (
    Attribution,
    AuthenticationFailed,
    Checked,
    ConfigurationError,
    CustomCategory,
    Embedded,
    Finding,
    GuardUnavailable,
    Hardening,
    HazardCategory,
    Host,
    ImageRules,
    LlamaGuardError,
    Pace,
    Policy,
    ProbeTexts,
    ProviderError,
    ProviderRouting,
    ProviderUnavailable,
    RateLimited,
    RequestRejected,
    SelfTest,
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
from llama_guard_core.verdict_stores import RedisStore, SQLiteStore

if typing.TYPE_CHECKING:
    from langchain_llama_guard.decision_models import LlamaGuardDecisionModel as LlamaGuardDecisionModel
    from langchain_llama_guard.middleware import LlamaGuardMiddleware as LlamaGuardMiddleware

__all__ = [
    "Attribution",
    "AuthenticationFailed",
    "ByteStoreVerdicts",
    "ChatLlamaScout",
    "Checked",
    "ConfigurationError",
    "CustomCategory",
    "Embedded",
    "Finding",
    "GraphStoreVerdicts",
    "GuardNode",
    "GuardUnavailable",
    "GuardedChatModel",
    "GuardedRetriever",
    "GuardedRunnable",
    "Hardening",
    "HazardCategory",
    "Host",
    "ImageRules",
    "InputGuard",
    "LlamaGuard",
    "LlamaGuardDocumentCompressor",
    "LlamaGuardError",
    "OutputGuard",
    "Pace",
    "Policy",
    "ProbeTexts",
    "ProviderError",
    "ProviderRouting",
    "ProviderUnavailable",
    "RateLimited",
    "RedisStore",
    "RequestRejected",
    "SQLiteStore",
    "SelfTest",
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


_NEEDING_MORE = {"LlamaGuardMiddleware": "middleware", "LlamaGuardDecisionModel": "decision_models"}


def __getattr__(name: str) -> typing.Any:
    """What needs langchain and LangGraph, or a newer langchain-core than the rest; so it is not in `__all__` either."""
    if (module := _NEEDING_MORE.get(name)) is not None:
        return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
