"""LangChain's cache serves guarded models, and keeps nothing that was decided without a verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fake_provider import Fault
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import BaseChatModel
from langchain_core.tracers._streaming import _StreamingCallbackHandler
from with_langchain.attach_points import Scene

from langchain_llama_guard import ChatLlamaScout, Policy, guarded
from llama_guard_core.guardrail.policy import DEFAULT_APOLOGY

REFUSAL = "I can't help with that."
SAFE = ("Mix ", "the dough.")
Make = Callable[..., BaseChatModel]

MODELS: dict[str, Make] = {
    "guarded(foreign model)": lambda s, **own: guarded(s.foreign, s.guard).model_copy(update=own),
    "ChatLlamaScout": lambda s, **own: ChatLlamaScout(guard=s.guard, **s.host, **own),
}


class Streaming(BaseCallbackHandler, _StreamingCallbackHandler):
    """Has LangChain stream even where a model is invoked, as its event streams do."""

    def tap_output_aiter(self, run_id: Any, output: Any) -> Any:
        return output

    def tap_output_iter(self, run_id: Any, output: Any) -> Any:
        return output


def _ask(model: BaseChatModel, config: dict[str, Any]) -> str:
    return model.invoke("What shall I do?", config).text


async def _aask(model: BaseChatModel, config: dict[str, Any]) -> str:
    return (await model.ainvoke("What shall I do?", config)).text


@pytest.fixture(params=[False, True], ids=["plain", "streaming handler"])
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"callbacks": [Streaming()] if request.param else []}


@pytest.fixture(params=[False, True], ids=["own cache", "global cache"])
def cached(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """The settings of a model with a cache in force."""
    if not request.param:
        yield {"cache": InMemoryCache()}
        return
    set_llm_cache(InMemoryCache())
    yield {}
    set_llm_cache(None)


@pytest.fixture(params=MODELS.values(), ids=MODELS)
def make(request: pytest.FixtureRequest) -> Make:
    return request.param


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Any:
    if request.param:
        return _aask

    async def ask(model: BaseChatModel, config: dict[str, Any]) -> str:
        return _ask(model, config)

    return ask


@pytest.mark.parametrize("stage", ["prompt", "reply"])
async def test_a_refusal_for_want_of_a_verdict_is_not_kept(
    stage: str, make: Make, cached: Any, config: Any, ask: Any
) -> None:
    scene = Scene(says=SAFE)
    scene.provider.fail(Fault.status(503), on="guard", nth=1 if stage == "prompt" else 2)
    model = make(scene, **cached)
    assert DEFAULT_APOLOGY == await ask(model, config)
    assert "Mix the dough." == await ask(model, config)


@pytest.mark.parametrize("policy", [Policy(on_no_verdict="allow"), Policy(mode="monitor")], ids=["allow", "monitor"])
async def test_a_reply_that_passed_unjudged_is_not_kept(
    policy: Policy, make: Make, cached: Any, config: Any, ask: Any
) -> None:
    scene = Scene(policy, says=("the ", "BOMB"))
    scene.provider.fail(Fault.status(503), on="guard", nth=2)
    model = make(scene, **cached)
    assert "the BOMB" == await ask(model, config)
    await ask(model, config)
    assert 2 == scene.model_calls


@pytest.mark.parametrize(
    ("says", "shown"), [(SAFE, "Mix the dough."), (("a ", "BOMB"), REFUSAL)], ids=["safe", "unsafe"]
)
async def test_what_a_verdict_covers_is_kept_and_served_without_asking_anybody(
    says: tuple[str, ...], shown: str, make: Make, cached: Any, *, config: Any, ask: Any
) -> None:
    scene = Scene(says=says)
    model = make(scene, **cached)
    assert [shown, shown] == [await ask(model, config), await ask(model, config)]
    assert 1 == scene.model_calls
    assert 2 == len(scene.provider.requests_of("guard"))


async def test_models_with_different_policies_share_nothing(make: Make, ask: Any) -> None:
    cache = InMemoryCache()
    lenient, strict = Scene(Policy(mode="monitor")), Scene()
    assert "Mix the BOMB well." == await ask(make(lenient, cache=cache), {})
    assert REFUSAL == await ask(make(strict, cache=cache), {})


async def test_the_raw_reply_of_a_guarded_model_is_in_no_cache(make: Make, cached: Any, ask: Any) -> None:
    """Not in the inner model's either: the guard stands below it."""
    kept: list[Any] = []

    class Watched(InMemoryCache):
        def update(self, *given: Any) -> None:
            kept.append(given)
            super().update(*given)

    scene = Scene()
    scene.foreign.cache = Watched()
    assert REFUSAL == await ask(make(scene, cache=Watched()), {})
    assert REFUSAL in repr(kept)
    assert "BOMB" not in repr(kept)


async def test_a_model_that_is_told_to_cache_nothing_asks_each_time(make: Make, ask: Any) -> None:
    set_llm_cache(InMemoryCache())
    try:
        scene = Scene(says=SAFE)
        model = make(scene, cache=False)
        await ask(model, {})
        await ask(model, {})
        assert 2 == scene.model_calls
    finally:
        set_llm_cache(None)


def test_a_model_that_is_told_to_cache_without_a_cache_says_so(make: Make) -> None:
    with pytest.raises(ValueError, match="no cache found"):
        make(Scene(says=SAFE), cache=True).invoke("Hi")
