"""Llama Guard and Llama 4 Scout for LlamaIndex."""

try:
    import llama_index.core  # noqa: F401
except ImportError as error:
    msg = 'llamaindex_llama_guard needs LlamaIndex: pip install "llama-guardrails[llamaindex]"'
    raise ImportError(msg) from error

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
from llamaindex_llama_guard._guarded_queries import Refusal
from llamaindex_llama_guard.agents import guard_agent
from llamaindex_llama_guard.chat_engines import GuardedChatEngine
from llamaindex_llama_guard.evaluation import LlamaGuardEvaluator
from llamaindex_llama_guard.guarded import guarded
from llamaindex_llama_guard.guarded_llms import GuardedLLM
from llamaindex_llama_guard.ingestion import LlamaGuardTransform
from llamaindex_llama_guard.kv_stores import KVStoreVerdicts
from llamaindex_llama_guard.llama_guard import LlamaGuard
from llamaindex_llama_guard.llms import LlamaScout
from llamaindex_llama_guard.postprocessors import LlamaGuardPostprocessor
from llamaindex_llama_guard.query_engines import GuardedQueryEngine
from llamaindex_llama_guard.retrievers import GuardedRetriever
from llamaindex_llama_guard.tools import GuardedTool, aguard_tools, guard_tools
from llamaindex_llama_guard.workflows import RefusedEvent, WorkflowGuard, guard_resource

__all__ = [
    "Attribution",
    "AuthenticationFailed",
    "Checked",
    "ConfigurationError",
    "CustomCategory",
    "Embedded",
    "Finding",
    "GuardUnavailable",
    "GuardedChatEngine",
    "GuardedLLM",
    "GuardedQueryEngine",
    "GuardedRetriever",
    "GuardedTool",
    "Hardening",
    "HazardCategory",
    "Host",
    "ImageRules",
    "KVStoreVerdicts",
    "LlamaGuard",
    "LlamaGuardError",
    "LlamaGuardEvaluator",
    "LlamaGuardPostprocessor",
    "LlamaGuardTransform",
    "LlamaScout",
    "Pace",
    "Policy",
    "ProbeTexts",
    "ProviderError",
    "ProviderRouting",
    "ProviderUnavailable",
    "RateLimited",
    "RedisStore",
    "Refusal",
    "RefusedEvent",
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
    "WorkflowGuard",
    "__version__",
    "aguard_tools",
    "guard_agent",
    "guard_resource",
    "guard_tools",
    "guarded",
]
