"""LangChain's LLM cache beside a guard: nothing that was decided without a verdict is kept in it.

A refusal given because the guard was down would be given again from the cache when it is up, and a reply that
a policy let pass unjudged would be shown again unjudged.
"""

from __future__ import annotations

from typing import Any, cast

from langchain_core.caches import RETURN_VAL_TYPE, BaseCache
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.globals import get_llm_cache
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult, Generation

from langchain_llama_guard._refusals import METADATA_KEY


class JudgedCacheModel(BaseChatModel):
    """A chat model that may have a guard, and that LangChain's cache serves with judged replies only."""

    def _generate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return BaseChatModel._generate_with_cache(_cached(self), messages, stop, run_manager, **kwargs)  # noqa: SLF001

    async def _agenerate_with_cache(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        cached = _cached(self)
        return await BaseChatModel._agenerate_with_cache(cached, messages, stop, run_manager, **kwargs)  # noqa: SLF001


def _cached(model: BaseChatModel) -> BaseChatModel:
    """The model itself, or, where a cache is in force, the model as if it had been given a `_JudgedOnly` one."""
    cache = model.cache if isinstance(model.cache, BaseCache) else get_llm_cache()
    if model.cache is False or cache is None:
        return model
    return cast("BaseChatModel", _WithCache(model, _JudgedOnly(cache)))


class _WithCache:
    """A model with another cache for one call. A copy would have clients of its own; this shares them."""

    def __init__(self, model: BaseChatModel, cache: BaseCache) -> None:
        self._model = model
        self.cache = cache

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


class _JudgedOnly(BaseCache):
    """A cache that passes over generations decided without a verdict."""

    def __init__(self, cache: BaseCache) -> None:
        self._cache = cache

    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        return self._cache.lookup(prompt, llm_string)

    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        if not any(map(_lacks_verdict, return_val)):
            self._cache.update(prompt, llm_string, return_val)

    def clear(self, **kwargs: Any) -> None:
        self._cache.clear(**kwargs)

    async def alookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        return await self._cache.alookup(prompt, llm_string)

    async def aupdate(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        if not any(map(_lacks_verdict, return_val)):
            await self._cache.aupdate(prompt, llm_string, return_val)

    async def aclear(self, **kwargs: Any) -> None:
        await self._cache.aclear(**kwargs)


def _lacks_verdict(generation: Generation) -> bool:
    if not isinstance(generation, ChatGeneration):
        return False
    return any(record["no_verdict"] for record in generation.message.response_metadata.get(METADATA_KEY, ()))
