"""Where verdicts are kept that several processes share: put one behind a `VerdictCache`."""

from llama_guard_core.verdict_stores.redis_store import RedisStore
from llama_guard_core.verdict_stores.sqlite_store import SQLiteStore
from llama_guard_core.verdict_stores.verdict_store import VerdictStore

__all__ = ["RedisStore", "SQLiteStore", "VerdictStore"]
