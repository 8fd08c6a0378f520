"""What the LangChain half and the LlamaIndex half share: the guard, its policy, its verdicts, the client.

Import from your framework's package; these are the same objects. This package is for programs that use
neither framework. It is not made by Meta.
"""

from llama_guard_core.bulk.checks import Checked
from llama_guard_core.classifier import LlamaGuard
from llama_guard_core.errors import (
    AuthenticationFailed,
    ConfigurationError,
    GuardUnavailable,
    LlamaGuardError,
    ProviderError,
    ProviderUnavailable,
    RateLimited,
    RequestRejected,
    UnexpectedResponse,
    UnreadableVerdict,
    UnsafeContent,
)
from llama_guard_core.guardrail.custom_categories import CustomCategory
from llama_guard_core.guardrail.hardening import Hardening
from llama_guard_core.guardrail.hazards import HazardCategory
from llama_guard_core.guardrail.images import ImageRules
from llama_guard_core.guardrail.policy import Policy, StageRules
from llama_guard_core.guardrail.splitting import Splitting
from llama_guard_core.guardrail.stream_windows import Streaming
from llama_guard_core.guardrail.verdict import Stage, Verdict
from llama_guard_core.messages import Conversation, Image, Message, Text, ToolCall
from llama_guard_core.provider.connection import Timeouts
from llama_guard_core.provider.embedded import Embedded
from llama_guard_core.provider.hosts import Host
from llama_guard_core.provider.pace import Pace
from llama_guard_core.provider.routing import Attribution, ProviderRouting
from llama_guard_core.self_test.guard_probes import ProbeTexts
from llama_guard_core.self_test.report import Finding, SelfTest
from llama_guard_core.usage import Usage
from llama_guard_core.verdict_cache import VerdictCache
from llama_guard_core.verdict_stores import RedisStore, SQLiteStore, VerdictStore

__version__ = "0.1.0"

__all__ = [
    "Attribution",
    "AuthenticationFailed",
    "Checked",
    "ConfigurationError",
    "Conversation",
    "CustomCategory",
    "Embedded",
    "Finding",
    "GuardUnavailable",
    "Hardening",
    "HazardCategory",
    "Host",
    "Image",
    "ImageRules",
    "LlamaGuard",
    "LlamaGuardError",
    "Message",
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
    "Text",
    "Timeouts",
    "ToolCall",
    "UnexpectedResponse",
    "UnreadableVerdict",
    "UnsafeContent",
    "Usage",
    "Verdict",
    "VerdictCache",
    "VerdictStore",
    "__version__",
]
