"""Everywhere a guard can be put into a LangChain application, around a model that a test scripts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fake_provider import FakeProvider, Reply
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda, RunnableParallel
from langsmith import traceable
from with_langchain.foreign_model import ForeignModel, ForeignRouter, saying

from langchain_llama_guard import ChatLlamaScout, LlamaGuard, Policy, guarded

PROMPT = ChatPromptTemplate.from_messages([("system", "Be brief."), ("user", "{question}")])


def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"Rain in {city}."


@dataclass
class Scene:
    """A fake host, a guard on it, and models that say what they are told to.

    Attributes:
        says: the pieces of every reply.
        local: observers to attach inside, where the attach point has a place for them.
        guard_settings: further settings of the guard.
    """

    policy: Policy = field(default_factory=Policy)
    says: tuple[str, ...] = ("Mix ", "the BOMB", " well.")
    local: list[BaseCallbackHandler] = field(default_factory=list)
    guard_settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.provider = FakeProvider(chat=lambda _: Reply("".join(self.says), deltas=self.says))
        self.guard = LlamaGuard(policy=self.policy, **{**self.host, **self.guard_settings})
        self.foreign = ForeignModel(reply=saying(*self.says))

    @property
    def host(self) -> dict[str, Any]:
        """The arguments that lead a model or a guard to the fake host."""
        clients = {"http_client": self.provider.client(), "http_async_client": self.provider.async_client()}
        return {"api_key": "sk-or-v1-scene", "max_retries": 0, **clients}

    @property
    def model_calls(self) -> int:
        """How often a model was asked for a reply."""
        return len(self.foreign.seen) + len(self.provider.requests_of("chat"))


@traceable
def _traced(text: str) -> str:
    """A function that tells LangSmith itself what it is given, past LangChain's callbacks."""
    return text


class Forgetful(Runnable[Any, Any]):
    """A user's own Runnable, which does not hand its config on."""

    def __init__(self, model: Runnable[Any, Any]) -> None:
        self.model = model

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002 - LangChain's own
        return self.model.invoke(input)


def _chain(scene: Scene) -> Runnable[Any, Any]:
    return PROMPT | scene.foreign | StrOutputParser()


def _calling(model: Runnable[Any, Any]) -> Runnable[Any, Any]:
    async def call(value: Any) -> Any:
        return await model.ainvoke(value)

    return RunnableLambda(model.invoke, afunc=call)


def _observed(scene: Scene) -> Runnable[Any, Any]:
    """Observers inside the chain: on the model, on a binding, and as listeners."""
    model = scene.foreign.model_copy(update={"callbacks": scene.local})

    def listen(run: Any) -> None:
        for handler in scene.local[:1]:
            handler.on_text(repr(run), run_id=run.id)

    return (PROMPT | model.with_config(callbacks=scene.local) | StrOutputParser()).with_listeners(on_end=listen)


CHAT_MODELS: dict[str, Callable[[Scene], Runnable[Any, Any]]] = {
    "ChatLlamaScout(guard)": lambda s: ChatLlamaScout(guard=s.guard, **s.host),
    "guarded(foreign model)": lambda s: guarded(s.foreign, s.guard),
    "guarded(model.bind_tools)": lambda s: guarded(s.foreign.bind_tools([get_weather]), s.guard),
    "guarded(model).bind_tools": lambda s: guarded(s.foreign, s.guard).bind_tools([get_weather]),
    "guarded(model.with_config)": lambda s: guarded(s.foreign.with_config(tags=["t"]), s.guard),
    "guarded(router over a model)": lambda s: guarded(ForeignRouter(inner=s.foreign), s.guard),
    "guarded(router over an observed model)": lambda s: guarded(
        ForeignRouter(inner=s.foreign.model_copy(update={"callbacks": s.local})), s.guard
    ),
}
"""Guards that are chat models: they take the question as it is."""

CHAINS: dict[str, Callable[[Scene], Runnable[Any, Any]]] = {
    "guarded(prompt | model | parser)": lambda s: guarded(_chain(s), s.guard),
    "guarded(prompt | model)": lambda s: guarded(PROMPT | s.foreign, s.guard),
    "prompt | guarded(model) | parser": lambda s: PROMPT | guarded(s.foreign, s.guard) | StrOutputParser(),
    "prompt | ChatLlamaScout(guard) | parser": lambda s: (
        PROMPT | ChatLlamaScout(guard=s.guard, **s.host) | StrOutputParser()
    ),
    "in a RunnableParallel": lambda s: RunnableParallel(
        a=guarded(_chain(s), s.guard), b=PROMPT | guarded(s.foreign, s.guard)
    ),
    "in a RunnableLambda": lambda s: PROMPT | _calling(guarded(s.foreign, s.guard)),
    "guarded(lambda that calls a model)": lambda s: guarded(
        PROMPT | _calling(s.foreign), s.guard, refuse_with=lambda r: r.text
    ),
    "guarded(Runnable that forgets its config)": lambda s: guarded(
        PROMPT | Forgetful(s.foreign), s.guard, refuse_with=lambda r: r.text
    ),
    "guarded(chain with observers inside)": lambda s: guarded(_observed(s), s.guard),
    "guarded(chain with a function LangSmith traces)": lambda s: guarded(
        PROMPT | s.foreign | StrOutputParser() | _traced, s.guard, refuse_with=lambda refusal: refusal.text
    ),
    "with_fallbacks": lambda s: guarded(_chain(s), s.guard).with_fallbacks([guarded(_chain(s), s.guard)]),
    "with_retry": lambda s: guarded(_chain(s), s.guard).with_retry(stop_after_attempt=2, wait_exponential_jitter=False),
    "with_config": lambda s: guarded(_chain(s), s.guard).with_config(run_name="mine", tags=["t"]),
    "guarded(guarded chain)": lambda s: guarded(guarded(_chain(s), s.guard), s.guard),
}
"""Guards in or around chains: they take `{"question": ...}`."""

UNGUARDED: dict[str, Callable[[Scene], Runnable[Any, Any]]] = {
    "no guard": _chain,
    "a guard behind the model": lambda s: _chain(s) | s.guard.output(),
}
"""What does leak, so that a test which looks for leaks can be seen to find them."""
